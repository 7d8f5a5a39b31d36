// The development issuer: its key, its tokens and its answers.
import { chmodSync, mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ManualClock } from '@fame-fabric/shared/testing';
import { createLocalJWKSet, jwtVerify } from 'jose';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { answerOf, issueToken } from './dev-issuer.ts';
import { clientSecretFile, openClientSecret, openIssuerKey } from './issuer-key.ts';

let dataDir: string;
beforeEach(() => {
  dataDir = mkdtempSync(join(tmpdir(), 'fame-issuer-'));
});
afterEach(() => rmSync(dataDir, { recursive: true }));

describe('the key', () => {
  test('is created once, and only its owner can read it', () => {
    const { publicJwk } = openIssuerKey(dataDir);
    expect(publicJwk).toMatchObject({ kty: 'OKP', crv: 'Ed25519', alg: 'EdDSA', use: 'sig' });
    expect(publicJwk).not.toHaveProperty('d');
    expect(openIssuerKey(dataDir).publicJwk).toEqual(publicJwk);
    const secret = openClientSecret(dataDir);
    expect(openClientSecret(dataDir)).toBe(secret);
    const directory = join(dataDir, 'issuer');
    for (const file of readdirSync(directory))
      expect(statSync(join(directory, file)).mode & 0o777).toBe(0o600);
    expect(readdirSync(directory)).toHaveLength(2);
  });

  test('that others can read, or that is invalid, is refused', () => {
    openIssuerKey(dataDir);
    const file = join(dataDir, 'issuer/key.pem');
    chmodSync(file, 0o644);
    expect(() => openIssuerKey(dataDir)).toThrow(/Other users of this machine can read .*key\.pem/);
    chmodSync(file, 0o600);
    writeFileSync(file, 'x');
    expect(() => openIssuerKey(dataDir)).toThrow(/no Ed25519 key/);
    openClientSecret(dataDir);
    chmodSync(clientSecretFile(dataDir), 0o640);
    expect(() => openClientSecret(dataDir)).toThrow(/chmod 600/);
    expect(() => openIssuerKey('/proc/none')).toThrow(/Check FAME_DATA_DIR/);
  });
});

const clock = new ManualClock();
const verify = (token: string, { publicJwk }: ReturnType<typeof openIssuerKey>) =>
  jwtVerify(token, createLocalJWKSet({ keys: [{ ...publicJwk }] }), { currentDate: new Date(clock.now()) });

test('a token has the claims, and its times of issue and expiry', async () => {
  const key = openIssuerKey(dataDir);
  const request = { issuer: 'http://i', audience: 'a', lifetimeMs: 5_000, claims: { sub: 'ada' } };
  clock.advance(700);
  const { payload, protectedHeader } = await verify(issueToken(key, request, clock), key);
  const now = Math.floor(clock.now() / 1_000);
  expect(payload).toEqual({ iss: 'http://i', aud: 'a', sub: 'ada', iat: now, nbf: now, exp: now + 6 });
  expect(protectedHeader).toEqual({ alg: 'EdDSA', kid: key.publicJwk.kid, typ: 'JWT' });
});

describe('an answer', () => {
  const URL_OF_ISSUER = 'http://127.0.0.1:8099';
  const open = () => ({
    key: openIssuerKey(dataDir),
    host: '127.0.0.1',
    port: 0,
    clientId: 'dev',
    clientSecret: 's3cret',
    audience: 'fame.fabric',
    lifetimeMs: 60_000,
    clock,
  });
  const CLIENT = { grant_type: 'client_credentials', client_id: 'dev', client_secret: 's3cret' };
  const post = (form: Record<string, string> | undefined, authorization?: string, options = open()) => {
    const body = form && new URLSearchParams(form);
    return answerOf({ route: 'POST /oauth/token', authorization, form: body }, options, URL_OF_ISSUER);
  };

  test('publishes the key and the endpoints', () => {
    const options = open();
    const get = (path: string) => answerOf({ route: `GET ${path}` }, options, URL_OF_ISSUER);
    expect(get('/.well-known/jwks.json').body).toEqual({ keys: [options.key.publicJwk] });
    expect(get('/.well-known/openid-configuration').body).toMatchObject({
      issuer: URL_OF_ISSUER,
      token_endpoint: `${URL_OF_ISSUER}/oauth/token`,
      jwks_uri: `${URL_OF_ISSUER}/.well-known/jwks.json`,
    });
    expect(get('/health').status).toBe(200);
    expect(get('/other')).toEqual({ status: 404, body: { error: 'not_found' } });
  });

  test('grants a token to the client, by form or by header', async () => {
    const options = open();
    const { status, body } = post(CLIENT, undefined, options);
    expect({ status, body }).toMatchObject({
      status: 200,
      body: { token_type: 'Bearer', expires_in: 60, scope: 'node.connect' },
    });
    const { payload } = await verify(String(body.access_token), options.key);
    expect(payload).toMatchObject({
      iss: URL_OF_ISSUER,
      aud: 'fame.fabric',
      sub: 'dev',
      client_id: 'dev',
      scope: 'node.connect',
    });
    const form = { grant_type: 'client_credentials', audience: 'x', scope: 'node.trusted other' };
    const basic = post(form, `Basic ${Buffer.from('dev:s3cret').toString('base64')}`, options);
    const other = await verify(String(basic.body.access_token), options.key);
    expect(other.payload).toMatchObject({ aud: 'x', scope: 'node.trusted' });
  });

  test.each<[string, Record<string, string> | undefined, number, string]>([
    ['a wrong secret', { ...CLIENT, client_secret: 'other' }, 401, 'invalid_client'],
    ['another client', { ...CLIENT, client_id: 'eve' }, 401, 'invalid_client'],
    ['no client', { grant_type: 'client_credentials' }, 401, 'invalid_client'],
    ['another grant', { ...CLIENT, grant_type: 'password' }, 400, 'unsupported_grant_type'],
    ['another scope', { ...CLIENT, scope: 'admin' }, 400, 'invalid_scope'],
    ['a large form', undefined, 413, 'invalid_request'],
  ])('refuses %s', (_what, form, status, error) => {
    expect(post(form)).toEqual({ status, body: { error } });
  });
});
