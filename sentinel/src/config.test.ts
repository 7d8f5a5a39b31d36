import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { FabricError } from '@fame-fabric/shared';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { readSentinelConfig, SENTINEL_VARIABLES } from './config.ts';

const faultsOf = (env: Record<string, string>): string[] => {
  try {
    readSentinelConfig(env);
    return [];
  } catch (error) {
    expect(error).toBeInstanceOf(FabricError);
    expect((error as FabricError).code).toBe('CONFIG_INVALID');
    return (error as FabricError).details?.faults as string[];
  }
};

test('has defaults, treats empty values as unset, and is frozen', () => {
  const config = readSentinelConfig({ FAME_LISTENER_PORT: '', FAME_LOG_LEVEL: ' ' });
  expect(config).toMatchObject({
    port: 8000,
    host: '127.0.0.1',
    resumeWindowMs: 5_000,
    drainMs: 10_000,
    logLevel: 'info',
  });
  expect(Object.isFrozen(config)).toBe(true);
});

test('reports every fault at once, each with its variable', () => {
  const faults = faultsOf({
    FAME_LISTENER_PORT: '99999',
    FAME_LOG_LEVEL: 'loud',
    FAME_PARENT_URL: 'http://x',
  });
  expect(faults).toHaveLength(3);
  for (const name of ['FAME_LISTENER_PORT', 'FAME_LOG_LEVEL', 'FAME_PARENT_URL']) {
    expect(faults.filter((fault) => fault.includes(name))).toHaveLength(1);
  }
});

test('P24: any interface but loopback must be confirmed', () => {
  expect(faultsOf({ FAME_LISTENER_HOST: '0.0.0.0' })[0]).toMatch(/FAME_OPEN_ON_ALL_INTERFACES/);
  expect(
    readSentinelConfig({ FAME_LISTENER_HOST: '0.0.0.0', FAME_OPEN_ON_ALL_INTERFACES: 'true' }).host,
  ).toBe('0.0.0.0');
});

describe('a cluster', () => {
  const NATS_FAULT = /^FAME_CLUSTER_NATS is .*nats:\/\//;
  const CLUSTER = { FAME_CLUSTER: 'prod', FAME_CLUSTER_NATS: 'nats://a:4222, tls://user:secret@b:4222' };

  test('has a name and the URLs of NATS servers', () => {
    expect(readSentinelConfig(CLUSTER).cluster).toEqual({
      name: 'prod',
      natsUrls: ['nats://a:4222', 'tls://user:secret@b:4222'],
      credentialsFile: undefined,
    });
    expect(readSentinelConfig({}).cluster).toBeUndefined();
  });

  test.each([
    [{ FAME_CLUSTER: 'prod' }, /FAME_CLUSTER_NATS is not/],
    [{ FAME_CLUSTER_NATS: 'nats://a' }, /FAME_CLUSTER is not/],
    [{ ...CLUSTER, FAME_CLUSTER: 'a.b' }, /^FAME_CLUSTER is "a\.b"; expected 1 to 64/],
    [{ ...CLUSTER, FAME_CLUSTER_NATS: 'http://user:secret@a' }, NATS_FAULT],
    [{ ...CLUSTER, FAME_CLUSTER_NATS: 'user:secret@a:4222' }, NATS_FAULT],
    [{ ...CLUSTER, FAME_CLUSTER_NATS: 'nats:user:secret@a' }, NATS_FAULT],
    [{ ...CLUSTER, FAME_CLUSTER_NATS: 'nats://user:more,secret@a' }, NATS_FAULT],
    [{ ...CLUSTER, FAME_CLUSTER_NATS: 'nats://user:secret%@a' }, NATS_FAULT],
    [{ ...CLUSTER, FAME_CLUSTER_NATS: 'nats://user:secret@a, nats://other:secret@b' }, NATS_FAULT],
    [{ ...CLUSTER, FAME_PARENT_URL: 'ws://x/fame/v1/attach/ws/downstream' }, /has no parent/],
    [{ ...CLUSTER, FAME_SECURITY_PROFILE: 'overlay' }, /overlay/],
  ])('%j is a fault', (env, fault) => {
    const faults = faultsOf(env);
    expect(faults).toHaveLength(1);
    expect(faults[0]).toMatch(fault);
    expect(faults[0]).not.toContain('secret');
  });
});

describe('keys', () => {
  let dataDir: string;
  const key = (more = {}) =>
    JSON.stringify({
      name: 'ada',
      role: 'client',
      created: '2026-11-29T12:00:00Z',
      id: '0123456789ab',
      sha256: 'a'.repeat(64),
      ...more,
    });
  const write = (text: string, name = 'keys') =>
    writeFileSync(join(dataDir, name), `${text}\n`, { mode: 0o600 });
  beforeEach(() => {
    dataDir = mkdtempSync(join(tmpdir(), 'fame-config-'));
  });
  afterEach(() => rmSync(dataDir, { recursive: true }));

  test('a credential is needed if the keys file has a key, unless the profile is open', () => {
    const isNeeded = (env = {}) => readSentinelConfig({ FAME_DATA_DIR: dataDir, ...env }).isCredentialNeeded;
    expect(isNeeded()).toBe(false);
    write('# no keys yet');
    expect(isNeeded()).toBe(false);
    write(key());
    expect(isNeeded()).toBe(true);
    expect(isNeeded({ FAME_SECURITY_PROFILE: 'Open' })).toBe(false);
    write('', 'other');
    expect(isNeeded({ FAME_KEYS_FILE: join(dataDir, 'other') })).toBe(false);
    // A sentinel must not open because time has passed.
    write(key({ expires: '2026-11-29T12:00:01Z' }));
    expect(isNeeded()).toBe(true);
  });

  test('G9: with a key other machines may reach the sentinel, and without one or in the profile open they may not', () => {
    const faults = (env = {}) => faultsOf({ FAME_DATA_DIR: dataDir, FAME_LISTENER_HOST: '0.0.0.0', ...env });
    expect(faults()[0]).toMatch(/npx fame-fabric key add NAME/);
    write(key());
    expect(faults()).toEqual([]);
    expect(faults({ FAME_SECURITY_PROFILE: 'open' })).toHaveLength(1);
    expect(faults({ FAME_SECURITY_PROFILE: 'open', FAME_OPEN_ON_ALL_INTERFACES: 'true' })).toEqual([]);
  });

  test('a fault of the file is reported with its line, beside the other faults', () => {
    write('nonsense');
    const faults = faultsOf({ FAME_DATA_DIR: dataDir, FAME_LOG_LEVEL: 'loud' });
    expect(faults).toEqual([
      `The keys file ${join(dataDir, 'keys')}:1 is not a JSON object.`,
      expect.stringContaining('FAME_LOG_LEVEL'),
    ]);
    expect(faultsOf({ FAME_KEYS_FILE: dataDir })[0]).toMatch(
      /^FAME_KEYS_FILE is ".*", which cannot be read: EISDIR$/,
    );
  });
});

test.each([
  'http://localhost:8470/',
  'localhost:8470',
  '*',
  'http://localhost:*',
  'http://*.example.org',
  'https://app.example/path',
  'LOOPBACK',
  'loopback:5173',
])('A6: the origin %s is refused, since no page has it', (origin) => {
  const [fault] = faultsOf({ FAME_ALLOWED_ORIGINS: `https://app.example,${origin}` });
  expect(fault).toContain(`FAME_ALLOWED_ORIGINS is "${origin}"`);
  expect(fault).toContain('such as http://localhost:5173');
});

test.each(['http://fame.example.org', 'fame.example.org:8000', '*', '[::1]:80'])(
  'O4: the host %s is refused, since no request matches it',
  (host) => {
    expect(faultsOf({ FAME_ALLOWED_HOSTS: host })[0]).toContain(
      'host names without a scheme, port or wildcard',
    );
  },
);

test('origins and hosts in their usual forms are accepted', () => {
  const config = readSentinelConfig({
    FAME_ALLOWED_ORIGINS:
      'http://localhost:5173, https://App.example, http://[::1]:80, chrome-extension://abcdef, loopback',
    FAME_ALLOWED_HOSTS: 'fame.example.org, sentinel, 192.168.1.5, [2001:db8::1]',
  });
  expect(config.allowedOrigins).toHaveLength(5);
  expect(config.allowedHosts).toHaveLength(4);
});

test('accepts the log level names of other Fame nodes', () => {
  expect(readSentinelConfig({ FAME_LOG_LEVEL: 'WARNING' }).logLevel).toBe('warn');
});

test('NF0: a security profile that is not built is refused, with the other faults', () => {
  const faults = faultsOf({
    FAME_SECURITY_PROFILE: 'strict-overlay',
    FAME_ADMISSION_PROFILE: 'welcome',
    FAME_LOG_LEVEL: 'loud',
  });
  expect(faults.map((fault) => fault.split(' ')[0])).toEqual([
    'FAME_ADMISSION_PROFILE',
    'FAME_SECURITY_PROFILE',
    'FAME_LOG_LEVEL',
  ]);
});

describe('the profile gated', () => {
  const GATED = { FAME_SECURITY_PROFILE: 'gated', FAME_JWT_TRUSTED_ISSUER: 'https://a.example/' };

  test('has the defaults of naylence', () => {
    const { securityProfile, tokenRules } = readSentinelConfig(GATED);
    expect(securityProfile).toBe('gated');
    expect(tokenRules).toEqual({
      issuers: [{ issuer: 'https://a.example/', jwksUrl: 'https://a.example/.well-known/jwks.json' }],
      audience: undefined,
      algorithms: ['RS256'],
      enforcesSubject: false,
      trustedScope: 'node.trusted',
      claimNames: [],
    });
  });

  test('takes one URL of keys for each issuer', () => {
    const { tokenRules } = readSentinelConfig({
      ...GATED,
      FAME_JWT_TRUSTED_ISSUER: 'urn:a, https://b.example',
      FAME_JWKS_URL: 'http://127.0.0.1:8099/keys,https://b.example/keys',
    });
    expect(tokenRules?.issuers).toEqual([
      { issuer: 'urn:a', jwksUrl: 'http://127.0.0.1:8099/keys' },
      { issuer: 'https://b.example', jwksUrl: 'https://b.example/keys' },
    ]);
  });

  test('without it, issuers only name the principals of tokens', () => {
    const { securityProfile, tokenRules } = readSentinelConfig({
      FAME_JWT_TRUSTED_ISSUER: 'https://a.example',
    });
    expect([securityProfile, tokenRules?.issuers.length]).toEqual([undefined, 1]);
    expect(readSentinelConfig({}).tokenRules).toBeUndefined();
  });

  test.each<[Record<string, string>, RegExp]>([
    [{ FAME_JWT_TRUSTED_ISSUER: '' }, /^FAME_JWT_TRUSTED_ISSUER is not set/],
    [{ FAME_JWT_TRUSTED_ISSUER: 'http://a.example' }, /an https:\/\/ URL.*FAME_ALLOW_HTTP_ISSUER/],
    [{ FAME_JWT_TRUSTED_ISSUER: 'urn:a' }, /set FAME_JWKS_URL/],
    [
      { FAME_JWT_TRUSTED_ISSUER: 'https://a.example,http://a.example', FAME_ALLOW_HTTP_ISSUER: 'true' },
      /differ/,
    ],
    [{ FAME_JWKS_URL: 'http://a.example/keys' }, /an https:\/\/ URL/],
    [{ FAME_JWKS_URL: 'https://user:pass@a.example/keys' }, /without a user name/],
    [{ FAME_JWKS_URL: 'https://a.example,https://b.example' }, /one URL for each issuer, 1 in all/],
    [{ FAME_JWT_ALGORITHM: 'HS256' }, /^FAME_JWT_ALGORITHM is "HS256"; expected one or more of RS256/],
    [{ FAME_JWT_ALGORITHM: 'RS256,none' }, /^FAME_JWT_ALGORITHM is "none"/],
  ])('%o is refused', (env, fault) => {
    const [first, ...others] = faultsOf({ ...GATED, ...env });
    expect(first).toMatch(fault);
    expect(first).not.toContain('pass@');
    expect(others).toEqual([]);
  });
});

test('lists each variable once, with a description', () => {
  expect(new Set(SENTINEL_VARIABLES.map((v) => v.name)).size).toBe(SENTINEL_VARIABLES.length);
  for (const variable of SENTINEL_VARIABLES) expect(variable.description.length).toBeGreaterThan(10);
});

test.each([
  [{ FAME_TLS_CERT_FILE: '/c.pem' }, 'expected FAME_TLS_KEY_FILE to be set too'],
  [{ FAME_TLS_KEY_FILE: '/k.pem' }, 'expected FAME_TLS_CERT_FILE to be set too'],
  [{ FAME_TLS_CLIENT_CA_FILE: '/ca.pem' }, 'expected FAME_TLS_CERT_FILE and FAME_TLS_KEY_FILE to be set too'],
])('%o alone is a fault, since TLS needs a certificate and its key', (env, fault) => {
  expect(() => readSentinelConfig(env)).toThrow(fault);
});
