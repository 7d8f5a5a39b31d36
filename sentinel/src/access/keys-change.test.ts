import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, utimesSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { systemClock } from '@fame-fabric/shared';
import { ManualClock } from '@fame-fabric/shared/testing';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { KeysChange } from './keys-change.ts';
import { digestOf, keysOf, partsOfKey, readKeysFile } from './keys-file.ts';

const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;

let directory: string;
let file: string;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'fame-keys-'));
  file = join(directory, 'data', 'keys');
});
afterEach(() => rmSync(directory, { recursive: true }));

const stored = () => keysOf(readKeysFile(file));

test('a key is added with the digest of its secret, in a private file', async () => {
  const clock = new ManualClock(1_000_000);
  const keys = new KeysChange(file, clock);
  const { token, key, isFirst } = await keys.add({
    name: 'ada',
    role: 'agent',
    expiresAt: 2_000_000,
    allow: ['ada@**'],
  });
  const { id, secret } = partsOfKey(token)!;
  expect(isFirst).toBe(true);
  expect(stored()).toEqual([key]);
  expect(key).toEqual({
    name: 'ada',
    role: 'agent',
    allow: ['ada@**'],
    id,
    sha256: digestOf(secret).toString('hex'),
    createdAt: 1_000_000,
    expiresAt: 2_000_000,
  });
  expect(readFileSync(file, 'utf8')).not.toContain(secret);
  expect(statSync(file).mode & 0o777).toBe(0o600);
  expect(readdirSync(join(directory, 'data'))).toEqual(['keys']);
  expect((await keys.add({ name: 'bob', role: 'client' })).isFirst).toBe(false);
});

test('a name is taken once', async () => {
  const keys = new KeysChange(file, systemClock);
  await keys.add({ name: 'ada', role: 'client' });
  await expect(keys.add({ name: 'ada', role: 'client' })).rejects.toMatchObject({
    code: 'CONFIG_INVALID',
    message: expect.stringContaining('key rotate ada'),
  });
});

test('a removal keeps other keys and comments', async () => {
  const keys = new KeysChange(file, systemClock);
  await keys.add({ name: 'ada', role: 'client' });
  writeFileSync(file, `${readFileSync(file, 'utf8')}# of team B\n`);
  await keys.add({ name: 'bob', role: 'client' });
  expect(await keys.remove('ada')).toBe(1);
  expect(stored().map(({ name }) => name)).toEqual(['bob']);
  expect(readFileSync(file, 'utf8')).toContain('# of team B\n');
  await expect(keys.remove('eve')).rejects.toThrow(/There is no key "eve" in .*It has: bob/);
  expect(await keys.remove('bob')).toBe(0);
});

test('a rotation replaces the secret, and keeps role, restrictions and lifetime', async () => {
  const clock = new ManualClock(DAY_MS);
  const keys = new KeysChange(file, clock);
  const { key: old } = await keys.add({
    name: 'ada',
    role: 'agent',
    expiresAt: 31 * DAY_MS,
    allow: ['a@**'],
  });
  clock.advance(10 * DAY_MS);
  const { key } = await keys.rotate('ada', { overlapMs: 0 });
  expect(stored()).toEqual([key]);
  expect(key).toMatchObject({ name: 'ada', role: 'agent', allow: ['a@**'], expiresAt: 41 * DAY_MS });
  expect(key.id).not.toBe(old.id);
});

test('an overlap keeps the old secret for a while, and a second rotation does not prolong it', async () => {
  const clock = new ManualClock(DAY_MS);
  const keys = new KeysChange(file, clock);
  const { key: first } = await keys.add({ name: 'ada', role: 'client' });
  await keys.rotate('ada', { overlapMs: HOUR_MS });
  clock.advance(HOUR_MS / 2);
  await keys.rotate('ada', { overlapMs: HOUR_MS });
  const [oldest, ...newer] = stored();
  expect(oldest).toMatchObject({ id: first.id, expiresAt: DAY_MS + HOUR_MS });
  expect(newer.map(({ expiresAt }) => expiresAt)).toEqual([DAY_MS + 1.5 * HOUR_MS, undefined]);
  clock.advance(DAY_MS);
  await keys.rotate('ada', { overlapMs: 0, lifetimeMs: DAY_MS });
  expect(stored().map(({ expiresAt }) => expiresAt)).toEqual([clock.now() + DAY_MS]);
});

test('concurrent changes are serialized', async () => {
  const names = Array.from({ length: 12 }, (_, i) => `k${i}`);
  await Promise.all(names.map((name) => new KeysChange(file, systemClock).add({ name, role: 'client' })));
  expect(
    stored()
      .map(({ name }) => name)
      .sort(),
  ).toEqual(names.sort());
});

test('a change removes the lock of a crashed command, and waits for that of a running one', async () => {
  const keys = new KeysChange(file, systemClock);
  await keys.add({ name: 'ada', role: 'client' });
  const lock = `${file}.lock`;
  writeFileSync(lock, '');
  const past = new Date(Date.now() - 60_000);
  utimesSync(lock, past, past);
  await keys.remove('ada');
  expect(readdirSync(join(directory, 'data'))).toEqual(['keys']);

  writeFileSync(lock, '');
  const clock = new ManualClock(Date.now());
  const adding = new KeysChange(file, clock).add({ name: 'bob', role: 'client' });
  const outcome = expect(adding).rejects.toThrow(`If none is running, remove ${lock}`);
  await clock.run(1_000, 50);
  utimesSync(lock, new Date(clock.now() + 60_000), new Date(clock.now() + 60_000));
  await clock.run(6_000, 50);
  await outcome;
  expect(stored()).toEqual([]);
});

test('a file with a fault is not changed', async () => {
  const keys = new KeysChange(file, systemClock);
  await keys.add({ name: 'ada', role: 'client' });
  writeFileSync(file, 'nonsense\n');
  await expect(keys.add({ name: 'bob', role: 'client' })).rejects.toThrow('keys:1 is not a JSON object');
  expect(readFileSync(file, 'utf8')).toBe('nonsense\n');
});
