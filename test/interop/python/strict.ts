// G12: Python nodes of the peer with the profile strict-overlay on our sentinel: `npm run interop-strict`. Their package
// naylence-advanced-security is under the Business Source License: this program installs it for the run and uses it as a black box,
// and it is no part of `make test`. Nodes get a token of a welcome service and a certificate of a CA, and encrypt end to end.
import { deepStrictEqual, ok } from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { freePort, healthy, Proc, ROOT, stopAll } from '../../kit/processes.ts';
import { pythonWith } from '../../kit/python.ts';
import { startOurSentinel, temporaryDirectory } from '../../kit/sentinel.ts';
import { WireTap } from './wire-tap.ts';

const HERE = join(ROOT, 'test/interop/python');
const PYTHON = pythonWith('interop-strict', join(HERE, 'strict-requirements.txt'));
const NODE_ID = 'strictsentinel01';
const CLIENT = { id: 'dev', secret: 'secret' };

/** Starts a server of the peer in a directory of its own, with its configuration, and waits until it answers. */
async function startServer(
  module: string,
  port: number,
  { config, env = {}, path }: { config?: object; env?: Record<string, string>; path: string },
): Promise<void> {
  const cwd = temporaryDirectory();
  // Their configuration is YAML, and JSON is YAML.
  if (config) writeFileSync(join(cwd, 'fame-config.yml'), JSON.stringify(config));
  const address = { HOST: '127.0.0.1', PORT: String(port) };
  const proc = new Proc(PYTHON, ['-m', module], {
    name: module,
    cwd,
    env: {
      APP_HOST: address.HOST,
      APP_PORT: address.PORT,
      FAME_APP_HOST: address.HOST,
      FAME_APP_PORT: address.PORT,
      ...env,
    },
  });
  await healthy(`http://127.0.0.1:${port}${path}`, proc);
}

const authorizer = (issuer: string, audience: string, more: object): object => ({
  type: 'OAuth2Authorizer',
  issuer,
  audience,
  algorithm: 'EdDSA',
  default_ttl_sec: 3_600,
  max_ttl_sec: 86_400,
  ...more,
});

async function main(): Promise<void> {
  const [issuerPort, caPort, welcomePort] = [await freePort(), await freePort(), await freePort()];
  const issuer = `http://127.0.0.1:${issuerPort}`;
  const ca = `http://127.0.0.1:${caPort}/fame/v1/ca`;
  const welcome = `http://127.0.0.1:${welcomePort}/fame/welcome`;
  const jwks = `${welcome}/.well-known/jwks.json`;
  const certificates = join(temporaryDirectory(), 'certs');
  mkdirSync(certificates);
  execFileSync(PYTHON, [
    '-m',
    'naylence.fame.security.cert.setup_pki',
    '--output',
    certificates,
    '--org',
    'Test',
  ]);
  const root = join(certificates, 'root-ca.crt');

  const sentinel = await startOurSentinel({
    env: {
      FAME_NODE_ID: NODE_ID,
      FAME_SECURITY_PROFILE: 'overlay',
      FAME_JWT_TRUSTED_ISSUER: welcome,
      FAME_JWKS_URL: jwks,
      FAME_JWT_ALGORITHM: 'EdDSA',
      FAME_ALLOW_HTTP_ISSUER: 'true',
    },
  });
  const tap = await WireTap.start(sentinel.port);
  await startServer('naylence.fame.fastapi.oauth2_server', issuerPort, {
    path: '/.well-known/jwks.json',
    env: {
      FAME_JWT_ISSUER: issuer,
      FAME_JWT_CLIENT_ID: CLIENT.id,
      FAME_JWT_CLIENT_SECRET: CLIENT.secret,
      FAME_JWT_AUDIENCE: 'fame.fabric',
    },
  });
  await startServer('naylence.fame.welcome.node_welcome_server', welcomePort, {
    path: '/fame/welcome/.well-known/jwks.json',
    config: {
      welcome: {
        type: 'AdvancedWelcomeService',
        transport: { type: 'WebSocketTransportProvisioner', url: tap.url },
        placement: {
          type: 'StaticNodePlacementStrategy',
          target_system_id: NODE_ID,
          target_physical_path: `/${NODE_ID}`,
        },
        token_issuer: { type: 'JWTTokenIssuer', issuer: welcome, audience: 'fame.fabric' },
        ca_service_url: ca,
        authorizer: authorizer(issuer, 'fame.fabric', {
          required_scopes: ['node.connect'],
          require_scope: true,
        }),
      },
    },
  });
  await startServer('naylence.fame.security.cert.ca_server', caPort, {
    path: '/docs',
    config: { ca: { authorizer: authorizer(welcome, 'ca', { require_scope: false }) } },
    env: {
      FAME_CA_CERTS: root,
      FAME_CA_CERT_FILE: root,
      FAME_CA_KEY_FILE: join(certificates, 'root-ca.key'),
    },
  });

  for (const level of ['channel', 'sealed']) {
    const env = {
      FAME_SECURITY_PROFILE: 'strict-overlay',
      FAME_DEFAULT_ENCRYPTION_LEVEL: level,
      FAME_ADMISSION_PROFILE: 'welcome',
      FAME_ADMISSION_SERVICE_URL: `http://127.0.0.1:${welcomePort}/fame/v1/welcome/hello`,
      FAME_ADMISSION_TOKEN_URL: `${issuer}/oauth/token`,
      FAME_ADMISSION_CLIENT_ID: CLIENT.id,
      FAME_ADMISSION_CLIENT_SECRET: CLIENT.secret,
      FAME_JWT_AUDIENCE: 'fame.fabric',
      FAME_JWT_TRUSTED_ISSUER: welcome,
      FAME_JWKS_URL: jwks,
      FAME_CA_SERVICE_URL: ca,
      FAME_CA_CERTS: root,
      PYTHONUNBUFFERED: '1',
    };
    const address = `${level}@fame.fabric`;
    const start = (script: string, args: string[]): Proc =>
      new Proc(PYTHON, [join(HERE, script), ...args], {
        name: `strict ${script}`,
        env: { ...env, FAME_NODE_ID_SALT: `${level}-${script}` },
      });
    const agent = start('agent.py', ['math', address]);
    await tap.waitFor(
      ({ frame }) => frame.type === 'CapabilityAdvertiseAck' && frame.address === address,
      agent,
    );
    const client = start('strict_client.py', [address]);
    deepStrictEqual((await client.exited).code, 0, client.output);
    deepStrictEqual(JSON.parse(client.output.split('\n').find((line) => line.startsWith('['))!), [
      7,
      [1, 2, 3, 4, 5],
    ]);
    const messages = tap.take().filter(({ frame }) => frame.type === 'Data');
    ok(messages.length >= 8, `only ${messages.length} messages were seen`);
    for (const { frame, sec } of messages) ok(sec?.enc && sec.sig && typeof frame.payload === 'string');
    console.log(
      `ok    ${level}: a client and an agent with strict-overlay talk encrypted, in ${messages.length} messages`,
    );
    await agent.stop();
  }
  await tap.stop();
}

try {
  await main();
} finally {
  await stopAll();
}
