import { chmodSync, existsSync, mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { HistoryFile } from './history-file.ts';

let dir: string;
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'fame-history-'));
});
afterEach(() => rmSync(dir, { recursive: true, force: true }));

const fail = (reason: string): never => {
  throw new Error(reason);
};

test('returns lines newest first, from a file that only its owner may read', () => {
  const dataDir = join(dir, 'data');
  const history = new HistoryFile(dataDir, fail);
  expect(history.load()).toEqual([]);
  for (const line of ['one', '  ', 'two']) history.add(line);
  expect(new HistoryFile(dataDir, fail).load()).toEqual(['two', 'one']);
  expect(statSync(join(dataDir, 'history')).mode & 0o777).toBe(0o600);
  expect(statSync(dataDir).mode & 0o777).toBe(0o700);
});

test('a message of several lines is one entry', () => {
  const messages = ['one\n\n  two\\', '"quoted"', 'plain \\n'];
  const history = new HistoryFile(dir, fail);
  for (const message of messages) history.add(message);
  expect(new HistoryFile(dir, fail).load()).toEqual(messages.toReversed());
});

test('a line of an earlier version that begins with a quotation mark is kept', () => {
  writeFileSync(join(dir, 'history'), '"no end\n');
  expect(new HistoryFile(dir, fail).load()).toEqual(['"no end']);
});

test('the file is cut to its newest messages', () => {
  const history = new HistoryFile(dir, fail);
  for (let i = 0; i < 40; i++) history.add(`${i} ${'x'.repeat(60_000)}`);
  const loaded = new HistoryFile(dir, fail).load();
  expect(loaded.length).toBe(33);
  expect(loaded[0]).toMatch(/^39 /);
  expect(statSync(join(dir, 'history')).size).toBeLessThanOrEqual(2_000_000);
});

test('the next line makes a readable file private', () => {
  writeFileSync(join(dir, 'history'), 'old\n');
  chmodSync(join(dir, 'history'), 0o644);
  new HistoryFile(dir, fail).add('new');
  expect(statSync(join(dir, 'history')).mode & 0o777).toBe(0o600);
});

test('keeps the last thousand lines', () => {
  writeFileSync(join(dir, 'history'), `${Array.from({ length: 1500 }, (_, i) => `line ${i}`).join('\n')}\n`);
  const lines = new HistoryFile(dir, fail).load();
  expect(lines).toHaveLength(1000);
  expect(lines[0]).toBe('line 1499');
  expect(new HistoryFile(dir, fail).load()).toEqual(lines);
});

test('a history that cannot be kept is reported once, and nothing fails', () => {
  const file = join(dir, 'a-file');
  writeFileSync(file, '');
  const onFault = vi.fn();
  const history = new HistoryFile(file, onFault);
  expect(history.load()).toEqual([]);
  history.add('one');
  history.add('two');
  expect(onFault).toHaveBeenCalledTimes(1);
  expect(existsSync(join(file, 'history'))).toBe(false);
});
