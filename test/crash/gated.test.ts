// A gated sentinel and the development issuer as processes: renewals lose no call, an expired token ends its connection, no URL of a
// token is requested, and an unreachable issuer ends no connection.

import type { AddressInfo } from 'node:net';
import { createServer } from 'node:net';
import { AdmissionToken } from '@fame-fabric/shared/node';
import { CaptureLog } from '@fame-fabric/shared/testing';
import { exportJWK, generateKeyPair, SignJWT } from 'jose';
import { afterEach, expect, test } from 'vitest';
import { runFame } from '../kit/commands.ts';
import { closeLinks, connectLink, serviceOf } from '../kit/our-node.ts';
import { fameArgs, freePort, healthy, type Proc, startNode } from '../kit/processes.ts';
import { localKey, type OurSentinel, startOurSentinel, temporaryDirectory } from '../kit/sentinel.ts';

afterEach(closeLinks);

interface Issuer {
  readonly url: string;
  readonly dataDir: string;
  readonly proc: Proc;
}

const CLIENT = { id: 'dev', secret: 'dev-s3cret' };

async function startIssuer(expires: string): Promise<Issuer> {
  const port = await freePort();
  const dataDir = temporaryDirectory();
  const proc = startNode(fameArgs('token', 'serve', '--port', String(port), '--expires', expires), {
    name: 'token issuer',
    env: { FAME_DATA_DIR: dataDir, FAME_JWT_CLIENT_ID: CLIENT.id, FAME_JWT_CLIENT_SECRET: CLIENT.secret },
  });
  const url = `http://127.0.0.1:${port}`;
  await healthy(`${url}/health`, proc);
  return { url, dataDir, proc };
}

const startGated = ({ url }: Issuer, env: Record<string, string> = {}): Promise<OurSentinel> =>
  startOurSentinel({
    env: {
      FAME_SECURITY_PROFILE: 'gated',
      FAME_JWT_TRUSTED_ISSUER: url,
      FAME_JWT_ALGORITHM: 'EdDSA',
      FAME_JWT_AUDIENCE: 'fame.fabric',
      ...env,
    },
  });

const issued = (issuer: Issuer, sentinel: OurSentinel): AdmissionToken =>
  new AdmissionToken(sentinel.url, {
    token: undefined,
    tokenFile: undefined,
    dataDir: undefined,
    issuer: {
      tokenUrl: `${issuer.url}/oauth/token`,
      clientId: CLIENT.id,
      clientSecret: CLIENT.secret,
      clientSecretFile: undefined,
      scope: 'node.connect',
      audience: undefined,
    },
  });

const issue = async (issuer: Issuer, ...args: string[]): Promise<string> => {
  const port = new URL(issuer.url).port;
  const env = { FAME_DATA_DIR: issuer.dataDir };
  const { stdout } = await runFame({ url: '', env }, ['token', 'issue', '--port', port, ...args]);
  return stdout.trim();
};

test('G3: renewals lose no call: a call that outlives three tokens, and short calls all the while', async () => {
  const issuer = await startIssuer('2s');
  const sentinel = await startGated(issuer);
  const logs = [new CaptureLog(), new CaptureLog()];
  const open = (log: CaptureLog) => connectLink(sentinel.url, { token: issued(issuer, sentinel), log });
  const [agent, caller] = await Promise.all([open(logs[0]!), open(logs[1]!)]);
  const { promise: isEnough, resolve: end } = Promise.withResolvers<string>();
  await agent.bind('a@fame.fabric', serviceOf({ echo: ([value]) => value, wait: () => isEnough }));
  const states: string[] = [];
  for (const link of [agent, caller]) link.onState((state) => states.push(state));
  const paths = [agent.path, caller.path];
  const renewals = () =>
    logs.map((log) => log.messages('debug').filter((line) => line.startsWith('renewed')).length);

  const long = caller.call('a@fame.fabric', 'wait', { args: [] });
  let calls = 0;
  while (Math.min(...renewals()) < 3) {
    expect(await caller.call('a@fame.fabric', 'echo', { args: [++calls] })).toBe(calls);
  }
  end('done');
  expect(await long).toBe('done');
  expect(calls).toBeGreaterThan(100);
  expect(states).toEqual([]);
  expect([agent.path, caller.path]).toEqual(paths);
  expect(logs.flatMap((log) => log.messages('warn'))).toEqual([]);
});

test('NF8: a sentinel gets and renews the token of its connection to a gated parent, and no call is lost', async () => {
  const issuer = await startIssuer('2s');
  const parent = await startGated(issuer);
  const child = await startOurSentinel({
    env: {
      FAME_PARENT_URL: parent.url,
      FAME_ADMISSION_TOKEN_URL: `${issuer.url}/oauth/token`,
      FAME_ADMISSION_CLIENT_ID: CLIENT.id,
      FAME_ADMISSION_CLIENT_SECRET: CLIENT.secret,
      FAME_ADMISSION_TOKEN_SCOPE: 'node.connect node.trusted',
      FAME_LOG_LEVEL: 'debug',
    },
  });
  const [agent, caller] = await Promise.all([
    connectLink(child.url),
    connectLink(parent.url, { token: localKey(parent.dataDir) }),
  ]);
  await agent.bind('a@fame.fabric', serviceOf({ echo: ([value]) => value }));
  const renewals = () => child.proc.output.match(/renewed the token of the connection/g)?.length ?? 0;
  let calls = 0;
  while (renewals() < 2) {
    expect(await caller.call('a@fame.fabric', 'echo', { args: [++calls] })).toBe(calls);
  }
  expect(calls).toBeGreaterThan(100);
  expect(child.proc.output).not.toMatch(/lost the parent/);
  expect(child.proc.output).not.toContain(CLIENT.secret);
});

test('G3: an expired token that is not renewed ends its connection within 5 s; the next attach names the fix', async () => {
  const issuer = await startIssuer('1h');
  const sentinel = await startGated(issuer);
  const log = new CaptureLog();
  const link = await connectLink(sentinel.url, {
    token: await issue(issuer, '--sub', 'ada', '--expires', '2s'),
    log,
  });
  const expiresAt = Date.now() + 2_000;
  await expect.poll(() => link.state).toBe('reconnecting');
  expect(Date.now() - expiresAt).toBeLessThan(5_000);
  await expect
    .poll(() => log.lines.map(({ fields }) => String(fields.reason)).join('\n'))
    .toMatch(/The token has expired\. .*FAME_ADMISSION_TOKEN_URL/);
  expect(log.lines.map(({ fields }) => fields.code)).toContain(4410);
});

test('G4: no URL of a token is requested, and each forged token is refused', async () => {
  const issuer = await startIssuer('1h');
  const sentinel = await startGated(issuer);
  let connections = 0;
  const trap = createServer((socket) => {
    connections++;
    socket.destroy();
  });
  await new Promise<void>((resolve) => trap.listen(0, '127.0.0.1', resolve));
  try {
    const url = `http://127.0.0.1:${(trap.address() as AddressInfo).port}`;
    const { privateKey, publicKey } = await generateKeyPair('EdDSA', { extractable: true });
    const jwk = await exportJWK(publicKey);
    const forge = (iss: string, header: object) =>
      new SignJWT({ iss, aud: 'fame.fabric', sub: 'eve', scope: 'node.connect' })
        .setExpirationTime('1h')
        .setProtectedHeader({ alg: 'EdDSA', ...header })
        .sign(privateKey);
    const forged = await Promise.all([
      forge(url, { kid: 'k' }),
      forge(issuer.url, { kid: 'k', jku: `${url}/.well-known/jwks.json` }),
      forge(issuer.url, { kid: 'k', x5u: `${url}/cert` }),
      forge(issuer.url, { kid: `${url}/key` }),
      forge(issuer.url, { kid: 'k', jwk }),
    ]);
    for (const token of forged) {
      await expect(connectLink(sentinel.url, { token })).rejects.toMatchObject({
        details: { code: 'AUTH_INVALID' },
      });
    }
    expect(connections).toBe(0);
  } finally {
    await new Promise((resolve) => trap.close(resolve));
  }
});

test('while the issuer is unreachable, attached nodes stay and cached keys admit; a sentinel without keys refuses tokens', async () => {
  const issuer = await startIssuer('1h');
  const [sentinel, fresh] = await Promise.all([startGated(issuer), startGated(issuer)]);
  const token = await issue(issuer, '--sub', 'ada');
  const link = await connectLink(sentinel.url, { token });
  await issuer.proc.kill();
  await connectLink(sentinel.url, { token });
  expect(link.state).toBe('attached');
  const refused = connectLink(fresh.url, { token, connectTimeoutMs: 1_000 });
  await expect(refused).rejects.toMatchObject({ code: 'AUTH_UNAVAILABLE' });
  expect(fresh.proc.output.match(/cannot get the keys of a token issuer/g)).toHaveLength(1);
});
