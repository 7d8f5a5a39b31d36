// Sessions of pages at the wire: a link or a key signs a browser in, the cookie works for pages of the sentinel only, and it ends with its
// key. Contract of the routes in docs/security.md.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { rotateLocalKey } from '@fame-fabric/shared/node';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { runFame } from '../kit/commands.ts';
import { cookieOf, type PageAnswer, type PageRequest, send } from '../kit/page-requests.ts';
import { RawNode, RawNodes } from '../kit/raw-node.ts';
import { localKey, type OurSentinel, startOurSentinel, temporaryDirectory } from '../kit/sentinel.ts';

const SESSION = '/fame/v1/session';
const LINKS = '/fame/v1/sign-in-links';

let sentinel: OurSentinel;
let audit: string;
const nodes = new RawNodes(() => sentinel.url);
const own = (): string => `http://127.0.0.1:${sentinel.port}`;
const page = (): Record<string, string> => ({ origin: own() });
const keyed = (token = localKey(sentinel.dataDir)): Record<string, string> => ({
  authorization: `Bearer ${token}`,
});
const ask = (path: string, options: PageRequest = {}): Promise<PageAnswer> =>
  send(sentinel.port, path, options);
const linkCode = async (): Promise<string> => {
  const { body } = await ask(LINKS, { method: 'POST', headers: keyed() });
  return new URL(body.url).hash.replace('#code=', '');
};
const signIn = (body: unknown, headers = page()): Promise<PageAnswer> =>
  ask(SESSION, { method: 'POST', body, headers });
const signedIn = async (): Promise<string> => cookieOf(await signIn({ code: await linkCode() }));

beforeAll(async () => {
  audit = join(temporaryDirectory(), 'audit');
  sentinel = await startOurSentinel({ env: { FAME_AUDIT_LOG: audit, FAME_LOG_LEVEL: 'debug' } });
});
afterAll(async () => {
  await nodes.closeAll();
  await sentinel.proc.stop();
});

test('a link signs in once; its code is in the fragment, which browsers do not send', async () => {
  const made = await ask(LINKS, { method: 'POST', headers: keyed() });
  expect(made.status).toBe(201);
  expect(made.headers['cache-control']).toBe('no-store');
  expect(made.body.url).toMatch(new RegExp(`^${own()}/console/#code=[\\w-]{43}$`));
  const left = Date.parse(made.body.expiresAt) - Date.now();
  expect(left).toBeGreaterThan(3_500_000);
  expect(left).toBeLessThanOrEqual(3_600_000);
  const code = made.body.url.split('=')[1];
  const answer = await signIn({ code });
  expect(answer).toMatchObject({
    status: 200,
    body: {
      principal: { id: 'local', roles: ['admin'] },
      isSignedIn: true,
      isCredentialNeeded: false,
      may: { watch: true, admin: true },
      sentinel: { id: expect.any(String), path: expect.stringMatching(/^\//), version: expect.any(String) },
      chatAddress: 'chat@fame.fabric',
      doors: ['openai', 'a2a', 'mcp', 'http', 'console'],
    },
  });
  expect(answer.headers['set-cookie']).toEqual([
    expect.stringMatching(/; Path=\/; HttpOnly; SameSite=Strict$/),
  ]);
  expect(await signIn({ code })).toMatchObject({ status: 401, body: { error: { code: 'AUTH_INVALID' } } });
});

test('a cookie opens the pages, and a client of the page attaches with it', async () => {
  const cookie = await signedIn();
  for (const path of ['/fame/v1/nodes', '/metrics']) {
    expect((await ask(path, { headers: { cookie } })).status).toBe(200);
  }
  expect((await ask(SESSION, { headers: { cookie } })).body).toMatchObject({ principal: { id: 'local' } });
  const node = await nodes.attached({ ws: { headers: { ...page(), cookie } } });
  expect(node.ack.frame.principal).toEqual({ id: 'local', roles: ['admin'] });
  // Doors in the process of the sentinel accept it, too.
  expect((await ask('/agents', { headers: { cookie } })).status).toBe(200);
});

type Row = [name: string, headers: Record<string, string>];
const foreign: Row[] = [
  ['a page of another port', { origin: 'http://localhost:5173', 'sec-fetch-site': 'same-site' }],
  ['a page of another name of this machine', { origin: 'http://localhost:1', 'sec-fetch-site': 'same-site' }],
  ['an image of another port', { 'sec-fetch-site': 'same-site' }],
  ['a page of another site', { origin: 'https://evil.example', 'sec-fetch-site': 'cross-site' }],
  ['a frame without an origin', { origin: 'null' }],
  ['a page behind a foreign name', { host: 'evil.example:8000', origin: 'http://evil.example:8000' }],
];
describe.each(foreign)('%s, with the cookie', (_name, headers) => {
  test.each(['/fame/v1/nodes', '/fame/v1/trace', '/metrics'])('cannot read %s', async (path) => {
    const { status, text } = await ask(path, { headers: { ...headers, cookie: await signedIn() } });
    expect([401, 403]).toContain(status);
    expect(text).not.toContain(sentinel.dataDir);
  });

  test('can neither make a link nor sign out', async () => {
    const cookie = await signedIn();
    const made = await ask(LINKS, { method: 'POST', headers: { ...headers, cookie } });
    expect([401, 403]).toContain(made.status);
    const out = await ask(SESSION, { method: 'DELETE', headers: { ...headers, cookie } });
    expect([out.status, out.headers['set-cookie']]).toEqual([403, undefined]);
  });

  test('cannot sign in', async () => {
    const code = await linkCode();
    const answer = await signIn({ code }, headers);
    expect([answer.status, answer.headers['set-cookie']]).toEqual([403, undefined]);
    expect((await signIn({ code })).status).toBe(200);
  });
});

test('a state-changing request with the cookie needs an Origin', async () => {
  const cookie = await signedIn();
  expect((await ask(LINKS, { method: 'POST', headers: { cookie } })).status).toBe(401);
  expect((await ask(LINKS, { method: 'POST', headers: { cookie, ...page() } })).status).toBe(201);
  expect((await ask(SESSION, { method: 'DELETE', headers: { cookie } })).status).toBe(403);
});

test('an allowed page of another origin does not attach with the cookie', async () => {
  const origin = 'http://localhost:5173';
  const other = await startOurSentinel({ env: { FAME_ALLOWED_ORIGINS: origin } });
  const cookie = cookieOf(
    await send(other.port, SESSION, {
      method: 'POST',
      headers: { origin: other.http },
      body: { key: localKey(other.dataDir), remember: true },
    }),
  );
  const attach = async (from: string | undefined): Promise<unknown> => {
    const headers: Record<string, string> = from === undefined ? { cookie } : { cookie, origin: from };
    const node = await RawNode.attached(other.url, { ws: { headers } });
    await node.close();
    return node.ack.frame.principal.id;
  };
  expect([await attach(other.http), await attach(origin), await attach(undefined)]).toEqual([
    'local',
    'anonymous',
    'anonymous',
  ]);
  const trace = await send(other.port, '/fame/v1/nodes', { headers: { cookie, origin } });
  expect(trace.status).toBe(401);
  await other.proc.stop();
});

test('a key is remembered on request, checked as a bearer, and never answered', async () => {
  const key = localKey(sentinel.dataDir);
  const answer = await signIn({ key, remember: true });
  expect(answer).toMatchObject({ status: 200, body: { principal: { id: 'local' } } });
  expect(answer.text + JSON.stringify(answer.headers)).not.toContain(key);
  expect(await signIn({ key })).toMatchObject({ status: 400, body: { error: { code: 'REQUEST_INVALID' } } });
  expect((await ask(SESSION, { headers: keyed() })).body.principal.id).toBe('local');
  const wrong = await ask(SESSION, { headers: keyed('fk_local_wrong') });
  expect(wrong).toMatchObject({ status: 401, body: { error: { code: 'AUTH_INVALID' } } });
});

test('signing out removes the cookie', async () => {
  const cookie = await signedIn();
  const { status, headers } = await ask(SESSION, { method: 'DELETE', headers: { ...page(), cookie } });
  expect(status).toBe(204);
  const [name] = cookie.split('=');
  expect(headers['set-cookie']).toEqual([`${name}=; Max-Age=0; Path=/; HttpOnly; SameSite=Strict`]);
});

test.each<[string, unknown, number]>([
  ['no body', undefined, 400],
  ['a list', [], 400],
  ['text', 'code', 400],
  ['an empty code', { code: '' }, 400],
  ['a long code', { code: 'x'.repeat(65) }, 400],
  ['a code and a key', { code: 'x', key: 'y', remember: true }, 400],
  ['a number', { code: 7 }, 400],
  ['a body of 11 KB', { key: 'x'.repeat(11_000), remember: true }, 413],
])('a sign-in with %s is refused', async (_name, body, status) => {
  const answer = await signIn(body);
  expect(answer.status).toBe(status);
  expect(answer.body.error).toEqual({
    code: expect.stringMatching(/^[A-Z_]+$/),
    message: expect.any(String),
  });
  expect(answer.headers['set-cookie']).toBeUndefined();
});

test('without a session the page learns that it may sign in', async () => {
  expect((await ask(SESSION)).body).toMatchObject({
    principal: null,
    isSignedIn: false,
    may: { watch: false, admin: false },
  });
  expect((await ask(LINKS, { method: 'POST' })).status).toBe(401);
});

test('a cookie survives a restart, and ends within 5 s of a rotation of its key', async () => {
  const own = await startOurSentinel();
  const origin = { origin: own.http };
  const body = { key: localKey(own.dataDir), remember: true };
  const cookie = cookieOf(await send(own.port, SESSION, { method: 'POST', headers: origin, body }));
  await own.proc.stop();
  const again = await startOurSentinel({ dataDir: own.dataDir, port: own.port });
  const read = (path: string) => send(again.port, path, { headers: { cookie } });
  expect((await read('/fame/v1/nodes')).status).toBe(200);
  const node = await RawNode.attached(again.url, { ws: { headers: { ...origin, cookie } } });
  const trace = send(again.port, '/fame/v1/trace', { headers: { cookie } });
  const began = performance.now();
  rotateLocalKey(again.dataDir);
  expect((await node.closed).code).toBe(4410);
  await trace;
  expect(performance.now() - began).toBeLessThan(5_000);
  expect((await read('/fame/v1/nodes')).body.error).toEqual({
    code: 'AUTH_INVALID',
    message: 'The session has ended. Sign in again',
  });
  // The page starts over, and its browser forgets the cookie.
  const { body: view, headers } = await read(SESSION);
  expect(view).toMatchObject({ principal: null, isSignedIn: false });
  expect(headers['set-cookie']?.[0]).toMatch(/=; Max-Age=0;/);
  await again.proc.stop();
});

test('a sentinel that needs keys tells a stranger nothing about its fabric', async () => {
  const dataDir = temporaryDirectory();
  await runFame({ url: sentinel.url, env: { FAME_DATA_DIR: dataDir } }, [
    'key',
    'add',
    'ada',
    '--role',
    'client',
  ]);
  const gated = await startOurSentinel({ dataDir });
  const { body } = await send(gated.port, SESSION);
  expect(body).toMatchObject({ principal: null, isCredentialNeeded: true });
  expect([Object.keys(body.sentinel), 'chatAddress' in body]).toEqual([['version'], false]);
  await gated.proc.stop();
});

test('no key, code or cookie is in the log or in the audit log', async () => {
  const code = await linkCode();
  const cookie = cookieOf(await signIn({ code }));
  await signIn({ code });
  await signIn({ key: 'fk_wrong_canary', remember: true });
  await expect.poll(() => readFileSync(audit, 'utf8')).toMatch(/"outcome":"refused".*"action":"SignIn"/);
  const written = readFileSync(audit, 'utf8') + sentinel.proc.output;
  expect(written).toMatch(
    /"outcome":"allowed".*"principal":"local".*"action":"SignIn"|"action":"SignIn".*"principal":"local"/,
  );
  for (const secret of [code, cookie.split('=')[1]!, 'fk_wrong_canary', localKey(sentinel.dataDir)]) {
    expect(written).not.toContain(secret);
  }
});

// Last: it uses up the failures of this address.
test('ten failed sign-ins of an address in a minute, and the next waits', async () => {
  const codes: string[] = [];
  for (let n = 0; n < 11; n++) codes.push((await signIn({ code: 'wrong' })).body.error.code);
  expect(codes.at(-1)).toBe('QUOTA_EXCEEDED');
  const { status, headers } = await signIn({ code: await linkCode() });
  expect(status).toBe(429);
  expect(Number(headers['retry-after'])).toBeGreaterThan(0);
});
