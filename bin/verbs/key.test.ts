import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { keysOf, readKeysFile } from '@fame-fabric/sentinel/internal';
import { rotateLocalKey } from '@fame-fabric/shared/node';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { run } from './key.ts';

let dataDir: string;
let file: string;
let out: string;
let notes: string;
beforeEach(() => {
  dataDir = mkdtempSync(join(tmpdir(), 'fame-key-'));
  file = join(dataDir, 'keys');
  out = '';
  notes = '';
  vi.spyOn(process.stdout, 'write').mockImplementation((text) => {
    out += text;
    return true;
  });
  vi.spyOn(process.stderr, 'write').mockImplementation((text) => {
    notes += text;
    return true;
  });
});
afterEach(() => {
  vi.restoreAllMocks();
  rmSync(dataDir, { recursive: true });
});

type Flags = Parameters<typeof run>[0]['flags'];
const key = (line: string, flags: Flags = {}, env: Record<string, string> = {}) => {
  out = '';
  notes = '';
  return run({ positionals: line.split(' '), flags, env: { FAME_DATA_DIR: dataDir, ...env } });
};
const stored = () => keysOf(readKeysFile(file));

test('add prints only the key on stdout, once, and describes the effect on a running sentinel', async () => {
  expect(await key('add ada', { role: 'agent', expires: '30d', allow: ['ada@**', '*@fame.fabric'] })).toBe(0);
  expect(out).toMatch(/^fk_[0-9a-f]{12}_[\w-]{43}\n$/);
  expect(notes).toContain(`It is the first key, and no sentinel has used ${dataDir} yet.`);
  expect(notes).not.toContain(out.trim());
  expect(stored()).toMatchObject([{ name: 'ada', role: 'agent', allow: ['ada@**', '*@fame.fabric'] }]);
  const [{ createdAt, expiresAt } = { createdAt: 0 }] = stored();
  expect(expiresAt! - createdAt).toBeGreaterThan(30 * 86_400_000 - 5_000);
  await key('add bob');
  expect(notes).not.toContain('first key');
  await key('rm ada');
  await key('rm bob');
  rotateLocalKey(dataDir);
  await key('add eve');
  expect(notes).toContain(
    'It is the first key. A running sentinel asks nodes and clients for a key only after its next start',
  );
  expect(notes).not.toContain('no sentinel');
});

test('ls shows no secret and no digest, also as JSON', async () => {
  await key('add ada', { expires: '1h' });
  const [, id = '', secret = ''] = /^fk_(\w{12})_(\S+)/.exec(out) ?? [];
  await key('ls');
  expect(out).toMatch(new RegExp(`^NAME .*\\nada +client +${id} +\\d{4}-`));
  expect(out).not.toContain(secret);
  await key('ls', { json: true });
  expect(JSON.parse(out)).toEqual([
    { name: 'ada', role: 'client', id, created: expect.any(String), expires: expect.any(String) },
  ]);
  await key('rm ada');
  expect(notes).toContain('has no keys now');
  await key('ls');
  expect([out, notes]).toEqual(['', `${file} has no keys. \`npx fame-fabric key add NAME\` adds one.\n`]);
});

test('rotate prints another key, and states how long the old one is valid', async () => {
  await key('add ada');
  const old = out;
  expect(await key('rotate ada', { overlap: '1h' })).toBe(0);
  expect(out).toMatch(/^fk_/);
  expect(out).not.toBe(old);
  expect(notes).toMatch(/The old key is valid until \d{4}-.* UTC\./);
  expect(stored()).toHaveLength(2);
  await key('rotate ada', { json: true });
  expect(JSON.parse(out)).toMatchObject({ name: 'ada', key: expect.stringMatching(/^fk_/) });
  expect(stored()).toHaveLength(1);
});

test('FAME_KEYS_FILE names another file', async () => {
  const other = join(dataDir, 'other');
  await key('add ada', {}, { FAME_KEYS_FILE: other });
  expect(keysOf(readKeysFile(other))).toHaveLength(1);
  expect(stored()).toEqual([]);
});

describe('refuses', () => {
  test.each<[string, Flags, RegExp]>([
    ['ad ada', {}, /the actions of key are add, ls, rm, rotate, not "ad"; did you mean add\?/],
    ['add', {}, /key add takes the name of a key/],
    ['add local', {}, /the name "local" is reserved/],
    ['add Ada', {}, /a name has 1 to 64 lower-case letters/],
    ['add ada bob', {}, /key add takes one name, not "bob" as well/],
    ['ls ada', {}, /key ls takes no name/],
    ['add ada', { role: 'agnet' }, /--role takes .* not "agnet"; did you mean agent\?/],
    ['add ada', { expires: '30' }, /--expires takes a time such as/],
    ['add ada', { expires: '9999d' }, /at most 3650d/],
    ['add ada', { allow: ['chat'] }, /--allow: "chat" is not a pattern of addresses/],
    ['rm ada', { role: 'agent' }, /key rm takes no --role/],
    ['rotate local', { overlap: '1h' }, /key rotate local takes no --overlap/],
  ])('key %s with %o', async (line, flags, message) => {
    await expect(key(line, flags)).rejects.toThrow(message);
    expect(stored()).toEqual([]);
  });

  test('a name that is taken or unknown, and a file with a fault', async () => {
    await key('add ada');
    await expect(key('add ada')).rejects.toMatchObject({ code: 'CONFIG_INVALID' });
    await expect(key('rm eve')).rejects.toThrow('There is no key "eve"');
    writeFileSync(file, `${readFileSync(file, 'utf8')}{}\n`);
    await expect(key('ls')).rejects.toThrow(`${file}:3 has the name (none)`);
  });
});
