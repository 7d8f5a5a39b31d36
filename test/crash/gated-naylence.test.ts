// G2: unmodified naylence nodes with the profile gated on our gated sentinel, and our agent and client on theirs. The tokens come from
// the development token server of naylence, or from ours.
import { beforeAll, describe, expect, test } from 'vitest';
import { runFame, startOurAgent } from '../kit/commands.ts';
import { PeerClient, startPeerAgent, startPeerSentinel, startPeerTokenServer } from '../kit/naylence.ts';
import { closeLinks, connectLink } from '../kit/our-node.ts';
import { fameArgs, freePort, healthy, startNode } from '../kit/processes.ts';
import {
  fetchWithKey,
  localKey,
  type OurSentinel,
  startOurSentinel,
  temporaryDirectory,
} from '../kit/sentinel.ts';

const CLIENT = { id: 'dev-client', secret: 'dev-s3cret' };
const AUDIENCE = 'fame.fabric';

/** Variables of a gated sentinel, of naylence or ours. */
const gated = (issuer: string) => ({
  FAME_SECURITY_PROFILE: 'gated',
  FAME_JWT_TRUSTED_ISSUER: issuer,
  FAME_JWT_ALGORITHM: 'EdDSA',
  FAME_JWT_AUDIENCE: AUDIENCE,
});

/** Variables of a node that gets its tokens from the issuer, of naylence or ours. */
const admitted = (issuer: string, secret = CLIENT.secret, audience = AUDIENCE) => ({
  FAME_SECURITY_PROFILE: 'gated',
  FAME_ADMISSION_PROFILE: 'direct',
  FAME_ADMISSION_TOKEN_URL: `${issuer}/oauth/token`,
  FAME_ADMISSION_CLIENT_ID: CLIENT.id,
  FAME_ADMISSION_CLIENT_SECRET: secret,
  FAME_JWT_AUDIENCE: audience,
});

/** Three turns of a naylence client with a chat agent that remembers them. */
async function converse(client: PeerClient, address: string): Promise<void> {
  await client.do('startTask', { address, id: 'c1', payload: {} });
  expect(await client.call(address, 'run_turn', 'c1', 'one')).toBe('turn 1: you said one');
  expect(await client.call(address, 'run_turn', 'c1', 'two')).toBe('turn 2: you said one, then two');
}

let issuer: string;
beforeAll(async () => {
  issuer = await startPeerTokenServer(CLIENT);
});

describe('naylence nodes on our gated sentinel', () => {
  let sentinel: OurSentinel;
  beforeAll(async () => {
    sentinel = await startOurSentinel({ env: gated(issuer) });
  });

  test('join with tokens of their token server, and hold a conversation', async () => {
    const options = { url: sentinel.url, env: admitted(issuer) };
    const [client] = await Promise.all([PeerClient.start(options), startPeerAgent('chat', options)]);
    await converse(client, 'chat@fame.fabric');
    const answer = await fetchWithKey(sentinel, '/fame/v1/nodes');
    const { nodes } = (await answer.json()) as { nodes: { principal: string }[] };
    const principal = `jwt:${issuer.replace('http://', '')}/${CLIENT.id}`;
    expect(nodes.map((node) => node.principal)).toEqual([principal, principal]);
  });

  test.each<[string, () => Record<string, string>, RegExp]>([
    ['without a token', () => ({}), /code=1008/],
    [
      'with a token for another audience',
      () => admitted(issuer, CLIENT.secret, 'other'),
      /for another audience/,
    ],
    ['with a wrong secret, at its own token server', () => admitted(issuer, 'wrong'), /401|invalid_client/],
  ])('a node %s reports the refusal and ends', async (_what, env, text) => {
    const once = { FAME_SESSION_MAX_INITIAL_ATTEMPTS: '1', ...env() };
    const { proc } = PeerClient.launch({ url: sentinel.url, env: once });
    expect((await proc.exited).code).not.toBe(0);
    expect(proc.output).toMatch(text);
  });
});

/** Starts our development issuer, whose tokens are valid for `expires`. Returns its URL. */
async function startOwnIssuer(expires = '1h'): Promise<string> {
  const port = await freePort();
  const own = `http://127.0.0.1:${port}`;
  const server = startNode(fameArgs('token', 'serve', '--port', String(port), '--expires', expires), {
    name: 'our token server',
    env: {
      FAME_DATA_DIR: temporaryDirectory(),
      FAME_JWT_CLIENT_ID: CLIENT.id,
      FAME_JWT_CLIENT_SECRET: CLIENT.secret,
    },
  });
  await healthy(`${own}/health`, server);
  return own;
}

test('naylence nodes join with tokens of our development issuer', async () => {
  const own = await startOwnIssuer();
  const { url } = await startOurSentinel({ env: gated(own) });
  const options = { url, env: admitted(own) };
  const [client] = await Promise.all([PeerClient.start(options), startPeerAgent('chat', options)]);
  await converse(client, 'chat@fame.fabric');
});

test('a naylence agent whose token expires is closed, and attaches again with a new one', async () => {
  const own = await startOwnIssuer('3s');
  const sentinel = await startOurSentinel({ env: { ...gated(own), FAME_RESUME_WINDOW_MS: '15000' } });
  await startPeerAgent('math', { url: sentinel.url, env: admitted(own) });
  const link = await connectLink(sentinel.url, { token: localKey(sentinel.dataDir) });
  await sentinel.proc.waitFor(/its credential has expired/, 20_000);
  const deadline = Date.now() + 30_000;
  const call = async (): Promise<unknown> => {
    try {
      return await link.call('math@fame.fabric', 'add', { args: [20, 22] }, { timeoutMs: 5_000 });
    } catch (error) {
      if (Date.now() > deadline) throw error;
      return call();
    }
  };
  expect(await call()).toBe(42);
  await closeLinks();
});

test('our agent and our commands join the gated sentinel of naylence', async () => {
  const { url } = await startPeerSentinel({ env: gated(issuer) });
  await startOurAgent({ url, env: admitted(issuer) }, 'math');
  const call = ['call', 'math@fame.fabric', 'add', '{"x": 20, "y": 22}'];
  expect(await runFame({ url, env: admitted(issuer) }, call)).toMatchObject({ code: 0, stdout: '42\n' });

  const wrong = await runFame({ url, env: admitted(issuer, 'wrong') }, call);
  expect(wrong.code).not.toBe(0);
  expect(wrong.output).toContain('refused this node: invalid_client. Check FAME_ADMISSION_CLIENT_ID');
  expect(wrong.output).not.toContain(CLIENT.secret);
  const without = await runFame({ url }, call);
  expect(without.code).not.toBe(0);
  // The reason is in the acknowledgement or in the close after it, whichever is handled first.
  expect(without.output).toMatch(/Authentication failed.*\(LINK_REFUSED\)/);
});
