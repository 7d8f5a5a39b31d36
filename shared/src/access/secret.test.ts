import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { EnvReader } from '../env/read-env.ts';
import type { Environment } from '../env/variable.ts';
import { readTokenSettings } from '../link/admission-url.ts';
import { readSecret } from './secret.ts';

let directory: string;
let file: string;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'fame-secret-'));
  file = join(directory, 'key');
});
afterEach(() => rmSync(directory, { recursive: true }));

const read = (env: Environment) => {
  const reader = new EnvReader(env);
  return { value: readSecret(reader, 'A_KEY'), faults: reader.faults };
};

test('a secret is read from its variable or from its file', () => {
  writeFileSync(file, ' sk-1 \n');
  expect(read({ A_KEY: 'sk-0' })).toEqual({ value: 'sk-0', faults: [] });
  expect(read({ A_KEY_FILE: file })).toEqual({ value: 'sk-1', faults: [] });
  expect(read({ A_KEY: ' ', A_KEY_FILE: file })).toEqual({ value: 'sk-1', faults: [] });
  expect(read({})).toEqual({ value: undefined, faults: [] });
});

test('both at once are a fault, which repeats no value', () => {
  expect(read({ A_KEY: 'canary', A_KEY_FILE: file }).faults).toEqual([
    'A_KEY and A_KEY_FILE are both set; unset one of them',
  ]);
  const reader = new EnvReader({ FAME_ADMISSION_TOKEN: 'canary', FAME_ADMISSION_TOKEN_FILE: file });
  readTokenSettings(reader);
  expect(reader.faults).toEqual([
    'FAME_ADMISSION_TOKEN and FAME_ADMISSION_TOKEN_FILE are both set; unset one of them',
  ]);
});

test.each<[string, () => void, string]>([
  ['is missing', () => {}, 'there is no such file'],
  ['is empty', () => writeFileSync(file, '\n'), 'it is empty'],
  ['is a directory', () => mkdirSync(file), 'it is not a file'],
  ['has two words', () => writeFileSync(file, 'canary canary'), 'it contains a blank'],
  ['is large', () => writeFileSync(file, 'x'.repeat(9_000)), 'it has more than 8192 bytes'],
])('a file that %s is a fault that names the variable', (_name, make, reason) => {
  make();
  const { value, faults } = read({ A_KEY_FILE: file });
  expect(value).toBeUndefined();
  expect(faults).toEqual([expect.stringContaining(`A_KEY_FILE is "${file}", which has no key: ${reason}`)]);
  expect(faults[0]).not.toContain('canary');
});

test('a key in place of a file name is not repeated', () => {
  const { faults } = read({ A_KEY_FILE: `sk-${'canary'.repeat(6)}` });
  expect(faults[0]).toContain('A_KEY_FILE');
  expect(faults[0]).not.toContain('canary');
});
