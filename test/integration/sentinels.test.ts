// Connected sentinels: a parent, a child, a grandchild and a peer. Agents of each can be called from all others, also if they were
// bound before the sentinels connected. Routes are removed when a node or a sentinel dies, and restored when it returns.
//
//   peer ---- parent ---- child ---- grandchild
import type { Link } from '@fame-fabric/shared';
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest';
import { eventually } from '../kit/eventually.ts';
import { closeLinks, connectLink, mathService, serviceOf } from '../kit/our-node.ts';
import { fameArgs, freePort, startNode } from '../kit/processes.ts';
import { type OurSentinel, startOurSentinel, temporaryDirectory } from '../kit/sentinel.ts';
import { stopStack } from '../kit/stack.ts';

const peerUrl = (sentinel: OurSentinel): string => sentinel.url.replace(/downstream$/, 'peer');
const below = (parent: OurSentinel, env = {}) =>
  startOurSentinel({ env: { FAME_PARENT_URL: parent.url, ...WINDOW, ...env } });
const WINDOW = { FAME_RESUME_WINDOW_MS: '300' };
const PARENT = { FAME_PEER_IDS: 'peer-sentinel', ...WINDOW };
const peerEnv = () => ({ FAME_NODE_ID: 'peer-sentinel', FAME_PEER_URLS: peerUrl(parent), ...WINDOW });

let parent: OurSentinel;
let child: OurSentinel;
let grandchild: OurSentinel;
let peer: OurSentinel;

beforeAll(async () => {
  parent = await startOurSentinel({ env: PARENT });
  child = await below(parent);
  grandchild = await below(child);
  // The agents are bound before the peer knows any node.
  await serve(parent, 'at-parent');
  await serve(child, 'at-child');
  await serve(grandchild, 'at-grandchild');
  peer = await startOurSentinel({ env: peerEnv() });
  await serve(peer, 'at-peer');
});
afterEach(async () => {
  await Promise.all([...extra].map((link) => link.close()));
  extra.clear();
});
afterAll(async () => {
  await closeLinks();
  await stopStack();
});

/** Links that one test opened. */
const extra = new Set<Link>();

async function serve(sentinel: OurSentinel, name: string, capabilities: string[] = []): Promise<Link> {
  const link = await connectLink(sentinel.url);
  await link.bind(`${name}@fame.fabric`, mathService(), { capabilities });
  return link;
}

async function caller(sentinel: OurSentinel): Promise<Link> {
  const link = await connectLink(sentinel.url);
  extra.add(link);
  return link;
}

const echo = (link: Link, name: string, value: unknown = 'hi') =>
  link.call(`${name}@fame.fabric`, 'echo', { args: [value] }, { timeoutMs: 5_000 });

/** Waits until the address is served for this caller: connections between sentinels heal in the background. */
const reachable = (link: Link, name: string): Promise<void> =>
  eventually(async () => expect(await echo(link, name)).toBe('hi'));

const unreachable = (link: Link, name: string): Promise<void> =>
  eventually(() => expect(echo(link, name)).rejects.toMatchObject({ code: 'NO_ROUTE' }));

test.each(['parent', 'child', 'grandchild', 'peer'] as const)(
  'agents of all four sentinels can be called from the %s, also those that were bound before the sentinels connected',
  async (from) => {
    const link = await caller({ parent, child, grandchild, peer }[from]);
    for (const name of ['at-parent', 'at-child', 'at-grandchild', 'at-peer']) await reachable(link, name);
    for (const name of ['at-parent', 'at-child', 'at-grandchild', 'at-peer']) {
      const items: unknown[] = [];
      for await (const item of link.stream(`${name}@fame.fabric`, 'count', { args: [100] })) items.push(item);
      expect(items).toEqual(Array.from({ length: 100 }, (_, i) => i + 1));
      const failing = link.call(`${name}@fame.fabric`, 'fail', { args: ['on purpose'] });
      await expect(failing).rejects.toMatchObject({ code: 'INTERNAL' });
    }
  },
);

test('later binds and unbinds reach all sentinels', async () => {
  const callers = await Promise.all([parent, child, peer].map(caller));
  for (const link of callers) await unreachable(link, 'late');
  const late = await serve(grandchild, 'late');
  for (const link of callers) await reachable(link, 'late');
  await late.unbind('late@fame.fabric');
  for (const link of callers) await unreachable(link, 'late');
  await late.bind('late@fame.fabric', mathService());
  for (const link of callers) await reachable(link, 'late');
  await late.close();
  for (const link of callers) await unreachable(link, 'late');
});

test('a call by capability reaches an agent of a grandchild', async () => {
  const link = await caller(parent);
  const able = await serve(grandchild, 'able', ['fame.capability.rare']);
  const ask = () =>
    link.call({ capabilities: ['fame.capability.rare'] }, 'echo', { args: [7] }, { timeoutMs: 5_000 });
  await eventually(async () => expect(await ask()).toBe(7));
  await able.close();
  await eventually(() => expect(ask()).rejects.toMatchObject({ code: 'NO_ROUTE' }));
});

test('a cancel reaches an agent of a grandchild', async () => {
  const cancelled = Promise.withResolvers<unknown>();
  const server = await caller(grandchild);
  await server.bind(
    'slow@fame.fabric',
    serviceOf({
      wait: (_, { signal }) =>
        new Promise((_resolve, reject) => {
          signal.addEventListener('abort', () => {
            cancelled.resolve(signal.reason);
            reject(signal.reason);
          });
        }),
      ready: () => true,
    }),
  );
  const link = await caller(peer);
  await eventually(async () => expect(await link.call('slow@fame.fabric', 'ready')).toBe(true));
  const stop = new AbortController();
  const call = link.call('slow@fame.fabric', 'wait', {}, { signal: stop.signal });
  await link.call('slow@fame.fabric', 'ready'); // `wait` has arrived, since messages keep their order
  stop.abort(new Error('enough'));
  await expect(call).rejects.toThrow('enough');
  expect(await cancelled.promise).toMatchObject({ code: 'CALL_CANCELLED' });
});

test('a child that dies: parent and peer remove its addresses, and its open calls fail with NODE_GONE', async () => {
  const doomed = await below(parent);
  const server = await caller(doomed);
  await server.bind('doomed@fame.fabric', {
    ...mathService(),
    onCall: (call) => call.method === 'echo' && call.reply('hi'),
  });
  const callers = await Promise.all([parent, peer].map(caller));
  for (const link of callers) await reachable(link, 'doomed');
  const open = callers.map((link) =>
    link.call('doomed@fame.fabric', 'never answered', {}, { timeoutMs: 60_000 }),
  );
  const ends = Promise.all(open.map((call) => expect(call).rejects.toMatchObject({ code: 'NODE_GONE' })));
  for (const link of callers) await echo(link, 'doomed'); // the open calls have arrived there
  const killedAt = performance.now();
  await doomed.proc.kill();
  await ends;
  const tookMs = Math.round(performance.now() - killedAt);
  console.info(`child sentinel killed: callers above it have NODE_GONE after ${tookMs} ms (window 300)`);
  expect(tookMs).toBeLessThanOrEqual(2_300);
  for (const link of callers) await unreachable(link, 'doomed');
});

test('a child that is killed and starts again at once resumes its session: its path stays', async () => {
  const above = await startOurSentinel();
  const env = { FAME_PARENT_URL: above.url };
  let lower = await startOurSentinel({ env });
  const server = await serve(lower, 'stays');
  const { path } = server;
  const link = await caller(above);
  await reachable(link, 'stays');
  await lower.proc.kill();
  lower = await startOurSentinel({ ...lower, env });
  await reachable(link, 'stays');
  expect(server.path).toBe(path);
  await server.close();
});

test('a parent that is killed and restarted gets all bindings below it again, under the same paths', async () => {
  const local = await caller(child);
  const { path } = local;
  await parent.proc.kill();
  expect(await echo(local, 'at-child')).toBe('hi'); // the child still routes to its own nodes
  parent = await startOurSentinel({ ...parent, env: PARENT });
  const link = await caller(parent);
  for (const name of ['at-child', 'at-grandchild', 'at-peer']) await reachable(link, name);
  const far = await caller(peer);
  await reachable(far, 'at-grandchild');
  await reachable(local, 'at-peer');
  expect(local.path).toBe(path);
});

test('a parent that restarts with a new id assigns new paths, and all nodes below it attach again', async () => {
  const other = await startOurSentinel({ env: WINDOW });
  const lower = await below(other);
  const server = await serve(lower, 'follower');
  const before = server.path;
  await other.proc.kill();
  const replaced = await startOurSentinel({ port: other.port, env: WINDOW }); // a fresh data directory: a new id
  const link = await caller(replaced);
  await reachable(link, 'follower');
  expect(server.path).not.toBe(before);
  await server.close();
});

test('a peer that is killed loses its routes, and gets them back after a restart', async () => {
  const near = await caller(parent);
  await reachable(near, 'at-peer');
  await peer.proc.kill();
  await unreachable(near, 'at-peer');
  peer = await startOurSentinel({ ...peer, env: peerEnv() });
  await reachable(near, 'at-peer'); // its agent reconnected by itself
  await reachable(await caller(peer), 'at-grandchild');
});

test('a child whose parent cannot be reached reports it and exits with 69', async () => {
  const proc = startNode(fameArgs('sentinel'), {
    env: {
      FAME_PARENT_URL: `ws://127.0.0.1:${await freePort()}/fame/v1/attach/ws/downstream`,
      FAME_CONNECT_TIMEOUT_MS: '300',
      FAME_LISTENER_PORT: String(await freePort()),
      FAME_DATA_DIR: temporaryDirectory(),
    },
  });
  expect(await proc.exited).toEqual({ code: 69, signal: null });
  expect(proc.output).toMatch(/No parent sentinel at ws:\S+ within 300 ms/);
  expect(proc.output).not.toMatch(/^\s+at /m);
});
