// X8: connected sentinels of a packed release and of this version, as parent and child and as peers. Agents and clients have the
// version of the sentinel that they attach to.
import { afterAll, describe, expect, test } from 'vitest';
import { eventually } from '../kit/eventually.ts';
import { type OurSentinel, temporaryDirectory } from '../kit/sentinel.ts';
import { stopStack } from '../kit/stack.ts';
import { LibraryClient, startAgent, startSentinel } from './fabric.ts';
import { type Installed, RELEASES, thisVersion, unpack } from './releases.ts';

const latest = thisVersion();
const pairs = RELEASES.flatMap((version) => {
  const release = unpack(version);
  return [
    { first: latest, second: release },
    { first: release, second: latest },
  ];
}).map(({ first, second }) => ({ one: first.version, other: second.version, first, second }));
const WINDOW = { FAME_RESUME_WINDOW_MS: '500' };
const add = { do: 'call', address: 'math@fame.fabric', method: 'add', params: { x: 40, y: 2 } } as const;

afterAll(stopStack);

interface Part {
  of: Installed;
  sentinel: OurSentinel;
}

/** Calls, streams and cancels across the connection, from a client at one end to an agent at the other. */
async function crosses({ from, to }: { from: Part; to: Part }): Promise<void> {
  const dataDir = temporaryDirectory();
  const agent = await startAgent(to.of, to.sentinel.url, { dataDir });
  const client = await LibraryClient.start(from.of, from.sentinel.url);
  await eventually(async () => expect(await client.ask(add)).toBe(42));
  const count = { do: 'stream', address: 'math@fame.fabric', method: 'count', params: {} } as const;
  expect(await client.ask({ ...count, first: 300 })).toHaveLength(300);
  const conversation = crypto.randomUUID();
  const turn = { do: 'turn', conversation } as const;
  expect(await client.ask({ ...turn, text: 'My name is Ada.', isNew: true })).toMatch(/Ada/);

  // The other end is killed and returns; the conversation continues.
  await agent.kill();
  const again = await startAgent(to.of, to.sentinel.url, { dataDir });
  await eventually(async () => expect(await client.ask(add)).toBe(42));
  expect(await client.ask({ ...turn, text: 'What is my name?' })).toMatch(/Ada/);
  await again.stop();
  await client.proc.kill();
}

describe.each(pairs)('X8: parent $one, child $other', ({ first, second }) => {
  test('calls, streams and conversations in both directions, also after restarts', async () => {
    const parent: Part = { of: first, sentinel: await startSentinel(first, { env: WINDOW }) };
    const env = { ...WINDOW, FAME_PARENT_URL: parent.sentinel.url };
    const child: Part = { of: second, sentinel: await startSentinel(second, { env }) };
    await crosses({ from: parent, to: child });
    await crosses({ from: child, to: parent });

    const agent = await startAgent(second, child.sentinel.url, { dataDir: temporaryDirectory() });
    const client = await LibraryClient.start(first, parent.sentinel.url);
    await eventually(async () => expect(await client.ask(add)).toBe(42));
    await parent.sentinel.proc.kill();
    await startSentinel(first, { ...parent.sentinel, env: WINDOW });
    await eventually(async () => expect(await client.ask(add)).toBe(42));
    await child.sentinel.proc.kill();
    await startSentinel(second, { ...child.sentinel, env });
    await eventually(async () => expect(await client.ask(add)).toBe(42));
    await agent.stop();
  });
});

describe.each(pairs)('X8: a peer $one that dials $other', ({ first, second }) => {
  test('calls, streams and conversations in both directions', async () => {
    // 0.1.0 admits every peer, and ignores the variable.
    const env = { ...WINDOW, FAME_PEER_IDS: 'dialing' };
    const listens = await startSentinel(second, { env });
    const url = listens.url.replace(/downstream$/, 'peer');
    const dials = await startSentinel(first, {
      env: { ...WINDOW, FAME_NODE_ID: 'dialing', FAME_PEER_URLS: url },
    });
    await crosses({ from: { of: first, sentinel: dials }, to: { of: second, sentinel: listens } });
    await crosses({ from: { of: second, sentinel: listens }, to: { of: first, sentinel: dials } });
  });
});
