// Our link on the unmodified sentinel of the peer: as a caller of its agents, and as an agent for its clients.
import type { Link } from '@fame-fabric/shared';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { PeerClient, type PeerSentinel, startPeerAgent, startPeerSentinel } from '../kit/naylence.ts';
import { closeLinks, connectLink, mathService } from '../kit/our-node.ts';

const MATH = 'math@fame.fabric';
const OURS = 'ours@fame.fabric';
let peer: PeerSentinel;
let link: Link;
let client: PeerClient;

beforeAll(async () => {
  peer = await startPeerSentinel();
  [client, link] = await Promise.all([
    PeerClient.start(peer),
    connectLink(peer.url),
    startPeerAgent('math', peer),
    startPeerAgent('work', peer),
    startPeerAgent('capable', peer),
  ]);
  const agent = await connectLink(peer.url);
  await agent.bind(OURS, mathService(), { capabilities: ['fame.capability.ours'] });
}, 120_000);
afterAll(closeLinks);

const collect = async (items: AsyncIterable<unknown>): Promise<unknown[]> => {
  const seen: unknown[] = [];
  for await (const item of items) seen.push(item);
  return seen;
};

describe('our caller and an agent of the peer', () => {
  test('calls with positional and named parameters', async () => {
    expect(await link.call(MATH, 'add', { args: [3, 4] })).toBe(7);
    expect(await link.call(MATH, 'add', { x: 30, y: 12 })).toBe(42);
  });

  test('an error of the operation is INTERNAL with its text', async () => {
    await expect(link.call(MATH, 'fail', { args: ['deliberate'] })).rejects.toMatchObject({
      code: 'INTERNAL',
      message: expect.stringContaining('deliberate'),
    });
  });

  test('an address that is not served is NO_ROUTE', async () => {
    await expect(link.call('unserved@fame.fabric', 'any')).rejects.toMatchObject({ code: 'NO_ROUTE' });
  });

  test('a stream arrives in order and ends', async () => {
    const items = await collect(link.stream(MATH, 'fib_stream', { args: [10] }));
    expect(items).toEqual([0, 1, 1, 2, 3, 5, 8, 13, 21, 34]);
  });

  test('2,000 items of a stream', async () => {
    const items = await collect(link.stream(MATH, 'count', { args: [2_000] }));
    expect(items).toEqual(Array.from({ length: 2_000 }, (_, i) => i + 1));
  });

  test('by capability', async () => {
    const target = { capabilities: ['fame.capability.agent', 'fame.capability.math'] };
    expect(await link.call(target, 'whoami')).toMatchObject({ address: 'capable@fame.fabric' });
  });

  test('a task with its subscription', async () => {
    const params = { id: 'w1', message: { role: 'user', parts: [{ type: 'data', data: { steps: 3 } }] } };
    expect(await link.call('work@fame.fabric', 'tasks/send', params)).toMatchObject({
      status: { state: 'working' },
    });
    const events = await collect(link.stream('work@fame.fabric', 'tasks/sendSubscribe', params));
    expect(events.at(-1)).toMatchObject({ status: { state: 'completed' }, final: true });
    expect(await link.call('work@fame.fabric', 'tasks/sendUnsubscribe', { id: 'w1' })).toBeNull();
  });

  test('Q27: 300 parallel calls do not block the sentinel of the peer', async () => {
    const calls = Array.from({ length: 300 }, (_, i) => link.call(MATH, 'echo', { args: [`n${i}`] }));
    expect(await Promise.all(calls)).toEqual(Array.from({ length: 300 }, (_, i) => `n${i}`));
    expect(await client.call(MATH, 'add', 1, 1)).toBe(2);
  });
});

describe('our agent and a client of the peer', () => {
  test('calls with positional and named parameters', async () => {
    expect(await client.call(OURS, 'add', 3, 4)).toBe(7);
    expect(await client.call(OURS, 'add', { x: 30, y: 12 })).toBe(42);
  });

  test('a stream arrives in order and ends', async () => {
    const items = await client.do('stream', { address: OURS, method: 'fib_stream', args: [10] });
    expect(items).toEqual([0, 1, 1, 2, 3, 5, 8, 13, 21, 34]);
  });

  test('5,000 items of a stream', async () => {
    const stream = { address: OURS, method: 'count', args: [5_000], summary: true };
    expect(await client.do('stream', stream, 60_000)).toEqual({ count: 5_000, inOrder: true });
  });

  test('by capability', async () => {
    expect(
      await client.do('call', { capabilities: ['fame.capability.ours'], method: 'add', args: [1, 2] }),
    ).toBe(3);
  });

  test('an exception ends its own call only, and its text stays with the agent', async () => {
    const answer = await client.ask('call', {
      address: OURS,
      method: 'fail',
      args: ['a secret of the agent'],
    });
    expect(answer.ok).toBe(false);
    expect(answer.error).not.toContain('secret');
    expect(await client.call(OURS, 'add', 1, 1)).toBe(2);
  });
});
