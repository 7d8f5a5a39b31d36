// The stream of changes of the nodes: a snapshot, then the nodes that changed, at most once a second.
import { expect, test } from 'vitest';
import { makeTestParts } from '../testing/sentinel-parts.ts';
import { NodeFeed } from './node-feed.ts';
import { NodeViews } from './node-views.ts';

/** The fields of a line that the tests read by themselves. */
interface Line {
  readonly nodes: readonly {
    readonly path: string;
    readonly traffic: { readonly bytesOut: number };
    readonly lastRefusal?: object;
  }[];
}

function make() {
  const parts = makeTestParts();
  const uplinks: { status: { kind: 'peer'; url: string; state: 'attached' | 'connecting' } }[] = [];
  const views = new NodeViews({ ...parts, uplinks, startedAt: 0 });
  const feed = new NodeFeed({ ...parts, views });
  const follow = () => {
    const reader = { hasRoom: true, lines: [] as string[] };
    const stop = feed.follow({
      get hasRoom() {
        return reader.hasRoom;
      },
      push: (lines) => void reader.lines.push(lines),
    });
    const take = (): Line[] => reader.lines.splice(0).map((line) => JSON.parse(line));
    return { reader, stop, take };
  };
  return { ...parts, feed, follow, uplinks };
}

test('the first line has all nodes; a second without a change has no line', () => {
  const { attach, clock, follow } = make();
  const node = attach('a');
  const { take } = follow();
  expect(take()).toMatchObject([
    { type: 'snapshot', sentinel: { id: 'S' }, uplinks: [], nodes: [{ path: node.path, state: 'attached' }] },
  ]);
  clock.advance(10_000);
  expect(take()).toEqual([]);
});

test('a line has the nodes that changed, and the paths of those that are gone', () => {
  const { attach, clock, follow } = make();
  const [a, b] = [attach('a'), attach('b')];
  attach('c');
  const { take } = follow();
  take();
  a.bind('a@fame.fabric');
  b.lose(1000);
  const d = attach('d');
  clock.advance(999);
  expect(take()).toEqual([]);
  clock.advance(1);
  const lines = take();
  expect(lines).toHaveLength(1);
  expect(lines[0]).toMatchObject({ type: 'changes', t: clock.now(), gone: [b.path] });
  expect(lines[0]!.nodes).toMatchObject([{ path: a.path, addresses: ['a@fame.fabric'] }, { path: d.path }]);
});

test('a node shows its traffic, its last refusal, its limits, and the rest of its resume window', () => {
  const { attach, clock, follow } = make();
  const [a, b] = [attach('a'), attach('b')];
  b.bind('b@fame.fabric');
  const { take } = follow();
  take();
  a.call('b@fame.fabric', 'c1');
  a.call('nobody@fame.fabric', 'c2');
  clock.advance(1_000);
  const [caller, callee] = take()[0]!.nodes;
  expect(caller).toMatchObject({
    path: a.path,
    openCalls: 1,
    traffic: { messagesIn: 2, messagesOut: 0 },
    lastRefusal: { code: 'NO_ROUTE', t: expect.any(Number) },
    limits: { queueBytes: 8_388_608, openCalls: 5_000 },
  });
  expect(callee).toMatchObject({ path: b.path, serving: 1, traffic: { messagesOut: 1 } });
  expect(callee!.traffic.bytesOut).toBeGreaterThan(100);
  expect(callee!.lastRefusal).toBeUndefined();
  b.lose();
  clock.advance(1_000);
  const [lost] = take()[0]!.nodes.filter(({ path }) => path === b.path);
  expect(lost).toMatchObject({ state: 'detached', resumeMs: 4_000 });
});

test('a session that takes over a path is not gone', () => {
  const { attach, clock, follow, sessions } = make();
  const node = attach('a');
  const { take } = follow();
  take();
  sessions.end(node.session, 1012, 'test');
  expect(attach('a').path).toBe(node.path);
  clock.advance(1_000);
  expect(take()).toMatchObject([{ gone: [], nodes: [{ path: node.path }] }]);
});

test('a change of an uplink is a change', () => {
  const { clock, follow, uplinks } = make();
  const { take } = follow();
  take();
  uplinks.push({ status: { kind: 'peer', url: 'ws://peer', state: 'connecting' } });
  clock.advance(1_000);
  expect(take()).toMatchObject([{ nodes: [], uplinks: [{ state: 'connecting' }] }]);
});

test('a reader that is behind gets all nodes again once it has read', () => {
  const { attach, clock, follow } = make();
  const [slow, fast] = [follow(), follow()];
  slow.take();
  fast.take();
  slow.reader.hasRoom = false;
  attach('a');
  clock.advance(1_000);
  attach('b');
  clock.advance(1_000);
  expect([slow.take().length, fast.take().length]).toEqual([0, 2]);
  slow.reader.hasRoom = true;
  clock.advance(1_000);
  expect(slow.take()).toMatchObject([{ type: 'snapshot', nodes: [{ id: 'a' }, { id: 'b' }] }]);
  attach('c');
  clock.advance(1_000);
  expect(slow.take()).toMatchObject([{ type: 'changes', nodes: [{ id: 'c' }] }]);
});

test('without readers the feed has no timer and no memory of nodes', () => {
  const { attach, clock, follow } = make();
  const timers = clock.timerCount;
  const { stop } = follow();
  expect(clock.timerCount).toBe(timers + 1);
  stop();
  expect(clock.timerCount).toBe(timers);
  attach('a');
  expect(follow().take()).toMatchObject([{ type: 'snapshot', nodes: [{ id: 'a' }] }]);
});
