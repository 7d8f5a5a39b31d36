import { expect, test } from 'vitest';
import { MAX_ROWS, NO_FILTER, type TraceEntry, TraceLog } from './trace-log.ts';

const entry = (index: number, more: Partial<TraceEntry> = {}): TraceEntry => ({
  t: index,
  dir: 'forward',
  type: 'Data',
  from: '/s/a',
  to: 'chat@fame.fabric',
  via: '/s/b',
  id: `m${index}`,
  corrId: `c${index % 10}`,
  bytes: 100,
  ...more,
});
const entries = (count: number, from = 0): TraceEntry[] =>
  Array.from({ length: count }, (_, index) => entry(from + index));

test('filters select by address, type, code, node and call, for earlier and for later rows', () => {
  const log = new TraceLog();
  const { via: _, ...refused } = entry(2, {
    dir: 'refuse',
    code: 'NO_ROUTE',
    to: 'shop@fame.fabric',
    from: '/s/shop',
  });
  const all = [entry(1), refused, entry(3, { type: 'AddressBind', dir: 'control' })];
  const count = (filter: Partial<typeof NO_FILTER>): number => {
    log.clear();
    log.setFilter(NO_FILTER);
    log.push(all);
    log.setFilter({ ...NO_FILTER, ...filter });
    const earlier = log.matching.length;
    log.push(all);
    expect(log.matching).toHaveLength(2 * earlier);
    return earlier;
  };
  expect(count({})).toBe(3);
  expect(count({ address: 'SHOP' })).toBe(1);
  expect(count({ type: 'AddressBind' })).toBe(1);
  expect(count({ code: '*' })).toBe(1);
  expect(count({ code: 'NODE_GONE' })).toBe(0);
  expect(count({ node: '/s/b' })).toBe(2);
  expect(count({ node: 'shop' })).toBe(1);
  expect(count({ call: 'c1' })).toBe(1);
  expect(count({ calls: new Set(['c1', 'c2']) })).toBe(2);
  expect(count({ calls: new Set() })).toBe(0);
  expect(count({ address: 'shop', type: 'AddressBind' })).toBe(0);
  expect([log.types, log.codes]).toEqual([['AddressBind', 'Data'], ['NO_ROUTE']]);
});

test('the oldest rows are removed, also from the matching ones', () => {
  const log = new TraceLog();
  log.setFilter({ ...NO_FILTER, call: 'c3' });
  log.push(entries(MAX_ROWS));
  log.push(entries(10_000, MAX_ROWS));
  expect(log.removed).toBe(0);
  log.push(entries(10, MAX_ROWS + 10_000));
  expect(log.removed).toBe(1_001);
  expect(log.rows).toHaveLength(MAX_ROWS);
  expect(log.rows[0]!.t).toBe(10_010);
  expect(log.matching).toHaveLength(MAX_ROWS / 10);
  expect(log.matching[0]!.t).toBe(10_013);
});

test('the story of a call has its request, which has the id only, and its answers', () => {
  const log = new TraceLog();
  const { corrId: _, ...request } = entry(1, { id: 'call' });
  log.push([request, entry(2), entry(3, { corrId: 'call' })]);
  expect(log.story('call').map(({ t }) => t)).toEqual([1, 3]);
});
