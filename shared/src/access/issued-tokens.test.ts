// Tokens from an issuer: reuse, renewal, refusals and secrets.
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { beforeEach, describe, expect, test } from 'vitest';
import { readEnv } from '../env/read-env.ts';
import { FabricError } from '../errors/error.ts';
import { ManualClock } from '../testing/manual-clock.ts';
import { IssuedTokens } from './issued-tokens.ts';
import type { IssuerReply } from './issuer-request.ts';
import { type IssuerSettings, readIssuerSettings } from './issuer-settings.ts';

const SETTINGS: IssuerSettings = {
  tokenUrl: 'https://issuer.example/oauth/token?key=s3cret',
  clientId: 'dev',
  clientSecret: 's3cret',
  clientSecretFile: undefined,
  scope: 'node.connect',
  audience: 'fame.fabric',
};

let clock: ManualClock;
let forms: Readonly<Record<string, string>>[];
let reply: () => IssuerReply | Promise<IssuerReply>;
beforeEach(() => {
  clock = new ManualClock();
  forms = [];
  reply = () => ({ status: 200, body: { access_token: `t${forms.length}`, expires_in: 100 } });
});

const open = (settings: Partial<IssuerSettings> = {}) =>
  new IssuedTokens(
    { ...SETTINGS, ...settings },
    {
      clock,
      request: async (_url, form = {}) => {
        forms.push(form);
        return reply();
      },
    },
  );

test('requests a token with the client credentials grant', async () => {
  expect(await open().read()).toBe('t1');
  expect(forms).toEqual([
    {
      grant_type: 'client_credentials',
      client_id: 'dev',
      client_secret: 's3cret',
      scope: 'node.connect',
      audience: 'fame.fabric',
    },
  ]);
  await open({ audience: undefined }).read();
  expect(forms[1]).not.toHaveProperty('audience');
});

test('a token is used until a fifth of its lifetime is left; an open connection renews it after half of its lifetime', async () => {
  const tokens = open();
  expect(await Promise.all([tokens.read(), tokens.read(), tokens.renew()])).toEqual(['t1', 't1', 't1']);
  clock.advance(49_000);
  expect([await tokens.read(), await tokens.renew()]).toEqual(['t1', 't1']);
  clock.advance(1_000);
  expect(await tokens.read()).toBe('t1');
  expect([await tokens.renew(), await tokens.read()]).toEqual(['t2', 't2']);
  clock.advance(80_000);
  expect(await tokens.read()).toBe('t3');
});

test('a refused token is replaced, unless it is new', async () => {
  const tokens = open();
  await tokens.read();
  expect(tokens.onRefused()).toBe(false);
  clock.advance(10_000);
  expect(tokens.onRefused()).toBe(true);
  expect(tokens.onRefused()).toBe(false);
  expect(await tokens.read()).toBe('t2');
});

test.each<[unknown, number]>([
  [undefined, 2_879_000],
  ['200', 159_000],
  [-5, 2_879_000],
  [1e12, 69_119_000],
])('expires_in %s', async (expiresIn, usableMs) => {
  reply = () => ({ status: 200, body: { access_token: `t${forms.length}`, expires_in: expiresIn } });
  const tokens = open();
  await tokens.read();
  clock.advance(usableMs);
  expect(await tokens.read()).toBe('t1');
  clock.advance(1_000);
  expect(await tokens.read()).toBe('t2');
});

describe('an issuer that issues no token', () => {
  test.each<[string, number, unknown, string, string]>([
    [
      'refuses the client',
      401,
      { error: 'invalid_client' },
      'AUTH_INVALID',
      'refused this node: invalid_client. Check',
    ],
    ['refuses the scope', 400, { error: 'invalid_scope' }, 'AUTH_INVALID', 'invalid_scope'],
    ['repeats the secret', 400, { error: 'no s3cret' }, 'AUTH_INVALID', 'HTTP 400'],
    ['limits requests', 429, {}, 'AUTH_UNAVAILABLE', 'HTTP 429'],
    ['is broken', 500, {}, 'AUTH_UNAVAILABLE', 'HTTP 500'],
    ['answers null', 200, null, 'AUTH_UNAVAILABLE', 'has no access_token'],
    ['sends an unusable token', 200, { access_token: 'a\r\nb' }, 'AUTH_UNAVAILABLE', 'has no access_token'],
  ])('%s', async (_what, status, body, code, text) => {
    reply = () => ({ status, body });
    const error = await open()
      .read()
      .catch((one: unknown) => one);
    expect(error).toMatchObject({ code, message: expect.stringContaining(text) });
    expect((error as Error).message).not.toContain('s3cret');
  });

  test('is not reached, and is asked again by the next reader', async () => {
    const tokens = open();
    reply = () => {
      throw new FabricError('LINK_TIMEOUT', 'Cannot reach https://issuer.example/oauth/token: ECONNREFUSED');
    };
    await expect(tokens.read()).rejects.toMatchObject({
      code: 'AUTH_UNAVAILABLE',
      retryable: true,
      message: expect.stringContaining('ECONNREFUSED'),
    });
    reply = () => ({ status: 200, body: { access_token: 'later' } });
    expect(await tokens.read()).toBe('later');
  });
});

test('the file of the secret is read for each token', async () => {
  const directory = mkdtempSync(join(tmpdir(), 'fame-secret-'));
  try {
    const clientSecretFile = join(directory, 'secret');
    writeFileSync(clientSecretFile, 'first\n');
    const tokens = open({ clientSecret: undefined, clientSecretFile });
    await tokens.read();
    writeFileSync(clientSecretFile, 'second\n');
    clock.advance(90_000);
    await tokens.read();
    expect(forms.map((form) => form.client_secret)).toEqual(['first', 'second']);
    rmSync(clientSecretFile);
    clock.advance(90_000);
    await expect(tokens.read()).rejects.toMatchObject({ code: 'CONFIG_INVALID' });
  } finally {
    rmSync(directory, { recursive: true });
  }
});

describe('the settings', () => {
  const ENV = {
    FAME_ADMISSION_TOKEN_URL: 'http://127.0.0.1:8099/oauth/token',
    FAME_ADMISSION_CLIENT_ID: 'dev',
    FAME_ADMISSION_CLIENT_SECRET: 's3cret',
  };
  const read = (env: Record<string, string>) =>
    readEnv(env, (reader) => ({ issuer: readIssuerSettings(reader) })).issuer;

  test('have the names of naylence', () => {
    expect(read({})).toBeUndefined();
    expect(read(ENV)).toEqual({
      tokenUrl: ENV.FAME_ADMISSION_TOKEN_URL,
      clientId: 'dev',
      clientSecret: 's3cret',
      clientSecretFile: undefined,
      scope: 'node.connect',
      audience: undefined,
    });
    const more = { FAME_ADMISSION_TOKEN_SCOPE: 'a b', FAME_JWT_AUDIENCE: 'x' };
    expect(read({ ...ENV, ...more })).toMatchObject({ scope: 'a b', audience: 'x' });
    const file = { FAME_ADMISSION_CLIENT_SECRET: '', FAME_ADMISSION_CLIENT_SECRET_FILE: '/run/secret' };
    expect(read({ ...ENV, ...file })).toMatchObject({
      clientSecret: undefined,
      clientSecretFile: '/run/secret',
    });
  });

  test.each<[Record<string, string>, RegExp]>([
    [
      { FAME_ADMISSION_TOKEN_URL: 'http://issuer.example/token' },
      /an https:\/\/ URL.*FAME_ALLOW_HTTP_ISSUER/,
    ],
    [{ FAME_ADMISSION_CLIENT_ID: '' }, /FAME_ADMISSION_CLIENT_ID is not set/],
    [{ FAME_ADMISSION_CLIENT_SECRET: '' }, /FAME_ADMISSION_CLIENT_SECRET is not set/],
    [{ FAME_ADMISSION_CLIENT_SECRET_FILE: '/x' }, /are both set/],
    [{ FAME_ADMISSION_TOKEN: 'x' }, /FAME_ADMISSION_TOKEN and FAME_ADMISSION_TOKEN_URL are both set/],
    [
      { FAME_ADMISSION_TOKEN_FILE: '/x' },
      /FAME_ADMISSION_TOKEN_FILE and FAME_ADMISSION_TOKEN_URL are both set/,
    ],
  ])('%o is refused', (env, fault) => {
    expect(() => read({ ...ENV, ...env })).toThrow(fault);
    expect(() => read({ ...ENV, ...env })).toThrow(/has a fault/);
  });
});
