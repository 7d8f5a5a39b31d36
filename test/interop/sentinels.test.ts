// Sentinels of both kinds as parents and children, and ours as peers of each other.
import { afterEach, describe, expect, test } from 'vitest';
import { PeerClient, startPeerAgent, startPeerSentinel } from '../kit/naylence.ts';
import { closeLinks, connectLink, mathService } from '../kit/our-node.ts';
import { stopAll } from '../kit/processes.ts';
import { startOurSentinel } from '../kit/sentinel.ts';

afterEach(async () => {
  await closeLinks();
  await stopAll();
});

/** Calls until it succeeds: a bind takes a moment to reach the next sentinel. */
const reaches = (call: () => Promise<unknown>): Promise<void> =>
  expect.poll(() => call().catch((error: Error) => error.message)).toBe(5);

describe('our sentinel below the peer’s', () => {
  test('clients above reach agents below, and clients below reach agents above', async () => {
    const parent = await startPeerSentinel();
    const child = await startOurSentinel({ env: { FAME_PARENT_URL: parent.url } });
    const [below, above] = await Promise.all([
      PeerClient.start(child),
      PeerClient.start(parent),
      startPeerAgent('math', { url: child.url, address: 'low@fame.fabric' }),
      startPeerAgent('math', { url: parent.url, address: 'high@fame.fabric' }),
    ]);
    const link = await connectLink(child.url);
    expect(link.path.split('/')).toHaveLength(4);
    await reaches(() => above.call('low@fame.fabric', 'add', 2, 3));
    await reaches(() => below.call('high@fame.fabric', 'add', 2, 3));
    await reaches(() => link.call('high@fame.fabric', 'add', { args: [2, 3] }));
    const stream = { address: 'low@fame.fabric', method: 'fib_stream', args: [6] };
    expect(await above.do('stream', stream)).toEqual([0, 1, 1, 2, 3, 5]);
  });
});

describe('the peer’s sentinel below ours', () => {
  test('clients above reach agents below, and clients below reach agents above', async () => {
    const parent = await startOurSentinel();
    const child = await startPeerSentinel({
      env: { FAME_DIRECT_ADMISSION_URL: parent.url, FAME_ADMISSION_PROFILE: 'open' },
    });
    const [below, above] = await Promise.all([
      PeerClient.start(child),
      PeerClient.start(parent),
      startPeerAgent('math', { url: child.url, address: 'low@fame.fabric' }),
      startPeerAgent('math', { url: parent.url, address: 'high@fame.fabric' }),
    ]);
    await reaches(() => above.call('low@fame.fabric', 'add', 2, 3));
    await reaches(() => below.call('high@fame.fabric', 'add', 2, 3));
    const unserved = await above.ask('call', { address: 'unserved@fame.fabric', method: 'any' });
    expect(unserved.error).toContain('NO_ROUTE');
  });
});

describe('our sentinels', () => {
  test('peers exchange bindings made before and after they connect', async () => {
    const first = await startOurSentinel({ env: { FAME_PEER_IDS: 'second' } });
    const early = await connectLink(first.url);
    await early.bind('early@fame.fabric', mathService());
    const second = await startOurSentinel({
      env: { FAME_NODE_ID: 'second', FAME_PEER_URLS: first.url.replace('/downstream', '/peer') },
    });
    const late = await connectLink(second.url);
    await late.bind('late@fame.fabric', mathService());
    await reaches(() => late.call('early@fame.fabric', 'add', { args: [2, 3] }));
    await reaches(() => early.call('late@fame.fabric', 'add', { args: [2, 3] }));
  });

  test('three levels: the lowest and the highest call each other', async () => {
    const top = await startOurSentinel();
    const middle = await startOurSentinel({ env: { FAME_PARENT_URL: top.url } });
    const bottom = await startOurSentinel({ env: { FAME_PARENT_URL: middle.url } });
    const [low, high] = [await connectLink(bottom.url), await connectLink(top.url)];
    await low.bind('low@fame.fabric', mathService());
    await high.bind('high@fame.fabric', mathService());
    await reaches(() => high.call('low@fame.fabric', 'add', { args: [2, 3] }));
    await reaches(() => low.call('high@fame.fabric', 'add', { args: [2, 3] }));
    let next = 1;
    for await (const item of high.stream('low@fame.fabric', 'count', { args: [2_000] }))
      expect(item).toBe(next++);
    expect(next).toBe(2_001);
  });
});
