// The keys of the keys file at a sentinel: principals, changes of the file, and the end of sessions.
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { silentLog } from '@fame-fabric/shared';
import { CaptureLog, ManualClock } from '@fame-fabric/shared/testing';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { makeTestParts } from '../testing/sentinel-parts.ts';
import { Access, type Authentication } from './access.ts';
import { KeysChange } from './keys-change.ts';
import { NamedKeys } from './named-keys.ts';

let directory: string;
let file: string;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'fame-keys-'));
  file = join(directory, 'keys');
});
afterEach(() => rmSync(directory, { recursive: true }));

const START = Date.parse('2026-11-29T12:00:00Z');
const newClock = () => new ManualClock(START);
const codeOf = (result: Authentication) => (result.ok ? 'ok' : result.fault.code);

test('a key is the principal of its name, with its role and restrictions', async () => {
  const clock = newClock();
  const keys = new KeysChange(file, clock);
  const { token } = await keys.add({
    name: 'ada',
    role: 'agent',
    allow: ['ada@**'],
    expiresAt: START + 1_000,
  });
  const { token: admin } = await keys.add({ name: 'root', role: 'admin' });
  const source = new NamedKeys(file, clock, silentLog);
  expect(source.authenticate(token)).toEqual({
    ok: true,
    principal: { id: 'ada', roles: ['agent'], rights: { conversations: 'own' }, allow: ['ada@**'] },
    expiresAt: START + 1_000,
  });
  expect(source.authenticate(admin)).toMatchObject({
    principal: { id: 'root', roles: ['admin'], rights: { conversations: 'any' } },
  });
  expect([source.count, source.isEmpty]).toEqual([2, false]);
});

test('other keys are refused, and all unknown ones alike', async () => {
  const clock = newClock();
  const { token } = await new KeysChange(file, clock).add({ name: 'ada', role: 'client' });
  const source = new NamedKeys(file, clock, silentLog);
  const unknown = source.authenticate(`fk_ffffffffffff_${'A'.repeat(43)}`);
  expect(codeOf(unknown)).toBe('AUTH_INVALID');
  for (const wrong of [`${token.slice(0, 16)}${'A'.repeat(43)}`, token.slice(0, -1), 'fk_', `fk_${token}`])
    expect(source.authenticate(wrong)).toBe(unknown);
});

test('an expired key is refused with its name and a fix', async () => {
  const clock = newClock();
  const { token } = await new KeysChange(file, clock).add({
    name: 'ada',
    role: 'client',
    expiresAt: START + 1_000,
  });
  const source = new NamedKeys(file, clock, silentLog);
  clock.advance(1_000);
  expect(source.authenticate(token)).toMatchObject({
    ok: false,
    fault: {
      code: 'AUTH_INVALID',
      message: 'The key "ada" has expired. Replace it: npx fame-fabric key rotate ada',
    },
  });
  expect([source.count, source.isEmpty]).toEqual([0, false]);
});

describe('changes of the file', () => {
  test('are seen at the next check', async () => {
    const clock = newClock();
    const source = new NamedKeys(file, clock, silentLog);
    expect(source.isEmpty).toBe(true);
    const keys = new KeysChange(file, clock);
    const { token } = await keys.add({ name: 'ada', role: 'client' });
    expect(codeOf(source.authenticate(token))).toBe('ok');
    await keys.remove('ada');
    expect(codeOf(source.authenticate(token))).toBe('AUTH_INVALID');
  });

  test('a file with a fault keeps the keys before it, and is logged once with its line', async () => {
    const clock = newClock();
    const log = new CaptureLog();
    const { token } = await new KeysChange(file, clock).add({ name: 'ada', role: 'client' });
    const source = new NamedKeys(file, clock, log);
    const good = readFileSync(file, 'utf8');
    writeFileSync(file, 'nonsense\n');
    for (let i = 0; i < 3; i++) expect(codeOf(source.authenticate(token))).toBe('ok');
    expect(log.messages('error')).toEqual(['the keys file has a fault; the keys before it stay in force']);
    expect(JSON.stringify(log.lines)).toContain('keys:1 is not a JSON object');
    rmSync(file);
    expect(codeOf(source.authenticate(token))).toBe('ok');
    expect(log.messages('warn')).toEqual(['the keys file is gone; its keys stay in force until it is back']);
    writeFileSync(file, good.replace('ada', 'eve'), { mode: 0o600 });
    expect(source.authenticate(token)).toMatchObject({ principal: { id: 'eve' } });
  });

  test('a start with a fault fails', () => {
    writeFileSync(file, 'nonsense\n', { mode: 0o600 });
    expect(() => new NamedKeys(file, newClock(), silentLog)).toThrow('keys:1 is not a JSON object');
  });
});

describe('sessions', () => {
  /** A sentinel whose sweeper runs, and a function that attaches with a key. */
  function running(clock: ManualClock) {
    const access = new Access({ sources: [new NamedKeys(file, clock, silentLog)] });
    const parts = makeTestParts({ access, clock });
    parts.sweeper.start();
    const attachWith = (systemId: string, token: string) => {
      const result = access.authenticate({ headers: { authorization: `Bearer ${token}` } }) as Authentication;
      if (!result.ok) throw result.fault;
      return parts.attach(systemId, result);
    };
    return { ...parts, access, attachWith };
  }

  test('G3: end with 4410 within 5 s of a removal; those of other keys stay', async () => {
    const clock = newClock();
    const keys = new KeysChange(file, clock);
    const { token: ada } = await keys.add({ name: 'ada', role: 'client' });
    const { token: bob } = await keys.add({ name: 'bob', role: 'client' });
    const { attachWith } = running(clock);
    const [a, b] = [attachWith('a', ada), attachWith('b', bob)];
    await keys.remove('ada');
    await clock.run(5_000, 1_000);
    expect([a.transport.closed?.code, b.transport.closed]).toEqual([4410, undefined]);
  });

  test('end at the expiry, and at the end of an overlap that came after the attach', async () => {
    const clock = newClock();
    const keys = new KeysChange(file, clock);
    const { token: ada } = await keys.add({ name: 'ada', role: 'client', expiresAt: START + 20_000 });
    const { token: bob } = await keys.add({ name: 'bob', role: 'client' });
    const { attachWith } = running(clock);
    const [a, b] = [attachWith('a', ada), attachWith('b', bob)];
    const { token: newBob } = await keys.rotate('bob', { overlapMs: 20_000 });
    const successor = attachWith('b2', newBob);
    await clock.run(19_000, 1_000);
    expect([a.transport.closed, b.transport.closed]).toEqual([undefined, undefined]);
    await clock.run(6_000, 1_000);
    expect([a.transport.closed?.code, b.transport.closed?.code]).toEqual([4410, 4410]);
    expect(successor.transport.closed).toBeUndefined();
  });

  test('stay if the file is written again, and end if the role of the key changes', async () => {
    const clock = newClock();
    const { token } = await new KeysChange(file, clock).add({ name: 'ada', role: 'client' });
    const { attachWith, access } = running(clock);
    const node = attachWith('a', token);
    const check = access.revocations();
    writeFileSync(file, `# a comment\n${readFileSync(file, 'utf8')}`);
    expect(access.revocations()(node.session.terms.principal)).toBe(false);
    writeFileSync(file, readFileSync(file, 'utf8').replace('client', 'agent'));
    expect(access.revocations()(node.session.terms.principal)).toBe(true);
    expect(access.revocations()).not.toBe(check);
    await clock.run(5_000, 1_000);
    expect(node.transport.closed?.code).toBe(4410);
    expect(attachWith('a', token).session).toBe(node.session);
  });
});
