// At-least-once delivery with nodes of the peer, in both directions: what is lost on the way is sent again, and ours handles
// what comes again once.
import { type IncomingCall, Link } from '@fame-fabric/shared';
import { wsDial } from '@fame-fabric/shared/node';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { PeerClient, startPeerAgent } from '../kit/naylence.ts';
import { stopAll } from '../kit/processes.ts';
import { admissionUrl, type OurSentinel, startOurSentinel } from '../kit/sentinel.ts';
import { TcpProxy } from '../kit/tcp-proxy.ts';

const env = { FAME_DELIVERY_PROFILE: 'at-least-once' };
const MATH = 'math@fame.fabric';
let sentinel: OurSentinel;
let proxy: TcpProxy;
let peer: PeerClient;
let ours: Link;

beforeAll(async () => {
  sentinel = await startOurSentinel();
  proxy = await TcpProxy.to(sentinel.port);
  await startPeerAgent('math', { url: sentinel.url, address: MATH, env });
  peer = await PeerClient.start({ url: sentinel.url, env });
  ours = new Link({ url: admissionUrl(proxy.port), dial: wsDial, deliveryProfile: 'at-least-once' });
  await ours.connect();
});
afterAll(async () => {
  await ours.close();
  await proxy.close();
  await stopAll();
});

test('our calls and streams of a peer agent in that profile', async () => {
  expect(await ours.call(MATH, 'add', { args: [3, 4] })).toBe(7);
  const items: unknown[] = [];
  for await (const item of ours.stream(MATH, 'fib_stream', { args: [6] })) items.push(item);
  expect(items).toHaveLength(6);
});

test('acknowledgements and answers that are lost: the peer sends again, ours handles it once', async () => {
  const calls: string[] = [];
  const onCall = (call: IncomingCall): void => {
    calls.push(call.id);
    // From here on nothing leaves: neither the acknowledgement of what came nor the answer.
    proxy.hold('up');
    call.reply('handled');
  };
  await ours.bind('ours@fame.fabric', { onCall });
  const answer = peer.call('ours@fame.fabric', 'work');
  const deadline = Date.now() + 15_000;
  while (calls.length === 0 && Date.now() < deadline) await new Promise((resolve) => setTimeout(resolve, 20));
  // The peer sends the same again after about two seconds; then the way is free.
  await new Promise((resolve) => setTimeout(resolve, 3_000));
  proxy.release('up');
  expect(await answer).toBe('handled');
  expect(calls).toHaveLength(1);
  expect(await peer.call(MATH, 'add', 1, 1)).toBe(2);
});
