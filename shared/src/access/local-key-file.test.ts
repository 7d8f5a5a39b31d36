import {
  chmodSync,
  chownSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, describe, expect, test, vi } from 'vitest';
import { findLocalKey } from './admission-token.ts';
import { ensureLocalKey, isLocalKey, localKeyFile, readTokenFile, rotateLocalKey } from './local-key-file.ts';

const made: string[] = [];
const directory = (): string => {
  const path = mkdtempSync(join(tmpdir(), 'fame-key-'));
  made.push(path);
  return path;
};
afterEach(() => {
  for (const path of made.splice(0)) rmSync(path, { recursive: true });
});

const modeOf = (file: string): number => statSync(file).mode & 0o777;

describe('ensureLocalKey', () => {
  test('writes a key of 256 bits that only its owner can read, and leaves nothing else', () => {
    const dataDir = join(directory(), 'a', 'b');
    const { file, isNew } = ensureLocalKey(dataDir);
    expect({ file, isNew }).toEqual({ file: join(dataDir, 'token'), isNew: true });
    expect(readFileSync(file, 'utf8')).toMatch(/^fk_local_[\w-]{43}\n$/);
    expect(modeOf(file)).toBe(0o600);
    expect(readdirSync(dataDir)).toEqual(['token']);
  });

  test('keeps a key that exists', () => {
    const dataDir = directory();
    const before = readTokenFile(ensureLocalKey(dataDir).file);
    const { file, isNew, wasReadable } = ensureLocalKey(dataDir);
    expect({ isNew, wasReadable }).toEqual({ isNew: false, wasReadable: false });
    expect(readTokenFile(file)).toBe(before);
    expect(readdirSync(dataDir)).toEqual(['token']);
  });

  test('makes a file private that other users can read, and reports it', () => {
    const dataDir = directory();
    const { file } = ensureLocalKey(dataDir);
    chmodSync(file, 0o644);
    expect(ensureLocalKey(dataDir).wasReadable).toBe(true);
    expect(modeOf(file)).toBe(0o600);
  });

  test('refuses a file of another user, who would know the key', () => {
    const dataDir = directory();
    const { file } = ensureLocalKey(dataDir);
    const { uid } = statSync(file);
    if (uid === 0) chownSync(file, 12_345, -1);
    vi.spyOn(process, 'getuid').mockReturnValue(uid + 54_321);
    expect(() => ensureLocalKey(dataDir)).toThrow('belongs to another user');
    expect(findLocalKey(dataDir)).toBeUndefined();
  });

  test.each(['', 'secret', 'fk_local_short', `fk_other_${'x'.repeat(43)}`])(
    'refuses a file with "%s"',
    (text) => {
      const dataDir = directory();
      writeFileSync(localKeyFile(dataDir), text);
      expect(() => ensureLocalKey(dataDir)).toThrow(expect.objectContaining({ code: 'CONFIG_INVALID' }));
      expect(readFileSync(localKeyFile(dataDir), 'utf8')).toBe(text);
    },
  );
});

test('rotateLocalKey replaces the key in one step', () => {
  const dataDir = directory();
  const before = readTokenFile(ensureLocalKey(dataDir).file);
  const file = rotateLocalKey(dataDir);
  expect(readTokenFile(file)).not.toBe(before);
  expect(isLocalKey(readTokenFile(file))).toBe(true);
  expect(modeOf(file)).toBe(0o600);
  expect(readdirSync(dataDir)).toEqual(['token']);
});

test('readTokenFile reads no directory and no large file', () => {
  const dataDir = directory();
  const file = localKeyFile(dataDir);
  mkdirSync(file);
  expect(() => readTokenFile(file)).toThrow('it is not a file');
  rmSync(file, { recursive: true });
  writeFileSync(file, 'x'.repeat(8_193));
  expect(() => readTokenFile(file)).toThrow('more than 8192 bytes');
});
