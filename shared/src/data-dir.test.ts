import { mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { checkDataDir, makeDirectory, probeDataDir } from './data-dir.ts';

let dir: string;
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'fame-data-dir-'));
});
afterEach(() => rmSync(dir, { recursive: true, force: true }));

test('a directory is created with its parents, for its owner only, and left alone if it exists', () => {
  const path = join(dir, 'a', 'b', 'c');
  makeDirectory(path);
  makeDirectory(path);
  for (const made of [path, join(dir, 'a')]) expect(statSync(made).mode & 0o777).toBe(0o700);
});

test('a usable data directory stays unchanged', () => {
  const path = join(dir, 'data');
  checkDataDir(path);
  expect(readdirSync(path)).toEqual([]);
});

test('a probe creates nothing', () => {
  const path = join(dir, 'far', 'below');
  expect(probeDataDir(path)).toBe(false);
  expect(readdirSync(dir)).toEqual([]);
  expect(probeDataDir(dir)).toBe(true);
  writeFileSync(join(dir, 'file'), '');
  expect(() => probeDataDir(join(dir, 'file', 'below'))).toThrow('FAME_DATA_DIR');
});

const refusal = (path: string) => () => checkDataDir(path);

test('a data directory that is a file, or is below one, is refused with the name of the variable and the cause', () => {
  const file = join(dir, 'file');
  writeFileSync(file, '');
  for (const path of [file, join(file, 'below'), join(file, 'far', 'below')]) {
    expect(refusal(path)).toThrow(expect.objectContaining({ code: 'CONFIG_INVALID' }));
    expect(refusal(path)).toThrow(
      `FAME_DATA_DIR is "${path}", which cannot be used: it, or a directory above it, is a`,
    );
  }
});

test.runIf(process.platform === 'linux')('a data directory below /proc is refused without delay', () => {
  expect(refusal('/proc/x/y')).toThrow(/accepts no new files or directories \(ENOENT\)/);
  expect(refusal('/proc')).toThrow('FAME_DATA_DIR');
});
