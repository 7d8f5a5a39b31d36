// HD1: only configured sentinels attach as peers, and a peer takes no address that another one announced.
import { expect, test } from 'vitest';
import { embeddedSentinels } from '../kit/embedded-sentinel.ts';
import { RawNode } from '../kit/raw-node.ts';

const { start, nodes } = embeddedSentinels();

const peer = (systemId: string) => nodes.attached({ kind: 'peer', systemId });

test('HD1: a stranger cannot attach as a peer at either URL; the refusal names the fix', async () => {
  await start({ peerIds: ['friend'] });
  const stranger = await nodes.open({ kind: 'peer', systemId: 'stranger' });
  await expect(stranger.attach()).rejects.toThrow(/ADMIT_REFUSED "stranger" .*FAME_PEER_IDS/);
  expect((await stranger.closed).code).toBe(1008);
  for (const systemId of ['stranger', 'friend']) {
    const disguised = await nodes.open({ systemId, attach: { originType: 'peer' } });
    await expect(disguised.attach()).rejects.toThrow(/ADMIT_REFUSED originType is peer/);
    expect((await disguised.closed).code).toBe(1008);
  }
  const downstream = await nodes.open({
    kind: 'peer',
    systemId: 'friend',
    attach: { originType: 'downstream' },
  });
  await expect(downstream.attach()).rejects.toThrow(/ADMIT_REFUSED originType is downstream/);
});

test('HD1: a second node under the id of an attached peer is refused, and the peer may return', async () => {
  await start({ peerIds: ['friend'] });
  const friend = await peer('friend');
  await expect(peer('friend')).rejects.toThrow(/ADMIT_REFUSED Peer "friend" is attached already/);
  await friend.cut();
  await expect.poll(() => peer('friend').then(({ path }) => path, String)).toBe('/friend');
});

test('HD1: a peer does not take the address of another peer, and serves it once that one has left', async () => {
  await start({ peerIds: ['first', 'second'] });
  const [first, second, caller] = [await peer('first'), await peer('second'), await nodes.attached()];
  for (const node of [first, second]) {
    node.send({ frame: { type: 'AddressBind', address: 'chat@fame.fabric', physicalPath: node.path } });
    await node.heartbeat();
    node.onRequest((request) => node.answer(request, node.systemId));
  }
  const who = async (): Promise<unknown> => {
    const { frame } = await caller.call('chat@fame.fabric', 'who');
    return frame.payload?.result ?? frame.code;
  };
  expect(await who()).toBe('first');
  await second.cut();
  await expect.poll(who).toBe('first');

  const again = await peer('second');
  again.send({ frame: { type: 'AddressBind', address: 'chat@fame.fabric', physicalPath: again.path } });
  await again.heartbeat();
  again.onRequest((request) => again.answer(request, 'second'));
  expect(await who()).toBe('first');
  await first.cut();
  await expect.poll(who).toBe('second');
  again.send({ frame: { type: 'AddressUnbind', address: 'chat@fame.fabric' } });
  await again.heartbeat();
  expect(await who()).toBe('NO_ROUTE');
});

test('two sentinels that have only the URL of each other become peers', async () => {
  const first = await start({ nodeId: 'one' });
  const second = await start({ nodeId: 'two', peerUrls: [first.url.replace(/downstream$/, 'peer')] });
  await first.close();
  const { port } = first;
  await start({ nodeId: 'one', port, peerUrls: [second.url.replace(/downstream$/, 'peer')] });
  const server = await RawNode.attached(second.url);
  const caller = await RawNode.attached(first.url);
  try {
    await server.serve('far@fame.fabric', (request) => server.answer(request, 'far'));
    await expect
      .poll(async () => (await caller.call('far@fame.fabric', 'who')).frame.payload?.result)
      .toBe('far');
  } finally {
    await Promise.all([server.cut(), caller.cut()]);
  }
});
