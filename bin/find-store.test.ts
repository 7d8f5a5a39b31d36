import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { storePath } from '@fame-fabric/agents/internal';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { findStore } from './find-store.ts';

let root: string;
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'fame-store-'));
});
afterEach(() => rmSync(root, { recursive: true, force: true }));

function put(dataDir: string): string {
  const path = storePath(dataDir);
  mkdirSync(join(path, '..'), { recursive: true });
  writeFileSync(path, '');
  return path;
}

test('D13: the store is found from the directories below, the nearest one first', () => {
  const below = join(root, 'a', 'b');
  mkdirSync(below, { recursive: true });
  const outer = put(join(root, '.fame'));
  expect(findStore({}, below)).toBe(outer);
  const inner = put(join(root, 'a', '.fame'));
  expect(findStore({}, below)).toBe(inner);
});

test('D13: FAME_DATA_DIR is the only place if it is set', () => {
  put(join(root, '.fame'));
  expect(findStore({ FAME_DATA_DIR: join(root, 'other') }, root)).toBeUndefined();
  const other = put(join(root, 'other'));
  expect(findStore({ FAME_DATA_DIR: join(root, 'other') }, root)).toBe(other);
});

test('D13: a store that cannot be looked at is not reported as missing', () => {
  symlinkSync('.fame', join(root, '.fame')); // a loop, since these tests may run as a user who may read everything
  expect(() => findStore({}, root)).toThrow(
    expect.objectContaining({ code: 'STORE_UNAVAILABLE', message: expect.stringContaining('ELOOP') }),
  );
});
