// The audit log: its lines, its mode, its bounds, and a file that is moved or cannot be written.
import { mkdtempSync, readFileSync, renameSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { CaptureLog, ManualClock } from '@fame-fabric/shared/testing';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { AuditLog } from './audit-log.ts';

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'fame-audit-'));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

const linesOf = (path: string): Record<string, unknown>[] =>
  readFileSync(path, 'utf8')
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line) as Record<string, unknown>);

async function opened(name = 'audit.jsonl') {
  const clock = new ManualClock();
  const log = new CaptureLog();
  const path = join(folder, name);
  return { clock, log, path, audit: await AuditLog.open(path, { clock, log }) };
}

test('each event is a line of JSON in a private file, appended to earlier ones', async () => {
  const { audit, path } = await opened();
  audit.record({
    outcome: 'refused',
    principal: 'ada',
    action: 'Call',
    address: 'a"\n@b',
    rule: 'r',
    remote: undefined,
  });
  await audit.close();
  const { audit: again } = await opened();
  again.record({ outcome: 'changed', action: 'Policy' });
  await again.close();
  expect(linesOf(path)).toEqual([
    {
      time: expect.stringMatching(/^\d{4}-.*Z$/),
      outcome: 'refused',
      principal: 'ada',
      action: 'Call',
      address: 'a"\n@b',
      rule: 'r',
    },
    { time: expect.any(String), outcome: 'changed', action: 'Policy' },
  ]);
  expect(statSync(path).mode & 0o777).toBe(0o600);
});

test('a line has no terminal control characters, and still parses to the same text', async () => {
  const { audit, path } = await opened();
  const address = 'a\u009b2J\u202e\u2028\u007f\u001b[2J\n@b';
  audit.record({ outcome: 'refused', action: 'Call', address });
  await audit.close();
  expect(readFileSync(path, 'utf8')).toMatch(/^[\x20-\x7e]+\n$/);
  expect(linesOf(path)[0]).toMatchObject({ address });
});

test('lines of a flood are dropped, and the next line has their number', async () => {
  const { audit, clock, path } = await opened();
  for (let nth = 0; nth < 1_500; nth++) audit.record({ outcome: 'refused', action: 'Call' });
  clock.advance(1_000);
  audit.record({ outcome: 'refused', action: 'Bind' });
  await audit.close();
  const lines = linesOf(path);
  expect(lines).toHaveLength(1_001);
  expect(lines.at(-1)).toMatchObject({ action: 'Bind', lost: 500 });
});

test('lines that are lost at the end are counted when the log is closed', async () => {
  const { audit, path } = await opened();
  for (let nth = 0; nth < 1_001; nth++) audit.record({ outcome: 'refused', action: 'Call' });
  await audit.close();
  expect(linesOf(path).at(-1)).toMatchObject({ lost: 1 });
});

test('a moved file is opened again under its name', async () => {
  const { audit, path } = await opened();
  audit.record({ outcome: 'refused', action: 'Call' });
  await audit.close();
  const { audit: second } = await opened();
  renameSync(path, `${path}.1`);
  second.reopen();
  second.record({ outcome: 'refused', action: 'Bind' });
  await second.close();
  expect(linesOf(`${path}.1`)).toMatchObject([{ action: 'Call' }]);
  expect(linesOf(path)).toMatchObject([{ action: 'Bind' }]);
});

test('a file that cannot be written is logged once, and the lost lines are counted', async () => {
  const { audit, clock, log, path } = await opened();
  rmSync(folder, { recursive: true });
  audit.reopen();
  for (const action of ['Call', 'Bind']) audit.record({ outcome: 'refused', action });
  await expect.poll(() => log.messages('error')).toEqual(['cannot write the audit log']);
  clock.advance(1_000);
  audit.record({ outcome: 'refused', action: 'Watch' });
  await audit.close();
  expect(log.messages('error')).toHaveLength(1);
  expect(() => statSync(path)).toThrow();
});
