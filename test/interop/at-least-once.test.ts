// At-least-once delivery with nodes of the peer, in both directions: lost messages are sent again, and ours handles a repeated
// one once.
import { type IncomingCall, Link } from '@fame-fabric/shared';
import { wsDial } from '@fame-fabric/shared/node';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { PeerClient, startPeerAgent } from '../kit/naylence.ts';
import { admissionUrl, type OurSentinel, startOurSentinel } from '../kit/sentinel.ts';
import { TcpProxy } from '../kit/tcp-proxy.ts';

const env = { FAME_DELIVERY_PROFILE: 'at-least-once' };
const MATH = 'math@fame.fabric';
let sentinel: OurSentinel;
let proxy: TcpProxy;
let peer: PeerClient;
let ours: Link;
const received = new Set<string>();
/** Resolves when the peer has sent the same message again. */
const receivedTwice = Promise.withResolvers<void>();

beforeAll(async () => {
  sentinel = await startOurSentinel();
  proxy = await TcpProxy.to(sentinel.port);
  await startPeerAgent('math', { url: sentinel.url, address: MATH, env });
  peer = await PeerClient.start({ url: sentinel.url, env });
  ours = new Link({
    url: admissionUrl(proxy.port),
    dial: wsDial,
    deliveryProfile: 'at-least-once',
    trace(direction, { frame, id }) {
      if (direction !== 'received' || frame.type !== 'Data') return;
      if (received.has(id)) receivedTwice.resolve();
      received.add(id);
    },
  });
  await ours.connect();
});
afterAll(async () => {
  await ours.close();
  await proxy.close();
});

test('our link calls an agent of the peer, and reads a stream', async () => {
  expect(await ours.call(MATH, 'add', { args: [3, 4] })).toBe(7);
  const items: unknown[] = [];
  for await (const item of ours.stream(MATH, 'fib_stream', { args: [6] })) items.push(item);
  expect(items).toHaveLength(6);
});

test('our acknowledgement and reply are lost: the peer sends again, and our link handles the request once', async () => {
  const calls: string[] = [];
  const onCall = (call: IncomingCall): void => {
    calls.push(call.id);
    // From here on neither the acknowledgement of the request nor the reply leaves.
    proxy.hold('up');
    call.reply('handled');
  };
  await ours.bind('ours@fame.fabric', { onCall });
  const answer = peer.call('ours@fame.fabric', 'work');
  await receivedTwice.promise;
  proxy.release('up');
  expect(await answer).toBe('handled');
  expect(calls).toHaveLength(1);
  expect(await peer.call(MATH, 'add', 1, 1)).toBe(2);
});
