// Our links and nodes of the peer on our sentinel, and our links with each other: long streams, slow readers, cancelled streams.
import type { Link } from '@fame-fabric/shared';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { PeerClient, startPeerAgent } from '../kit/naylence.ts';
import { closeLinks, connectLink, mathService, serviceOf } from '../kit/our-node.ts';
import { RawNodes } from '../kit/raw-node.ts';
import { type OurSentinel, startOurSentinel } from '../kit/sentinel.ts';

const OURS = 'ours@fame.fabric';
const MiB = 1_048_576;
let sentinel: OurSentinel;
let agent: Link;
let link: Link;
let client: PeerClient;

beforeAll(async () => {
  sentinel = await startOurSentinel({ env: { FAME_RESUME_WINDOW_MS: '500' } });
  [client, link, agent] = await Promise.all([
    PeerClient.start(sentinel),
    connectLink(sentinel.url),
    connectLink(sentinel.url),
    startPeerAgent('math', sentinel),
  ]);
  await agent.bind(OURS, mathService());
}, 120_000);
afterAll(closeLinks);
const nodes = new RawNodes(() => sentinel.url);
afterEach(() => nodes.closeAll());

test('a client of the peer calls our agent', async () => {
  expect(await client.call(OURS, 'add', 20, 22)).toBe(42);
  const stream = { address: OURS, method: 'count', args: [5_000], summary: true };
  expect(await client.do('stream', stream, 60_000)).toEqual({ count: 5_000, inOrder: true });
});

test('Q27: 400 parallel calls of one client of the peer are all answered by our agent', async () => {
  expect(await client.do('burst', { address: OURS, count: 400 })).toMatchObject({ right: 400, failed: 0 });
});

test('our link calls an agent of the peer', async () => {
  expect(await link.call('math@fame.fabric', 'add', { args: [20, 22] })).toBe(42);
});

describe('streams', () => {
  test('Q4: 20,000 items arrive whole and in order', async () => {
    let next = 1;
    for await (const item of link.stream(OURS, 'count', { args: [20_000] })) expect(item).toBe(next++);
    expect(next).toBe(20_001);
  });

  test('P8: 20,000 items of 1 KB reach a slow reader completely, and neither sentinel nor agent fills up', async () => {
    let made = 0;
    let ahead = 0;
    let taken = 0;
    const text = 'x'.repeat(1_000);
    await agent.bind(
      'bulk@fame.fabric',
      serviceOf({
        async *bulk([n]) {
          for (let i = 1; i <= (n as number); i++) {
            made = i;
            yield { i, text };
          }
        },
      }),
    );
    const before = sentinel.proc.rssBytes();
    for await (const item of link.stream('bulk@fame.fabric', 'bulk', { args: [20_000] })) {
      taken++;
      expect((item as { i: number }).i).toBe(taken);
      ahead = Math.max(ahead, made - taken);
      // A slow reader: it pauses for 20 turns of its event loop after every 100 items.
      if (taken % 100 === 0) for (let turn = 0; turn < 20; turn++) await new Promise(setImmediate);
    }
    expect(taken).toBe(20_000);
    expect(ahead).toBeLessThan(2_000);
    expect((sentinel.proc.rssBytes() - before) / MiB).toBeLessThan(48);
  });

  test('Q2: leaving a stream early stops its generator, and the agent keeps serving', async () => {
    let running = 0;
    await agent.bind(
      'endless@fame.fabric',
      serviceOf({
        async *endless() {
          running++;
          try {
            for (let i = 0; ; i++) yield i;
          } finally {
            running--;
          }
        },
        ping: () => 'pong',
      }),
    );
    for await (const item of link.stream('endless@fame.fabric', 'endless')) if (item === 50) break;
    await expect.poll(() => running).toBe(0);
    expect(await link.call('endless@fame.fabric', 'ping')).toBe('pong');
  });

  test('Q10: a reader that stops does not block the other streams of the same agent', async () => {
    const stalled = await nodes.attached({ credits: false });
    stalled.sendCall(OURS, 'count', { args: [20_000] }, { rtype: 4 });
    await stalled.next((m) => m.frame?.payload?.result === 1);
    stalled.stall();
    let last: unknown;
    for await (const item of link.stream(OURS, 'count', { args: [5_000] })) last = item;
    expect(last).toBe(5_000);
    expect(await client.call(OURS, 'add', 1, 1)).toBe(2);
  });
});

describe('Q1, P9: calls do not block each other', () => {
  test('an echo is answered while a call and a stream of the same agent are running', async () => {
    let release: () => void = () => {};
    const held = new Promise<void>((resolve) => {
      release = resolve;
    });
    await agent.bind(
      'busy@fame.fabric',
      serviceOf({ hold: () => held.then(() => 'held'), echo: ([v]) => v }),
    );
    const holding = link.call('busy@fame.fabric', 'hold');
    expect(await link.call('busy@fame.fabric', 'echo', { args: ['meanwhile'] })).toBe('meanwhile');
    release();
    expect(await holding).toBe('held');
  });
});
