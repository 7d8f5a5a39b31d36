// The check of tokens: each fault of a token is refused with its code, and only configured URLs are requested.
import { createHmac, randomBytes } from 'node:crypto';
import { makeEnvelope } from '@fame-fabric/shared';
import { CaptureLog, ManualClock } from '@fame-fabric/shared/testing';
import { type CryptoKey, exportSPKI, generateKeyPair, importJWK } from 'jose';
import { beforeAll, beforeEach, describe, expect, test, vi } from 'vitest';
import { FakeTransport } from '../../testing/fake-transport.ts';
import { makeTestParts } from '../../testing/sentinel-parts.ts';
import { TEST_AUDIENCE, type TestClaims, TestIssuer, type TokenOptions } from '../../testing/test-issuer.ts';
import { subjectFingerprint } from './node-identity.ts';
import type { TokenRules } from './token-rules.ts';
import { TokenCredentials } from './token-source.ts';

const PATH = '/S';
const JWKS = 'https://issuer.example/.well-known/jwks.json';

let issuer: TestIssuer;
let clock: ManualClock;
let log: CaptureLog;
beforeAll(async () => {
  issuer = await TestIssuer.create();
});
beforeEach(() => {
  clock = new ManualClock();
  log = new CaptureLog();
  issuer.requests.length = 0;
  issuer.reply = () => ({ status: 200, body: { keys: [issuer.publicJwk] } });
});

const open = (rules: Partial<TokenRules> = {}, request: TestIssuer['request'] = issuer.request) =>
  new TokenCredentials(issuer.rules(rules), { clock, log, path: () => PATH, request });
const token = (claims?: TestClaims, options?: TokenOptions) => issuer.token(clock.now(), claims, options);
const now = () => Math.floor(clock.now() / 1_000);
const base64 = (value: unknown) => Buffer.from(JSON.stringify(value)).toString('base64url');

async function expectRefused(text: string, code: string, source = open()): Promise<string> {
  expect(source.accepts(text)).toBe(true);
  const result = await source.authenticate(text);
  expect(result).toMatchObject({ ok: false, fault: { code } });
  if (result.ok) throw new Error('accepted');
  for (const part of text.split('.')) if (part.length > 3) expect(result.fault.message).not.toContain(part);
  return result.fault.message;
}

describe('a valid token', () => {
  test('names the principal, its roles, its scopes and its expiry', async () => {
    expect(await open().authenticate(await token())).toMatchObject({
      ok: true,
      principal: { id: 'jwt:issuer.example/ada', roles: ['client', 'agent'], scopes: ['node.connect'] },
      expiresAt: clock.now() + 3_600_000,
    });
    expect(issuer.requests).toEqual([JWKS]);
  });

  test.each<[string, TestClaims, string]>([
    ['the client, without a subject', { sub: undefined, client_id: 'dev' }, 'jwt:issuer.example/dev'],
    ['an encoded subject', { sub: 'a/b c' }, 'jwt:issuer.example/a%2Fb%20c'],
  ])('the principal is %s', async (_what, claims, id) => {
    expect(await open().authenticate(await token(claims))).toMatchObject({ ok: true, principal: { id } });
  });

  test.each<[TestClaims]>([
    [{ scope: 'a node.connect' }],
    [{ scope: 'a,node.connect' }],
    [{ scope: undefined, scopes: ['node.connect'] }],
    [{ scope: undefined, scp: 'node.connect' }],
    [{ scope: undefined, capabilities: ['node.connect'] }],
    [{ aud: ['other', TEST_AUDIENCE] }],
    [{ exp: 1_700_003_600.5 }],
    [{ nbf: 1_700_000_059, iat: 1_700_000_059 }],
  ])('%o is accepted', async (claims) => {
    expect((await open().authenticate(await token(claims))).ok).toBe(true);
  });

  test.each<[TestClaims, string[]]>([
    [{ roles: ['agent', 'other'] }, ['agent']],
    [{ role: 'admin' }, ['admin']],
    [{ roles: ['other'] }, ['client', 'agent']],
    [{ scope: 'node.connect node.trusted' }, ['client', 'agent', 'sentinel']],
  ])('%o gives its roles', async (claims, roles) => {
    expect(await open().authenticate(await token(claims))).toMatchObject({ principal: { roles } });
  });

  test('passes the listed claims on, if they are short', async () => {
    const claims = { email: 'ada@example.org', groups: ['a', 'b'], secret: 'x', long: 'y'.repeat(300) };
    const source = open({ claimNames: ['email', 'groups', 'long', 'constructor'] });
    const result = await source.authenticate(await token(claims));
    expect(result.ok && result.principal.claims).toEqual({ email: claims.email, groups: claims.groups });
  });
});

describe('each fault of a token is refused', () => {
  test.each<[string, () => TestClaims, string]>([
    ['expired', () => ({ exp: now() }), 'AUTH_EXPIRED'],
    ['long expired', () => ({ exp: now() - 3_600 }), 'AUTH_EXPIRED'],
    ['not yet valid', () => ({ nbf: now() + 61 }), 'AUTH_INVALID'],
    ['issued in the future', () => ({ iat: now() + 61 }), 'AUTH_INVALID'],
    ['without an expiry', () => ({ exp: undefined }), 'AUTH_INVALID'],
    ['an expiry that is a text', () => ({ exp: '9999999999' as unknown as number }), 'AUTH_INVALID'],
    ['another audience', () => ({ aud: 'other' }), 'AUTH_INVALID'],
    ['no audience', () => ({ aud: undefined }), 'AUTH_INVALID'],
    ['another issuer', () => ({ iss: 'https://other.example' }), 'AUTH_INVALID'],
    ['an issuer that only begins alike', () => ({ iss: `${issuer.issuer}.evil.example` }), 'AUTH_INVALID'],
    ['no issuer', () => ({ iss: undefined }), 'AUTH_INVALID'],
    ['no scope', () => ({ scope: undefined }), 'AUTH_FORBIDDEN'],
    ['another scope', () => ({ scope: 'node.connected' }), 'AUTH_FORBIDDEN'],
    ['no subject', () => ({ sub: undefined }), 'AUTH_INVALID'],
    ['a subject that is too long', () => ({ sub: 'a'.repeat(300) }), 'AUTH_INVALID'],
    ['a subject that is no text', () => ({ sub: '\ud800' }), 'AUTH_INVALID'],
  ])('%s', async (_what, claims, code) => {
    await expectRefused(await token(claims()), code);
  });

  test('the key of another issuer', async () => {
    const { privateKey } = await generateKeyPair('EdDSA');
    await expectRefused(await token({}, { key: privateKey }), 'AUTH_INVALID');
    expect(issuer.requests).toHaveLength(1);
  });

  test('a changed payload', async () => {
    const [header, , signature] = (await token()).split('.');
    await expectRefused(
      `${header}.${base64({ iss: issuer.issuer, sub: 'eve' })}.${signature}`,
      'AUTH_INVALID',
    );
  });

  test.each(['none', 'None', 'NONE', 'nOnE'])('algorithm %s', async (alg) => {
    const [, payload, signature] = (await token()).split('.');
    for (const end of ['', signature]) {
      await expectRefused(`${base64({ alg, kid: issuer.kid })}.${payload}.${end}`, 'AUTH_INVALID');
    }
  });

  test('HS256 with the public key as its secret, in each of its forms', async () => {
    const rsa = await TestIssuer.create({ alg: 'RS256' });
    const publicKey = (await importJWK(rsa.publicJwk, 'RS256')) as CryptoKey;
    const source = new TokenCredentials(rsa.rules(), { clock, log, path: () => PATH, request: rsa.request });
    expect((await source.authenticate(await rsa.token(clock.now()))).ok).toBe(true);
    const [, payload] = (await rsa.token(clock.now())).split('.');
    const pem = await exportSPKI(publicKey);
    const secrets = [pem, pem.trim(), rsa.publicJwk.n!, JSON.stringify(rsa.publicJwk), ''];
    for (const secret of secrets) {
      const text = `${base64({ alg: 'HS256', kid: rsa.kid })}.${payload}`;
      const signature = createHmac('sha256', secret).update(text).digest('base64url');
      await expectRefused(`${text}.${signature}`, 'AUTH_INVALID', source);
    }
  });

  test('a symmetric key in the key set', async () => {
    const secret = randomBytes(32);
    const jwk = { kty: 'oct', k: secret.toString('base64url'), kid: 'hs', alg: 'HS256' };
    issuer.reply = () => ({ status: 200, body: { keys: [jwk] } });
    const forged = await token({}, { header: { alg: 'HS256', kid: 'hs' }, key: secret });
    await expectRefused(forged, 'AUTH_INVALID');
  });

  test.each([
    ['EdDSA', 'ES256'],
    ['ES256', 'EdDSA'],
  ])('a key of the issuer for %s while only %s is on the list', async (alg, allowed) => {
    const other = await TestIssuer.create({ alg });
    const rules = other.rules({ algorithms: [allowed] });
    const source = new TokenCredentials(rules, { clock, log, path: () => PATH, request: other.request });
    expect(await expectRefused(await other.token(clock.now()), 'AUTH_INVALID', source)).toContain(allowed);
  });

  test('a key that a header names by URL or contains; only the configured URL is requested', async () => {
    const fetched = vi.fn(() => Promise.reject(new Error('requested')));
    vi.stubGlobal('fetch', fetched);
    try {
      const { privateKey, publicKey } = await generateKeyPair('EdDSA', { extractable: true });
      const spki = await exportSPKI(publicKey);
      for (const header of [
        { jku: 'https://evil.example/jwks' },
        { x5u: 'https://evil.example/cert' },
        { kid: 'https://evil.example/key' },
        { kid: '../../etc/passwd' },
        { x5c: [spki] },
      ]) {
        const claims = { iss: issuer.issuer, jku: 'https://evil.example' };
        await expectRefused(await token(claims, { header, key: privateKey }), 'AUTH_INVALID');
      }
      await expectRefused(await token({ iss: 'https://evil.example' }, { key: privateKey }), 'AUTH_INVALID');
    } finally {
      vi.unstubAllGlobals();
    }
    expect(fetched).not.toHaveBeenCalled();
    expect(new Set(issuer.requests)).toEqual(new Set([JWKS]));
  });

  test('an unknown critical header', async () => {
    const [, payload, signature] = (await token()).split('.');
    const header = base64({ alg: 'EdDSA', kid: issuer.kid, crit: ['exotic'], exotic: 1 });
    await expectRefused(`${header}.${payload}.${signature}`, 'AUTH_INVALID');
  });

  test.each(['a.b.c', '..', 'e30.e30.', `${'a'.repeat(9_000)}.b.c`, 'fk_local_x', 'a.b.c.d.e', ''])(
    'the text %s',
    async (text) => {
      const source = open();
      if (source.accepts(text)) await expectRefused(text, 'AUTH_INVALID');
      expect(issuer.requests).toEqual([]);
    },
  );
});

describe('two issuers', () => {
  test('a key of one never verifies a token of the other, even under the same kid', async () => {
    const other = await TestIssuer.create({ issuer: 'https://other.example' });
    const rules = issuer.rules({
      issuers: [...issuer.rules().issuers, ...other.rules().issuers],
    });
    const request = (url: string) => (url === JWKS ? issuer : other).request(url);
    const source = new TokenCredentials(rules, { clock, log, path: () => PATH, request });
    expect((await source.authenticate(await token())).ok).toBe(true);
    expect(await source.authenticate(await other.token(clock.now()))).toMatchObject({
      principal: { id: 'jwt:other.example/ada' },
    });
    await expectRefused(await token({ iss: other.issuer }), 'AUTH_INVALID', source);
    await expectRefused(await other.token(clock.now(), { iss: issuer.issuer }), 'AUTH_INVALID', source);
  });
});

describe('tokens of a welcome service', () => {
  const welcome = { sub: undefined, scope: undefined, aud: PATH, system_id: 'n1', exp: 1_700_000_100.25 };

  test('are for the path of this sentinel and for one node, without a subject and a scope', async () => {
    const result = await open().authenticate(await token(welcome));
    expect(result).toMatchObject({ ok: true, principal: { id: 'jwt:issuer.example/n1' } });
    if (!result.ok) throw result.fault;
    expect(result.nodeFault?.('n1')).toBeUndefined();
    expect(result.nodeFault?.('n2')).toMatchObject({ code: 'AUTH_FORBIDDEN' });
    await expectRefused(await token({ ...welcome, aud: '/other' }), 'AUTH_INVALID');
  });

  test('without FAME_JWT_AUDIENCE, the path is the audience of all tokens', async () => {
    const source = open({ audience: undefined });
    expect((await source.authenticate(await token({ aud: PATH }))).ok).toBe(true);
    await expectRefused(await token(), 'AUTH_INVALID', source);
  });
});

describe('FAME_ENFORCE_TOKEN_SUBJECT_NODE_IDENTITY', () => {
  const fault = async (systemId: string, claims?: TestClaims, enforcesSubject = true) => {
    const result = await open({ enforcesSubject }).authenticate(await token(claims));
    if (!result.ok) throw result.fault;
    return result.nodeFault?.(systemId)?.code;
  };

  test.each([
    ['ada', 'YdjF3ue2'],
    ['test-client', 'OKahqrVj'],
    ['ünïcode', 'HO86rBmh'],
    // Hashed twice.
    ['user586', 'OashyLzU'],
  ])('the fingerprint of %s is that of naylence', (subject, fingerprint) => {
    expect(subjectFingerprint(subject)).toBe(fingerprint);
  });

  test('admits ids that begin with the fingerprint and a hyphen', async () => {
    const prefix = subjectFingerprint('ada');
    expect(await fault(`${prefix}-x`)).toBeUndefined();
    expect(await fault(`${prefix}x`)).toBe('AUTH_FORBIDDEN');
    expect(await fault(subjectFingerprint('eve'))).toBe('AUTH_FORBIDDEN');
    expect(await fault('x', { sub: undefined, client_id: 'ada' })).toBe('AUTH_FORBIDDEN');
    expect(await fault('x', { scope: 'node.connect node.trusted' })).toBeUndefined();
    expect(await fault('x', {}, false)).toBeUndefined();
  });
});

describe('the key server', () => {
  test('is asked once for many tokens, and again after 10 minutes', async () => {
    const source = open();
    const text = await token();
    await Promise.all([source.authenticate(text), source.authenticate(text), source.authenticate(text)]);
    expect(issuer.requests).toHaveLength(1);
    clock.advance(599_000);
    await source.authenticate(text);
    expect(issuer.requests).toHaveLength(1);
    clock.advance(1_000);
    await source.authenticate(text);
    expect(issuer.requests).toHaveLength(2);
  });

  test('is not asked for each unknown key id', async () => {
    const source = open();
    const forged = await token({}, { header: { kid: 'unknown' } });
    for (let i = 0; i < 20; i++) await expectRefused(forged, 'AUTH_INVALID', source);
    expect(issuer.requests).toHaveLength(1);
    clock.advance(10_000);
    await expectRefused(forged, 'AUTH_INVALID', source);
    expect(issuer.requests).toHaveLength(2);
  });

  test('a new key is found when a token names it', async () => {
    const source = open();
    await source.authenticate(await token());
    const next = await TestIssuer.create({ kid: 'k2' });
    issuer.reply = () => ({ status: 200, body: { keys: [issuer.publicJwk, next.publicJwk] } });
    clock.advance(10_000);
    expect((await source.authenticate(await next.token(clock.now()))).ok).toBe(true);
    expect((await source.authenticate(await token())).ok).toBe(true);
  });

  const away = () => {
    throw new Error('connect ECONNREFUSED');
  };

  test('while it is unreachable, only cached keys are accepted, and one log line names it', async () => {
    const source = open();
    const text = await token();
    issuer.reply = away;
    expect(await expectRefused(text, 'AUTH_UNAVAILABLE', source)).not.toContain('ECONNREFUSED');
    await expectRefused(text, 'AUTH_UNAVAILABLE', source);
    clock.advance(2_000);
    await expectRefused(text, 'AUTH_UNAVAILABLE', source);
    expect(issuer.requests).toHaveLength(2);
    expect(log.lines).toMatchObject([
      { level: 'warn', fields: { url: JWKS, reason: expect.stringContaining('ECONNREFUSED') } },
    ]);
    issuer.reply = () => ({ status: 200, body: { keys: [issuer.publicJwk] } });
    clock.advance(2_000);
    expect((await source.authenticate(text)).ok).toBe(true);
    expect(log.messages('info')).toEqual(['the key server answers again']);

    issuer.reply = away;
    clock.advance(700_000);
    expect((await source.authenticate(text)).ok).toBe(true);
    clock.advance(2_000);
    const other = await TestIssuer.create({ kid: 'k2' });
    await expectRefused(await other.token(clock.now()), 'AUTH_UNAVAILABLE', source);
    expect(log.messages('warn')).toHaveLength(2);
  });

  test.each<[string, number, unknown]>([
    ['an error', 500, { error: 'down' }],
    ['another document', 200, { hello: 1 }],
    ['null', 200, null],
    ['too many keys', 200, { keys: Array.from({ length: 129 }, () => ({ kty: 'OKP' })) }],
  ])('%s is not a key set', async (_what, status, body) => {
    issuer.reply = () => ({ status, body });
    await expectRefused(await token(), 'AUTH_UNAVAILABLE');
  });

  test('a token without a kid selects the key if there is only one', async () => {
    const source = open();
    const text = await token({}, { header: { kid: undefined } });
    expect((await source.authenticate(text)).ok).toBe(true);
    const second = await TestIssuer.create({ kid: 'k2' });
    issuer.reply = () => ({ status: 200, body: { keys: [issuer.publicJwk, second.publicJwk] } });
    await expectRefused(text, 'AUTH_INVALID');
  });
});

test('a node with another id than that of its token is refused at the attach', async () => {
  const source = open();
  const { admission } = makeTestParts();
  const welcome = { sub: undefined, scope: undefined, aud: PATH, system_id: 'n1' };
  const text = await token(welcome);
  const attach = async (systemId: string) => {
    const transport = new FakeTransport();
    const authentication = await source.authenticate(text);
    admission.open(transport, { origin: 'downstream', systemId, authentication });
    const frame = { type: 'NodeAttach', originType: 'downstream', systemId, instanceId: 'i' } as const;
    transport.receive(makeEnvelope(frame, { corrId: 'attach' }));
    return { ack: transport.takeFirst().frame, closed: transport.closed?.code };
  };
  expect(await attach('n1')).toMatchObject({ ack: { ok: true }, closed: undefined });
  expect(await attach('n2')).toMatchObject({ ack: { ok: false, code: 'AUTH_FORBIDDEN' }, closed: 1008 });
});
