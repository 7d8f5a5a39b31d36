// G12: the profile overlay, with unmodified nodes and sentinels of the peer: every envelope is signed, and verified by its receivers.
import { createLinkSignatures } from '@fame-fabric/shared/signature';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { runFame, startOurAgent } from '../kit/commands.ts';
import { PeerClient, startPeerAgent, startPeerSentinel } from '../kit/naylence.ts';
import { closeLinks, connectLink, mathService } from '../kit/our-node.ts';
import { stopAll } from '../kit/processes.ts';
import { type ListedNode, listNodes, type OurSentinel, startOurSentinel } from '../kit/sentinel.ts';

/** The environment of the peer's nodes. Without an authorization profile they want a token. */
const PEER_ENV = { FAME_SECURITY_PROFILE: 'overlay', FAME_AUTHORIZATION_PROFILE: 'noop' };
const OUR_ENV = { FAME_SECURITY_PROFILE: 'overlay' };

const PEER_MATH = 'math@fame.fabric';
const OUR_MATH = 'our-math@fame.fabric';

const connectSigned = (url: string) => connectLink(url, { signatures: createLinkSignatures() });

/** The path that a sentinel assigns to a new node. */
async function assignedPath(url: string): Promise<string> {
  const link = await connectSigned(url);
  await link.close();
  return link.path;
}

afterAll(async () => {
  await closeLinks();
  await stopAll();
});

describe.each([
  ['our sentinel', () => startOurSentinel({ env: OUR_ENV })],
  ["the peer's sentinel", () => startPeerSentinel({ env: PEER_ENV })],
])('on %s', (_name, start) => {
  let url: string;
  let client: PeerClient;

  beforeAll(async () => {
    ({ url } = await start());
    [client] = await Promise.all([
      PeerClient.start({ url, env: PEER_ENV }),
      startPeerAgent('math', { url, env: PEER_ENV }),
      connectSigned(url).then((link) => link.bind(OUR_MATH, mathService())),
    ]);
  });

  test.each([PEER_MATH, OUR_MATH])('a client of the peer calls %s', async (address) => {
    expect(await client.call(address, 'add', 3, 4)).toBe(7);
    const stream = { address, method: 'fib_stream', args: [8] };
    expect(await client.do('stream', stream)).toEqual([0, 1, 1, 2, 3, 5, 8, 13]);
    expect(await client.do('burst', { address, count: 20 })).toEqual({ right: 20, errors: [], failed: 0 });
  });

  test.each([PEER_MATH, OUR_MATH])('our client calls %s', async (address) => {
    const link = await connectSigned(url);
    expect(await link.call(address, 'add', { args: [3, 4] })).toBe(7);
    const items: unknown[] = [];
    for await (const item of link.stream(address, 'fib_stream', { args: [8] })) items.push(item);
    expect(items).toEqual([0, 1, 1, 2, 3, 5, 8, 13]);
    const calls = Array.from({ length: 50 }, (_, n) => link.call(address, 'echo', { args: [n] }));
    expect(await Promise.all(calls)).toEqual(Array.from({ length: 50 }, (_, n) => n));
  });

  test('a refusal of the sentinel reaches both clients at once', async () => {
    const answer = await client.ask('call', { address: 'unserved@fame.fabric', method: 'any' });
    expect(answer.error).toContain("code 'NO_ROUTE'");
    expect(answer.ms).toBeLessThan(2_000);
    const link = await connectSigned(url);
    await expect(link.call('unserved@fame.fabric', 'any')).rejects.toMatchObject({ code: 'NO_ROUTE' });
  });
});

describe('sentinels', () => {
  // Each row starts a parent and a child below it.
  const OUR = { FAME_CONNECT_TIMEOUT_MS: '20000', ...OUR_ENV };
  const startChildOf = {
    'ours below ours': async () => {
      const parent = await startOurSentinel({ env: OUR });
      return [parent, await startOurSentinel({ env: { ...OUR, FAME_PARENT_URL: parent.url } })] as const;
    },
    "ours below the peer's": async () => {
      const parent = await startPeerSentinel({ env: PEER_ENV });
      return [parent, await startOurSentinel({ env: { ...OUR, FAME_PARENT_URL: parent.url } })] as const;
    },
    "the peer's below ours": async () => {
      const parent = await startOurSentinel({ env: OUR });
      const env = { ...PEER_ENV, FAME_DIRECT_ADMISSION_URL: parent.url, FAME_ADMISSION_PROFILE: 'open' };
      const child = await startPeerSentinel({ env });
      await expect.poll(() => listNodes(parent)).toHaveLength(1);
      // The child admits nodes before it has received the answer of the parent. Later it signs with another path than it assigned to them,
      // so they refuse its acks.
      const [{ path }] = (await listNodes(parent)) as [ListedNode];
      await expect.poll(() => assignedPath(child.url)).toContain(`${path}/`);
      return [parent, child] as const;
    },
  };
  test.each(Object.entries(startChildOf))('%s: calls cross both in both directions', async (_name, start) => {
    const [parent, child] = await start();
    const [above, below] = await Promise.all([connectSigned(parent.url), connectSigned(child.url)]);
    await above.bind('high@fame.fabric', mathService());
    await below.bind('low@fame.fabric', mathService());
    const [peerAbove, peerBelow] = await Promise.all([
      PeerClient.start({ ...parent, env: PEER_ENV }),
      PeerClient.start({ ...child, env: PEER_ENV }),
    ]);
    // A bind takes a moment to reach the next sentinel.
    const reaches = (call: () => Promise<unknown>): Promise<void> =>
      expect.poll(() => call().catch((error: Error) => error.message)).toBe(5);
    await reaches(() => above.call('low@fame.fabric', 'add', { args: [2, 3] }));
    await reaches(() => below.call('high@fame.fabric', 'add', { args: [2, 3] }));
    await reaches(() => peerAbove.call('low@fame.fabric', 'add', 2, 3));
    await reaches(() => peerBelow.call('high@fame.fabric', 'add', 2, 3));
  });
});

describe('without the profile', () => {
  let sentinel: OurSentinel;
  beforeAll(async () => {
    sentinel = await startOurSentinel({ env: OUR_ENV });
  });

  test('a node of the peer is refused, with the fix', async () => {
    const env = { FAME_SESSION_MAX_INITIAL_ATTEMPTS: '1' };
    await expect(PeerClient.start({ ...sentinel, env })).rejects.toThrow(/FAME_SECURITY_PROFILE=overlay/);
  });

  test('our node is refused, with the fix', async () => {
    await expect(connectLink(sentinel.url)).rejects.toThrow(/FAME_SECURITY_PROFILE=overlay/);
  });

  test('our agents and commands read it from the environment', async () => {
    const options = { ...sentinel, env: OUR_ENV };
    await startOurAgent(options, 'math');
    const call = ['call', 'math@fame.fabric', 'add', '{"x": 1, "y": 2}'];
    expect(await runFame(options, call)).toMatchObject({ code: 0, stdout: '3\n' });
    expect((await runFame(options, ['doctor'])).output).toMatch(/^ok +attach /m);
    const open = await runFame(sentinel, call);
    expect(open.code).not.toBe(0);
    expect(open.output).toContain('FAME_SECURITY_PROFILE=overlay');
  });
});
