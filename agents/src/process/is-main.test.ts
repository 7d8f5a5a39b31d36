import { mkdtempSync, realpathSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { isMain } from './is-main.ts';

const argv = [...process.argv];
let directory: string;
beforeEach(() => {
  directory = realpathSync(mkdtempSync(join(tmpdir(), 'fame-main-')));
  writeFileSync(join(directory, 'index.js'), '');
  symlinkSync(join(directory, 'index.js'), join(directory, 'link.js'));
});
afterEach(() => {
  process.argv = [...argv];
  rmSync(directory, { recursive: true });
});

test('is the answer of Node where there is one', () => {
  expect(isMain({ main: true })).toBe(true);
  expect(isMain({ main: false, filename: argv[1] })).toBe(false);
});

test.each(['index.js', 'index', 'link.js', '.'])(
  'before Node 24.2 it compares the file with the argument: %s',
  (argument) => {
    process.argv = [argv[0]!, join(directory, argument)];
    expect(isMain({ filename: join(directory, 'index.js') })).toBe(true);
    expect(isMain({ filename: join(directory, 'other.js') })).toBe(false);
  },
);

test('before Node 24.2 no module is the program of `node --eval`', () => {
  for (const rest of [[], ['word']]) {
    process.argv = [argv[0]!, ...rest];
    expect(isMain({ filename: join(directory, 'index.js') })).toBe(false);
  }
});
