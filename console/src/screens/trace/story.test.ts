import { expect, test } from 'vitest';
import type { TraceRow } from '../../fabric/trace-log.ts';
import { buildStory, SENTINEL } from './story.ts';

let seq = 0;
const row = (t: number, from: string, via: string | undefined, more: Partial<TraceRow> = {}): TraceRow => ({
  seq: seq++,
  t,
  dir: 'forward',
  type: 'Data',
  from,
  to: via === '/s/agent' ? 'chat@fame.fabric' : 'reply@/s/client',
  ...(via !== undefined && { via }),
  corrId: 'c',
  bytes: 100,
  ...more,
});

test('a stream is one step of items, and its credit another', () => {
  const rows = [row(1_000, '/s/client', '/s/agent')];
  for (let index = 0; index < 50; index++) {
    rows.push(row(1_010 + index, '/s/agent', '/s/client'));
    if (index % 5 === 0)
      rows.push(row(1_010 + index, '/s/client', undefined, { dir: 'control', type: 'CreditUpdate', to: '' }));
  }
  const story = buildStory(rows)!;
  expect(story.lanes).toEqual(['/s/client', SENTINEL, '/s/agent']);
  expect(
    story.steps.map(({ from, to, type, count, startMs, endMs }) => [from, to, type, count, startMs, endMs]),
  ).toEqual([
    [0, 2, 'Data', 1, 0, 0],
    [2, 0, 'Data', 50, 10, 59],
    [0, 1, 'CreditUpdate', 10, 10, 55],
  ]);
  expect([story.durationMs, story.messages, story.bytes]).toEqual([59, 61, 6_100]);
});

test('a refused envelope ends at the sentinel, with its code', () => {
  const [step] = buildStory([row(1, '/s/client', undefined, { dir: 'refuse', code: 'NO_ROUTE' })])!.steps;
  expect(step).toMatchObject({ from: 0, to: 1, dir: 'refuse', code: 'NO_ROUTE' });
});

test('a call over two sentinels has a lane for each, and its rows are in the order of their times', () => {
  const sentinels = { own: '/a', others: ['/b'] };
  const rows = [
    row(10, '/a/client', '/b'),
    row(15, '/b', '/a/client'),
    row(11, '/a', '/b/agent', { sentinel: '/b' }),
    row(14, '/b/agent', '/a', { sentinel: '/b' }),
  ];
  const story = buildStory(rows, sentinels)!;
  expect(story.lanes).toEqual(['/a/client', SENTINEL, '/b', '/b/agent']);
  expect(story.steps.map(({ from, at, to, startMs }) => [from, at, to, startMs])).toEqual([
    [0, 1, 1, 0],
    [1, 2, 3, 1],
    [3, 2, 2, 4],
    [2, 1, 0, 5],
  ]);
  expect(story.durationMs).toBe(5);
});

test('requests and answers of several rounds stay apart', () => {
  const rounds = [0, 10, 20, 30].flatMap((t) => [
    row(t, '/s/client', '/s/agent', { to: `round${t}@fame.fabric` }),
    row(t + 1, '/s/agent', '/s/client', { to: `reply${t}@/s/client` }),
  ]);
  expect(buildStory(rounds)!.steps).toHaveLength(8);
  expect(buildStory([])).toBeUndefined();
});
