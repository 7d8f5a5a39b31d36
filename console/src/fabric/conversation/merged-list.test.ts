import type { ConversationSummary } from '@fame-fabric/client';
import { expect, test } from 'vitest';
import { type ListSource, MergedList } from './merged-list.ts';

const entry = (id: string, second: number, owner = 'ada'): ConversationSummary => ({
  id,
  state: 'working',
  owner,
  turns: 1,
  created_at: '2026-01-01T00:00:00.000Z',
  changed_at: new Date(second * 1_000).toISOString(),
  usage: {},
  cost: 'unknown',
  last_outcome: null,
});
/** An agent with these pages. */
const source = (agent: string, ...pages: ConversationSummary[][]): ListSource => ({
  agent,
  page: async (before = '0') => {
    const index = Number(before);
    return { conversations: pages[index]!, next: index + 1 < pages.length ? `${index + 1}` : null };
  },
});
const ids = (found: readonly { id: string }[]): string[] => found.map(({ id }) => id);
const all = () => true;

test('the lists of several agents are merged by their latest change, over their pages', async () => {
  const list = new MergedList(
    [
      source('a', [entry('a9', 9), entry('a5', 5)], [entry('a1', 1)]),
      source('b', [entry('b8', 8)], [], [entry('b2', 2)]),
      source('c', []),
    ],
    all,
  );
  expect(ids(await list.next(3))).toEqual(['a9', 'b8', 'a5']);
  expect(list.isOver).toBe(false);
  expect(ids(await list.next(10))).toEqual(['b2', 'a1']);
  expect(list.isOver).toBe(true);
});

test('an agent that fails is left out, and its error is kept', async () => {
  const failure = new Error('away');
  const failing: ListSource = { agent: 'x', page: () => Promise.reject(failure) };
  const list = new MergedList([failing, source('a', [entry('a1', 1)])], all);
  expect(ids(await list.next(5))).toEqual(['a1']);
  expect([...list.errors]).toEqual([['x', failure]]);
});

test('a filter that skips pages reads a bounded number of them in one call', async () => {
  const pages = Array.from({ length: 25 }, (_, n) => [entry(`${n}`, 100 - n, n === 24 ? 'bob' : 'ada')]);
  const list = new MergedList([source('a', ...pages)], ({ owner }) => owner === 'bob');
  expect(await list.next(5)).toEqual([]);
  expect(list.isOver).toBe(false);
  expect(await list.next(5)).toEqual([]);
  expect(ids(await list.next(5))).toEqual(['24']);
  expect(list.isOver).toBe(true);
});
