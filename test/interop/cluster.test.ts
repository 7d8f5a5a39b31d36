// K7: the wire stays Fame. Unmodified nodes of the peer attach to different sentinels of a cluster, and call each other and our nodes.
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { clusterEnv, NATS_SERVER, startNats } from '../kit/nats.ts';
import { PeerClient, startPeerAgent } from '../kit/naylence.ts';
import { closeLinks, connectLink, mathService } from '../kit/our-node.ts';
import { stopAll } from '../kit/processes.ts';
import { type OurSentinel, startOurSentinel } from '../kit/sentinel.ts';

describe.skipIf(!NATS_SERVER.isUsable)('nodes of the peer at two sentinels of a cluster', () => {
  let one: OurSentinel;
  let two: OurSentinel;
  let client: PeerClient;

  beforeAll(async () => {
    const nats = await startNats();
    [one, two] = (await Promise.all(
      ['one', 'two'].map((id) => startOurSentinel({ env: clusterEnv(nats, id) })),
    )) as [OurSentinel, OurSentinel];
    [client] = await Promise.all([
      PeerClient.start(one),
      startPeerAgent('math', { url: two.url, address: 'theirs@fame.fabric' }),
    ]);
    const link = await connectLink(two.url);
    await link.bind('ours@fame.fabric', mathService());
  }, 120_000);
  afterAll(async () => {
    await closeLinks();
    await stopAll();
  });

  test.each(['theirs@fame.fabric', 'ours@fame.fabric'])('a client of the peer calls %s', async (address) => {
    expect(await client.call(address, 'add', 2, 3)).toBe(5);
    const stream = { address, method: 'fib_stream', args: [6] };
    expect(await client.do('stream', stream)).toEqual([0, 1, 1, 2, 3, 5]);
  });

  test('our link calls an agent of the peer at the other sentinel', async () => {
    const link = await connectLink(one.url);
    expect(await link.call('theirs@fame.fabric', 'add', { args: [20, 22] })).toBe(42);
    const items: unknown[] = [];
    for await (const item of link.stream('theirs@fame.fabric', 'fib_stream', { args: [6] })) items.push(item);
    expect(items).toEqual([0, 1, 1, 2, 3, 5]);
  });

  test('400 parallel calls of a client of the peer are all answered at the other sentinel', async () => {
    expect(await client.do('burst', { address: 'ours@fame.fabric', count: 400 })).toMatchObject({
      right: 400,
      failed: 0,
    });
  });
});
