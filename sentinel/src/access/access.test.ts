// The check of credentials: carriers, the local key, its rotation, and the end of the sessions of a rotated key.
import { mkdtempSync, readFileSync, rmSync, utimesSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { silentLog } from '@fame-fabric/shared';
import { ANONYMOUS } from '@fame-fabric/shared/internal';
import { rotateLocalKey } from '@fame-fabric/shared/node';
import { CaptureLog } from '@fame-fabric/shared/testing';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { makeTestParts } from '../testing/sentinel-parts.ts';
import { Access, type Authentication, type CredentialSource, UNKNOWN_KEY } from './access.ts';
import { type CredentialHeaders, credentialOf } from './credential.ts';
import { openLocalKey } from './local-key.ts';
import { needsCredential, type SecurityProfile } from './needs-credential.ts';

describe('credentialOf', () => {
  test.each<[CredentialHeaders, string | undefined]>([
    [{}, undefined],
    [{ 'sec-websocket-protocol': 'chat' }, undefined],
    [{ authorization: 'Bearer abc' }, 'abc'],
    [{ authorization: 'bearer  abc' }, 'abc'],
    [{ 'sec-websocket-protocol': 'bearer, abc' }, 'abc'],
    [{ 'sec-websocket-protocol': 'bearer,abc' }, 'abc'],
    [{ authorization: 'Bearer abc', 'sec-websocket-protocol': 'bearer, other' }, 'abc'],
  ])('%o carries %s', (headers, token) => {
    expect(credentialOf(headers)).toEqual(token === undefined ? { kind: 'none' } : { kind: 'bearer', token });
  });

  test.each<CredentialHeaders>([
    { authorization: '' },
    { authorization: 'Bearer' },
    { authorization: 'Bearer ' },
    { authorization: 'Bearer a b' },
    { authorization: 'Bearer a\u00e9' },
    { authorization: 'Basic YTpi' },
    { authorization: 'abc' },
    { 'sec-websocket-protocol': 'bearer' },
    { 'sec-websocket-protocol': 'bearer, ' },
    { 'sec-websocket-protocol': 'abc, bearer' },
    { 'sec-websocket-protocol': 'bearer, abc, def' },
  ])('%o is unreadable', (headers) => {
    expect(credentialOf(headers).kind).toBe('unreadable');
  });
});

describe('Access', () => {
  let dataDir: string;
  beforeEach(() => {
    dataDir = mkdtempSync(join(tmpdir(), 'fame-access-'));
  });
  afterEach(() => rmSync(dataDir, { recursive: true, force: true }));

  const open = () => new Access({ sources: [openLocalKey(dataDir, silentLog)!] });
  const key = () => readFileSync(join(dataDir, 'token'), 'utf8').trim();
  const bearer = (token: string) => ({ headers: { authorization: `Bearer ${token}` } });
  /** Authenticates with a source that verifies at once. */
  const authenticate = (access: Access, token: string) =>
    access.authenticate(bearer(token)) as Authentication;

  test('a request without a credential is anonymous', () => {
    expect(open().authenticate({ headers: {} })).toEqual({
      ok: true,
      principal: { id: 'anonymous', roles: [] },
    });
  });

  test('the local key is the principal local, with the role admin', () => {
    const access = open();
    expect(authenticate(access, key())).toEqual({
      ok: true,
      principal: { id: 'local', roles: ['admin'], rights: { conversations: 'any' } },
    });
  });

  test.each(['x', 'fk_local_', `fk_local_${'A'.repeat(43)}`])(
    'the key %s is refused, not anonymous',
    (token) => {
      const authentication = authenticate(open(), token);
      expect(authentication).toMatchObject({ ok: false, fault: { code: 'AUTH_INVALID' } });
      expect(JSON.stringify(authentication)).not.toContain(token.length > 1 ? token : '"x"');
    },
  );

  test('without a local key every key is refused', () => {
    expect(authenticate(new Access({ sources: [] }), 'x').ok).toBe(false);
  });

  test('a rotated key is valid at once, and the old one no longer is', () => {
    const access = open();
    const old = key();
    const before = authenticate(access, old);
    rotateLocalKey(dataDir);
    expect(authenticate(access, old).ok).toBe(false);
    const after = authenticate(access, key());
    const isRevoked = access.revocations();
    expect([before, after].map((one) => one.ok && isRevoked(one.principal))).toEqual([true, false]);
    expect(isRevoked(ANONYMOUS)).toBe(false);
  });

  test('touching the file keeps the key; a key stays valid if its file is removed or has other contents', () => {
    const access = open();
    const token = key();
    const before = authenticate(access, token);
    utimesSync(join(dataDir, 'token'), 1, 1);
    expect(before.ok && access.revocations()(before.principal)).toBe(false);
    rotateLocalKey(dataDir);
    rmSync(join(dataDir, 'token'));
    expect(authenticate(access, token)).toEqual(before);
    writeFileSync(join(dataDir, 'token'), 'weak');
    expect(authenticate(access, token)).toEqual(before);
    expect(authenticate(access, 'weak').ok).toBe(false);
    expect(before.ok && access.revocations()(before.principal)).toBe(false);
  });

  test('a data directory that cannot be written leaves a sentinel without a key, and warns', () => {
    const log = new CaptureLog();
    expect(openLocalKey('/proc/no/such/place', log)).toBeUndefined();
    expect(log.messages('warn')).toEqual([
      'cannot keep a local key; listing, tracing and metrics are refused',
    ]);
  });

  test('a session has its principal, ends within one sweep after the rotation, and resumes with the new key', () => {
    const access = open();
    const { attach, sweeper, clock } = makeTestParts({ access });
    const authentication = authenticate(access, key());
    if (!authentication.ok) throw authentication.fault;
    const holder = attach('holder', { principal: authentication.principal });
    const stranger = attach('stranger');
    expect(holder.session.terms.principal.id).toBe('local');
    expect(stranger.session.terms.principal).toBe(ANONYMOUS);
    sweeper.sweep();
    expect(holder.transport.closed).toBeUndefined();
    rotateLocalKey(dataDir);
    clock.advance(2_000);
    sweeper.sweep();
    expect(holder.transport.closed?.code).toBe(4410);
    expect(holder.session.state).toBe('detached');
    expect(stranger.transport.closed).toBeUndefined();
  });
});

describe('G9: the mode', () => {
  test.each<[SecurityProfile | undefined, boolean, boolean, boolean]>([
    [undefined, false, false, false],
    [undefined, true, false, true],
    [undefined, false, true, false],
    ['open', true, true, false],
    ['gated', false, false, true],
    ['overlay', false, false, false],
    ['overlay', false, true, true],
    ['overlay', true, false, true],
  ])(
    'with the profile %s, keys %s and tokens %s a credential is needed: %s',
    (profile, hasKeys, hasTokens, isNeeded) => {
      expect(needsCredential({ profile, hasKeys, hasTokens, hasClientCa: false })).toBe(isNeeded);
    },
  );

  test('the error of an unknown key offers to send none only if none is needed', () => {
    const reasonOf = (isCredentialNeeded: boolean): string => {
      const source = { label: 'the local key', accepts: () => true, authenticate: () => UNKNOWN_KEY };
      const access = new Access({ sources: [source], isCredentialNeeded });
      const result = access.authenticate({ headers: { authorization: 'Bearer fk_other' } });
      return 'ok' in result && !result.ok ? result.fault.message : '';
    };
    expect(reasonOf(true)).toMatch(/as `Authorization: Bearer KEY`$/);
    expect(reasonOf(false)).toMatch(/, or no key at all$/);
  });

  test('is stated in one line, with the checks that are on and off', () => {
    const source = (label: string): CredentialSource => ({
      label,
      accepts: () => false,
      authenticate: () => UNKNOWN_KEY,
    });
    const sources = [source('the local key'), source(''), source('a token of https://id.example')];
    expect(new Access({ sources }).summary()).toBe(
      'No credential is needed to attach and call (open mode). Checked: the local key, or a token of https://id.example for ps, trace and metrics, owners of addresses, Origin and Host of web pages. Not checked: callers. Connections are not encrypted.',
    );
    expect(new Access({ sources, isCredentialNeeded: true }).summary(true)).toBe(
      'A credential is needed to attach and call: the local key, or a token of https://id.example. Checked: credentials, owners of addresses, Origin and Host of web pages.',
    );
    expect(new Access({ sources: [] }).summary()).toContain('Checked: a key (there is none) for ps');
  });
});
