import { appendFileSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import { showLogs } from './logs.ts';
import { ManagedProcess } from './managed-process.ts';

let directory: string;
beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), 'fame-logs-'));
});
afterAll(() => rmSync(directory, { recursive: true }));

const entry = (msg: string): string =>
  `${JSON.stringify({ level: 'warn', time: '2026-11-29T20:02:49.756Z', name: 'sentinel', pid: 1, msg, port: 8000 })}\n`;

test('follows a log as text, and waits for the rest of a line that is still being written', async () => {
  const part = new ManagedProcess('sentinel', directory);
  mkdirSync(dirname(part.logFile), { recursive: true });
  writeFileSync(part.logFile, entry('started'));
  const stop = new AbortController();
  let output = '';
  const done = showLogs([part], (text) => (output += text), { lines: 5, isText: true, follow: stop.signal });
  expect(output).toBe(`==> ${part.logFile} <==\n20:02:49.756 WARN  started port=8000\n\n`);

  output = '';
  appendFileSync(part.logFile, `${entry('one')}${entry('two').slice(0, 20)}`);
  await vi.waitFor(() => expect(output).toBe('==> sentinel <==\n20:02:49.756 WARN  one port=8000\n'), 5_000);
  appendFileSync(part.logFile, entry('two').slice(20));
  await vi.waitFor(
    () => expect(output).toMatch(/one port=8000\n20:02:49\.756 WARN {2}two port=8000\n$/),
    5_000,
  );
  stop.abort();
  await done;
});

test('prints the lines of the file where a program reads them', async () => {
  const part = new ManagedProcess('sentinel', join(directory, 'json'));
  mkdirSync(dirname(part.logFile), { recursive: true });
  writeFileSync(part.logFile, entry('started'));
  let output = '';
  await showLogs([part], (text) => (output += text), { lines: 5, isText: false });
  expect(output).toBe(`==> ${part.logFile} <==\n${entry('started')}\n`);
});
