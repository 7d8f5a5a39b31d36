// The nodes of other sentinels in the stream of changes: all of them first, then those that differ, read once a second.
import { ManualClock, settle } from '@fame-fabric/shared/testing';
import { expect, test } from 'vitest';
import type { ClusterView } from '../cluster/status.ts';
import { MemberFeed } from './member-feed.ts';

type Lists = Record<string, Record<string, string>>;

function make(first: Lists) {
  const clock = new ManualClock();
  let lists = first;
  let missing: string[] = [];
  let asked = 0;
  const cluster = {
    async nodes() {
      asked++;
      const entries = Object.entries(lists).filter(([id]) => !missing.includes(id));
      return { lists: new Map(entries.map(([id, nodes]) => [id, new Map(Object.entries(nodes))])), missing };
    },
  } as unknown as ClusterView;
  const feed = new MemberFeed({ cluster, clock });
  const follow = () => {
    const reader = { hasRoom: true, lines: [] as string[] };
    const stop = feed.follow({
      get hasRoom() {
        return reader.hasRoom;
      },
      push: (lines) => void reader.lines.push(lines),
    });
    const take = (): unknown[] => reader.lines.splice(0).map((line) => JSON.parse(line));
    return { reader, stop, take };
  };
  return {
    clock,
    follow,
    asked: () => asked,
    async second(next: Lists, unanswered: string[] = []) {
      lists = next;
      missing = unanswered;
      clock.advance(1_000);
      await settle();
    },
  };
}

const node = (path: string, more: object = {}) => JSON.stringify({ path, ...more });
const B = { '/B/a': node('/B/a'), '/B/b': node('/B/b') };

test('the first line has all nodes, and the next ones those that differ', async () => {
  const { follow, second } = make({ B });
  const { take } = follow();
  await settle();
  expect(take()).toMatchObject([
    { type: 'members', isComplete: true, gone: [], missing: [], nodes: [{ path: '/B/a' }, { path: '/B/b' }] },
  ]);
  await second({ B });
  expect(take()).toEqual([]);
  const C = { '/C/c': node('/C/c') };
  await second({ B: { '/B/b': node('/B/b', { openCalls: 1 }) }, C });
  expect(take()).toMatchObject([
    { isComplete: false, gone: ['/B/a'], nodes: [{ path: '/B/b', openCalls: 1 }, { path: '/C/c' }] },
  ]);
});

test('nodes of a sentinel that does not answer stay until its link is down', async () => {
  const { follow, second } = make({ B });
  const { take } = follow();
  await settle();
  take();
  await second({ B }, ['B']);
  expect(take()).toMatchObject([{ missing: ['B'], nodes: [], gone: [] }]);
  await second({ B }, ['B']);
  expect(take()).toEqual([]);
  await second({});
  expect(take()).toMatchObject([{ missing: [], gone: ['/B/a', '/B/b'] }]);
});

test('a reader that missed a line, and a second reader, get all nodes', async () => {
  const { follow, second } = make({ B });
  const first = follow();
  await settle();
  first.take();
  first.reader.hasRoom = false;
  await second({ B: { ...B, '/B/c': node('/B/c') } });
  expect(first.take()).toEqual([]);
  first.reader.hasRoom = true;
  const other = follow();
  await second({ B: { ...B, '/B/c': node('/B/c') } });
  const all = [{ isComplete: true, nodes: [{ path: '/B/a' }, { path: '/B/b' }, { path: '/B/c' }] }];
  expect(first.take()).toMatchObject(all);
  expect(other.take()).toMatchObject(all);
});

test('without readers no list is requested, and long lists are requested less often', async () => {
  const many = Object.fromEntries(Array.from({ length: 24_000 }, (_, i) => [`/B/${i}`, node(`/B/${i}`)]));
  const { asked, follow, second } = make({ B: many });
  const { stop } = follow();
  await settle();
  for (let i = 0; i < 6; i++) await second({ B: many });
  expect(asked()).toBe(3);
  stop();
  await second({ B: many });
  await second({ B: many });
  expect(asked()).toBe(3);
});

test('a text that is not JSON is left out', async () => {
  const { follow } = make({ B: { '/B/a': '{"path":', '/B/b': node('/B/b') } });
  const { take } = follow();
  await settle();
  expect(take()).toMatchObject([{ nodes: [{ path: '/B/b' }] }]);
});
