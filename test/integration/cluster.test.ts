// Two sentinels of one cluster on a real nats-server, an agent at one and callers at the other: calls, streams, cancels, slow readers,
// and the loss of NATS and of a sentinel.
import type { Link } from '@fame-fabric/shared';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { runFame } from '../kit/commands.ts';
import { eventually } from '../kit/eventually.ts';
import { clusterEnv, NATS_SERVER, type NatsServer, startNats } from '../kit/nats.ts';
import { closeLinks, connectLink, mathService, serviceOf } from '../kit/our-node.ts';
import { localKey, type OurSentinel, startOurSentinel } from '../kit/sentinel.ts';
import { stopStack } from '../kit/stack.ts';
import { TcpProxy } from '../kit/tcp-proxy.ts';

// Without the package, or apt-get to fetch it, these tests are skipped with a warning. CI fails instead.
describe.skipIf(!NATS_SERVER.isUsable)('a cluster over NATS', () => {
  let nats: NatsServer;
  let near: OurSentinel;
  let far: OurSentinel;

  const start = (id: string): Promise<OurSentinel> => startOurSentinel({ env: clusterEnv(nats, id) });

  beforeAll(async () => {
    nats = await startNats({ hasJetStream: true });
    [near, far] = await Promise.all([start('near'), start('far')]);
    await serve(far, 'math', mathService());
  });
  const extra = new Set<Link>();
  afterEach(async () => {
    await Promise.all([...extra].map((link) => link.close()));
    extra.clear();
  });
  afterAll(async () => {
    await closeLinks();
    await stopStack();
  });

  async function serve(
    sentinel: OurSentinel,
    name: string,
    service: Parameters<Link['bind']>[1],
  ): Promise<Link> {
    const link = await connectLink(sentinel.url);
    await link.bind(`${name}@fame.fabric`, service);
    return link;
  }

  async function caller(sentinel: OurSentinel): Promise<Link> {
    const link = await connectLink(sentinel.url);
    extra.add(link);
    return link;
  }

  const echo = (link: Link, value: unknown = 'hi', timeoutMs = 5_000) =>
    link.call('math@fame.fabric', 'echo', { args: [value] }, { timeoutMs });

  const reachable = (link: Link): Promise<void> =>
    eventually(async () => expect(await echo(link, 'hi', 1_000)).toBe('hi'));

  const readiness = async ({ http }: OurSentinel): Promise<unknown> => (await fetch(`${http}/readyz`)).json();
  /** True if the doctor of the sentinel finds no fault of its cluster, such as a missing table of owners. */
  const recordsOwners = async ({ http, dataDir }: OurSentinel): Promise<boolean> => {
    const headers = { authorization: `Bearer ${localKey(dataDir)}` };
    const answer = await fetch(`${http}/fame/v1/doctor`, { headers });
    const { checks } = (await answer.json()) as { checks: readonly { name: string; status: string }[] };
    return checks.some(({ name, status }) => name === 'cluster' && status === 'ok');
  };

  test('calls, errors, large messages and streams pass between the sentinels', async () => {
    const link = await caller(near);
    await reachable(link);
    expect(await Promise.all(Array.from({ length: 200 }, (_, i) => echo(link, i)))).toEqual(
      Array.from({ length: 200 }, (_, i) => i),
    );
    const large = 'x'.repeat(250_000);
    expect(await Promise.all(Array.from({ length: 20 }, () => echo(link, large)))).toEqual(
      Array(20).fill(large),
    );
    const failing = link.call('math@fame.fabric', 'fail', { args: ['on purpose'] });
    await expect(failing).rejects.toMatchObject({ code: 'INTERNAL' });
    const items: unknown[] = [];
    for await (const item of link.stream('math@fame.fabric', 'count', { args: [2_000] })) items.push(item);
    expect(items).toEqual(Array.from({ length: 2_000 }, (_, i) => i + 1));
    const absent = link.call('absent@fame.fabric', 'echo', {}, { timeoutMs: 5_000 });
    await expect(absent).rejects.toMatchObject({ code: 'NO_ROUTE' });
  });

  test('a cancel reaches the agent at the other sentinel', async () => {
    const cancelled = Promise.withResolvers<void>();
    const called = Promise.withResolvers<void>();
    const service = serviceOf({
      wait: (_, { signal }) =>
        new Promise((_resolve, reject) => {
          called.resolve();
          signal.addEventListener('abort', () => {
            cancelled.resolve();
            reject(signal.reason);
          });
        }),
    });
    const agent = await serve(far, 'slow', service);
    extra.add(agent);
    const link = await caller(near);
    const controller = new AbortController();
    const call = link.call('slow@fame.fabric', 'wait', {}, { signal: controller.signal, timeoutMs: 20_000 });
    const outcome = expect(call).rejects.toThrow();
    await called.promise;
    controller.abort();
    await outcome;
    await cancelled.promise;
  });

  test('a stream whose reader stops costs a bounded number of items, and continues', async () => {
    let pushed = 0;
    const pad = 'y'.repeat(10_000);
    const agent = await serve(
      far,
      'fast',
      serviceOf({
        async *flood([n]) {
          for (let i = 0; i < (n as number); i++) {
            pushed++;
            yield { i, pad };
          }
        },
      }),
    );
    extra.add(agent);
    const link = await caller(near);
    const stream = link.stream('fast@fame.fabric', 'flood', { args: [3_000] })[Symbol.asyncIterator]();
    expect((await stream.next()).value).toMatchObject({ i: 0 });
    let last = -1;
    await eventually(async () => {
      const isStill = pushed === last;
      last = pushed;
      expect(isStill && pushed > 1).toBe(true);
    });
    expect(pushed).toBeLessThan(1_000);
    // The blocked stream does not delay another caller.
    expect(await echo(await caller(near))).toBe('hi');
    let count = 1;
    for (let next = await stream.next(); !next.done; next = await stream.next()) {
      expect(next.value).toMatchObject({ i: count });
      count++;
    }
    expect(count).toBe(3_000);
  });

  test('a node that leaves ends the calls to it at the other sentinel', async () => {
    const called = Promise.withResolvers<void>();
    const agent = await serve(
      far,
      'leaving',
      serviceOf({
        wait: () => {
          called.resolve();
          return new Promise(() => {});
        },
      }),
    );
    const link = await caller(near);
    const call = link.call('leaving@fame.fabric', 'wait', {}, { timeoutMs: 20_000 });
    const outcome = expect(call).rejects.toMatchObject({ code: 'NODE_GONE' });
    await called.promise;
    await agent.close();
    await outcome;
    const next = link.call('leaving@fame.fabric', 'wait', {}, { timeoutMs: 5_000 });
    await expect(next).rejects.toMatchObject({ code: 'NO_ROUTE' });
  });

  test('an address has one owner in the cluster, and moves with its key', async () => {
    const token = localKey(far.dataDir);
    const owner = await connectLink(far.url, { token });
    extra.add(owner);
    const began = Date.now();
    await owner.bind('one@fame.fabric', mathService());
    // Without responders NATS answers at once.
    expect(Date.now() - began).toBeLessThan(2_000);
    const rival = await connectLink(near.url, { token: localKey(near.dataDir) });
    extra.add(rival);
    await expect(rival.bind('one@fame.fabric', mathService())).rejects.toMatchObject({
      code: 'ADDRESS_IN_USE',
    });
    await owner.close();
    await rival.bind('one@fame.fabric', mathService());
    const link = await caller(far);
    expect(await link.call('one@fame.fabric', 'echo', { args: [3] }, { timeoutMs: 5_000 })).toBe(3);
  });

  test('an agent with the URLs of two sentinels attaches to the other one when its own is killed', async () => {
    const third = await start('third');
    const agent = await connectLink(third.url, { otherUrls: [near.url], backoffMaxMs: 500 });
    extra.add(agent);
    await agent.bind('moving@fame.fabric', mathService());
    const link = await caller(far);
    const call = () => link.call('moving@fame.fabric', 'echo', { args: [5] }, { timeoutMs: 1_000 });
    expect(await call()).toBe(5);
    await third.proc.kill();
    await eventually(async () => expect(await call()).toBe(5));
    expect(agent.path).toMatch(/^\/near\//);
  });

  test('the address of a killed sentinel stays with its key, and a wiped JetStream loses nothing', async () => {
    const third = await start('third');
    // Until a sentinel has opened the table of owners, its own addresses are not in it.
    await eventually(async () => expect(await recordsOwners(third)).toBe(true));
    const owner = await connectLink(third.url, { token: localKey(third.dataDir), backoffMinMs: 60_000 });
    extra.add(owner);
    await owner.bind('kept@fame.fabric', mathService());
    await third.proc.kill();
    const stranger = await connectLink(near.url);
    extra.add(stranger);
    const refused = expect(stranger.bind('kept@fame.fabric', mathService())).rejects.toMatchObject({
      code: 'ADDRESS_IN_USE',
    });
    const successor = await connectLink(far.url, { token: localKey(far.dataDir) });
    extra.add(successor);
    await successor.bind('kept@fame.fabric', mathService());
    await refused;
    const other = await serve(near, 'other', mathService());
    extra.add(other);
    await nats.kill();
    nats.wipe();
    await nats.start();
    // One sentinel creates the bucket again. Both write their leases, and the owners of kept@, math@ and other@.
    await eventually(async () => expect(await nats.storedMessages()).toBeGreaterThanOrEqual(2 + 3));
    const link = await caller(near);
    await eventually(async () =>
      expect(await link.call('kept@fame.fabric', 'echo', { args: [1] }, { timeoutMs: 1_000 })).toBe(1),
    );
    await expect(stranger.bind('kept@fame.fabric', mathService())).rejects.toMatchObject({
      code: 'ADDRESS_IN_USE',
    });
  });

  test('a sentinel with a frozen connection to NATS is gone for the others, serves its own nodes, and reconnects', async () => {
    const proxy = await TcpProxy.to(nats.port);
    const env = { ...clusterEnv(nats, 'cut-off'), FAME_CLUSTER_NATS: `nats://127.0.0.1:${proxy.port}` };
    const third = await startOurSentinel({ env });
    const agent = await connectLink(third.url);
    extra.add(agent);
    const called = Promise.withResolvers<void>();
    const wait = () => {
      called.resolve();
      return new Promise(() => {});
    };
    await agent.bind('cut-off@fame.fabric', serviceOf({ wait, echo: ([value]) => value }));
    const link = await caller(far);
    const echoAt = (from: Link) =>
      from.call('cut-off@fame.fabric', 'echo', { args: [7] }, { timeoutMs: 2_000 });
    expect(await echoAt(link)).toBe(7);
    const waiting = link.call('cut-off@fame.fabric', 'wait', {}, { timeoutMs: 30_000 });
    const outcome = expect(waiting).rejects.toMatchObject({ code: 'NODE_GONE' });
    await called.promise;
    proxy.hold('up');
    proxy.hold('down');
    await outcome;
    expect(await echoAt(await caller(third))).toBe(7);
    await eventually(async () =>
      expect(await readiness(third)).toEqual({ status: 'ready', cluster: 'alone' }),
    );
    proxy.release('up');
    proxy.release('down');
    await eventually(async () => expect(await echoAt(link)).toBe(7));
    expect(await readiness(third)).toEqual({ status: 'ready', cluster: 'connected' });
    await third.proc.stop();
    await proxy.close();
  });

  test('addresses that nodes no longer have leave nothing in JetStream', async () => {
    const link = await caller(near);
    const before = await nats.storedMessages();
    const names = Array.from({ length: 8 }, (_, n) => `gone-${n}@fame.fabric`);
    for (const name of names) await link.bind(name, mathService());
    expect(await nats.storedMessages()).toBeGreaterThanOrEqual(names.length);
    await link.close();
    await eventually(async () => expect(await nats.storedMessages()).toBeLessThanOrEqual(before));
  });

  test('`fame ps` and /readyz show the cluster', async () => {
    expect(await readiness(near)).toEqual({ status: 'ready', cluster: 'connected' });
    const { stdout } = await runFame({ url: near.url, env: { FAME_DATA_DIR: near.dataDir } }, ['ps']);
    expect(stdout).toContain('cluster test, linked to far');
    expect(stdout).toMatch(/^\/far\/\S+ .*math@fame\.fabric/m);
  });

  test('a paused sentinel ends the calls to its nodes within seconds, and rejoins the cluster when it continues', async () => {
    const link = await caller(near);
    await reachable(link);
    far.proc.child.kill('SIGSTOP');
    const began = Date.now();
    await expect(echo(link, 'late', 20_000)).rejects.toMatchObject({ code: 'NODE_GONE' });
    expect(Date.now() - began).toBeLessThan(8_000);
    far.proc.child.kill('SIGCONT');
    await reachable(link);
  });

  test('without NATS each sentinel serves its own nodes, reports its state, and reconnects', async () => {
    const own = await serve(near, 'own', mathService());
    extra.add(own);
    const link = await caller(near);
    await reachable(link);
    await nats.kill();
    await eventually(async () =>
      expect(await readiness(near)).toEqual({ status: 'ready', cluster: 'alone' }),
    );
    expect(await link.call('own@fame.fabric', 'echo', { args: [1] }, { timeoutMs: 5_000 })).toBe(1);
    await expect(
      link.call('other@fame.fabric', 'echo', { args: [1] }, { timeoutMs: 500 }),
    ).rejects.toMatchObject({ code: 'NODE_BUSY' });
    await nats.start();
    await reachable(link);
    expect(await readiness(near)).toEqual({ status: 'ready', cluster: 'connected' });
  });
});
