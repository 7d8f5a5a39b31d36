// Session cookies: which requests they are credentials for, and what their text reveals and accepts.
import { randomBytes } from 'node:crypto';
import { chmodSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { silentLog } from '@fame-fabric/shared';
import { CaptureLog, ManualClock } from '@fame-fabric/shared/testing';
import { afterEach, describe, expect, test } from 'vitest';
import { Access, type Authentication, type CredentialSource, UNKNOWN_KEY } from './access.ts';
import { type CookieRequest, SessionCookies } from './session-cookies.ts';
import { openSessionKey } from './session-key.ts';

const DAY_MS = 86_400_000;
const KEY = randomBytes(32);
const PAGE = { host: 'localhost:8000', origin: 'http://localhost:8000' };

function make({ key = KEY as Buffer, clock = new ManualClock(), isEncrypted = false } = {}) {
  const cookies = new SessionCookies(() => key, clock, { isEncrypted });
  const header = (token: string, expiresAt?: number): string =>
    cookies.header(token, { method: 'POST', headers: PAGE }, expiresAt)!;
  const pair = (token: string, expiresAt?: number): string => header(token, expiresAt).split(';')[0]!;
  return { cookies, clock, header, pair };
}

/** A request of the page for data, with a cookie. */
const get = (cookie: string, headers: Partial<CookieRequest['headers']> = {}): CookieRequest => ({
  method: 'GET',
  headers: { host: PAGE.host, 'sec-fetch-site': 'same-origin', cookie, ...headers },
});

test('the cookie is not readable for scripts, is sent to this site only, and does not show the key', () => {
  const { header, cookies, pair } = make();
  expect(header('fk_secret')).toMatch(
    /^fame_session_[\da-f]{8}=[\w-]+; Max-Age=1209600; Path=\/; HttpOnly; SameSite=Strict$/,
  );
  expect(Buffer.from(header('fk_secret').split(/[=;]/)[1]!, 'base64url').toString('latin1')).not.toContain(
    'secret',
  );
  expect(pair('fk_secret')).not.toBe(pair('fk_secret'));
  expect(cookies.open(get(pair('fk_secret')))).toMatchObject({ token: 'fk_secret' });
});

test('with TLS, also that of a proxy, the cookie is Secure', () => {
  const encrypted = make({ isEncrypted: true }).header('x');
  expect(encrypted).toMatch(/; Secure$/);
  const { cookies } = make();
  const headers = { host: 'fame.example', origin: 'https://fame.example' };
  expect(cookies.header('x', { method: 'POST', headers })).toMatch(/; Secure$/);
  expect(cookies.clearingHeader({ method: 'DELETE', headers })).toMatch(/=; Max-Age=0;.*; Secure$/);
});

type Row = [method: string, headers: Partial<CookieRequest['headers']>, isCredential: boolean];
test.each<Row>([
  ['GET', {}, true],
  ['HEAD', {}, true],
  // A person who opens the address, and browsers without Sec-Fetch-Site.
  ['GET', { 'sec-fetch-site': 'none' }, true],
  ['GET', { 'sec-fetch-site': undefined }, true],
  ['GET', { origin: PAGE.origin }, true],
  ['POST', { origin: PAGE.origin }, true],
  ['DELETE', { origin: PAGE.origin }, true],
  // An upgrade to a WebSocket.
  ['GET', { upgrade: 'websocket', origin: PAGE.origin }, true],
  ['GET', { upgrade: 'websocket' }, false],
  ['GET', { upgrade: 'websocket', 'sec-fetch-site': undefined }, false],
  // Another port of the same machine is the same site, so browsers send the cookie.
  ['GET', { 'sec-fetch-site': 'same-site' }, false],
  ['GET', { 'sec-fetch-site': 'cross-site' }, false],
  ['GET', { origin: 'http://localhost:5173' }, false],
  ['GET', { upgrade: 'websocket', origin: 'http://localhost:5173' }, false],
  ['POST', { origin: 'http://localhost:5173' }, false],
  ['POST', { origin: 'http://127.0.0.1:8000' }, false],
  ['POST', { origin: 'http://evil.example' }, false],
  ['POST', { origin: 'null' }, false],
  ['POST', { origin: '' }, false],
  ['POST', {}, false],
  ['DELETE', {}, false],
  ['PATCH', { 'sec-fetch-site': undefined }, false],
  ['OPTIONS', {}, false],
])('I1: %s with %o: the cookie is a credential: %s', (method, headers, isCredential) => {
  const { cookies, pair } = make();
  const request = { ...get(pair('fk_key'), headers), method };
  expect(cookies.open(request) !== undefined).toBe(isCredential);
});

test('I1: a request without a method has no session', () => {
  const { cookies, pair } = make();
  expect(cookies.open({ headers: get(pair('fk_key')).headers })).toBeUndefined();
});

test('I1: behind a proxy with TLS the page is https; on a port with TLS a page without it is not ours', () => {
  const headers = { host: 'fame.example', origin: 'https://fame.example' };
  expect(make().cookies.isOwn({ method: 'POST', headers })).toBe(true);
  expect(make().cookies.isOwn({ method: 'POST', headers: { ...headers, host: 'fame.example:443' } })).toBe(
    true,
  );
  const { cookies } = make({ isEncrypted: true });
  expect(cookies.isOwn({ method: 'POST', headers: PAGE })).toBe(false);
  expect(cookies.isOwn({ method: 'POST', headers: { ...PAGE, origin: 'https://localhost:8000' } })).toBe(
    true,
  );
});

describe('I2: a cookie that cannot be opened is no credential', () => {
  test('of another key, altered, cut, empty or too long', () => {
    const { cookies, pair } = make();
    const own = pair('fk_key');
    const [name, value] = own.split('=') as [string, string];
    const other = make({ key: randomBytes(32) })
      .pair('fk_key')
      .split('=')[1]!;
    const altered = Buffer.from(value, 'base64url');
    for (let at = 0; at < altered.length; at++) {
      const copy = Buffer.from(altered);
      copy[at]! ^= 1;
      expect(cookies.open(get(`${name}=${copy.toString('base64url')}`))).toBeUndefined();
    }
    for (const text of [
      other,
      '',
      'x',
      value.slice(0, -2),
      value.slice(2),
      `${value}AA`,
      'A'.repeat(4_000),
    ]) {
      expect(cookies.open(get(`${name}=${text}`))).toBeUndefined();
    }
    expect(cookies.open(get(`other=${value}`))).toBeUndefined();
    expect(cookies.open(get(own))).toBeDefined();
  });

  test('a page of another port cannot hide the session behind cookies of its own', () => {
    const { cookies, pair } = make();
    const [name] = pair('x').split('=');
    expect(cookies.open(get(`theme=dark; ${name}=junk;${pair('fk_key')}; a=b`))?.token).toBe('fk_key');
  });

  test('sentinels with different keys use different names', () => {
    const nameOf = (key: Buffer): string => make({ key }).pair('x').split('=')[0]!;
    expect(nameOf(KEY)).toBe(nameOf(KEY));
    expect(nameOf(KEY)).not.toBe(nameOf(randomBytes(32)));
  });
});

test('a session ends after 14 days, or with its credential, also if the browser keeps the cookie', () => {
  const { clock, cookies, header, pair } = make();
  const [long, short] = [pair('fk_key'), pair('fk_key', clock.now() + DAY_MS)];
  expect(header('fk_key', clock.now() + DAY_MS)).toContain('Max-Age=86400;');
  clock.advance(DAY_MS);
  expect([cookies.open(get(long))?.token, cookies.open(get(short))]).toEqual(['fk_key', undefined]);
  clock.advance(13 * DAY_MS);
  expect(cookies.open(get(long))).toBeUndefined();
});

test('a token that does not fit into a cookie is not remembered', () => {
  const { cookies } = make();
  const request = { method: 'POST', headers: PAGE };
  expect(cookies.header('x'.repeat(2_800), request)!.length).toBeLessThan(4_096);
  expect(cookies.header('x'.repeat(3_000), request)).toBeUndefined();
});

describe('Access', () => {
  let isRotated = false;
  afterEach(() => {
    isRotated = false;
  });
  const principal = Object.freeze({ id: 'ada', roles: ['client'] as const });
  const source: CredentialSource = {
    label: '',
    accepts: (token) => token.startsWith('fk_'),
    authenticate: (token) => (token === 'fk_key' && !isRotated ? { ok: true, principal } : UNKNOWN_KEY),
    revocations: () => (one) => isRotated && one.id === 'ada',
  };

  function open() {
    const made = make();
    const access = new Access({ sources: [source], cookies: made.cookies });
    const authenticate = (request: CookieRequest) => access.authenticate(request) as Authentication;
    return { ...made, access, authenticate };
  }

  test('a cookie is the credential of its request until the session expires', () => {
    const { authenticate, clock, pair } = open();
    const expiresAt = clock.now() + 14 * DAY_MS;
    expect(authenticate(get(pair('fk_key')))).toEqual({ ok: true, principal, expiresAt });
  });

  test('a key in a header or a subprotocol comes first', () => {
    const { authenticate, pair } = open();
    const request = get(pair('fk_key'));
    for (const other of [
      { authorization: 'Bearer fk_wrong' },
      { 'sec-websocket-protocol': 'bearer, fk_wrong' },
    ]) {
      const answer = authenticate({ ...request, headers: { ...request.headers, ...other } });
      expect(answer).toMatchObject({ ok: false, fault: { code: 'AUTH_INVALID' } });
    }
  });

  test('a session ends with the rotation of its key, without a restart', () => {
    const { access, authenticate, pair } = open();
    const granted = authenticate(get(pair('fk_key')));
    expect(granted.ok && access.hasEnded(granted, 0)).toBe(false);
    isRotated = true;
    expect(granted.ok && access.hasEnded(granted, 0)).toBe(true);
    expect(authenticate(get(pair('fk_key')))).toMatchObject({
      ok: false,
      fault: { code: 'AUTH_INVALID', message: 'The session has ended. Sign in again' },
    });
  });

  test('a cookie of another page is no credential, and no fault either', () => {
    const { authenticate, pair } = open();
    expect(authenticate(get(pair('fk_key'), { origin: 'http://localhost:5173' }))).toMatchObject({
      principal: { id: 'anonymous' },
    });
  });
});

describe('the key in the data directory', () => {
  const made: string[] = [];
  const directory = (): string => {
    made.push(mkdtempSync(join(tmpdir(), 'fame-session-')));
    return made.at(-1)!;
  };
  afterEach(() => {
    for (const path of made.splice(0)) rmSync(path, { recursive: true });
  });

  test('survives a restart, and only its owner can read it', () => {
    const dataDir = directory();
    const key = openSessionKey(dataDir, silentLog);
    expect(key).toHaveLength(32);
    expect(statSync(join(dataDir, 'session-key')).mode & 0o777).toBe(0o600);
    expect(openSessionKey(dataDir, silentLog)).toEqual(key);
  });

  test.each<[string, (file: string) => void]>([
    ['that others could read', (file) => chmodSync(file, 0o644)],
    ['with something else', (file) => writeFileSync(file, 'short')],
  ])('a file %s is replaced', (_name, spoil) => {
    const dataDir = directory();
    const file = join(dataDir, 'session-key');
    const key = openSessionKey(dataDir, silentLog);
    spoil(file);
    const log = new CaptureLog();
    const fresh = openSessionKey(dataDir, log);
    expect(fresh).toHaveLength(32);
    expect(fresh).not.toEqual(key);
    expect(statSync(file).mode & 0o777).toBe(0o600);
    expect(JSON.stringify(log.lines)).not.toContain(readFileSync(file, 'utf8').trim());
    expect(log.lines).toHaveLength(1);
  });

  test('without a directory that can be written, the key stays in memory', () => {
    expect(openSessionKey(undefined, silentLog)).not.toEqual(openSessionKey(undefined, silentLog));
    const file = join(directory(), 'file');
    writeFileSync(file, '');
    expect(openSessionKey(file, silentLog)).toHaveLength(32);
  });
});
