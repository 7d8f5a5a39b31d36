import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { type TraceEntry, TraceTap } from './trace.ts';

beforeEach(() => vi.useFakeTimers());
afterEach(() => vi.useRealTimers());

const entry: TraceEntry = { t: 0, dir: 'forward', type: 'Data', from: '/S/a', to: 'b@fame.fabric', bytes: 1 };
const fill = (tap: TraceTap, count: number): void => {
  for (let i = 0; i < count; i++) tap.add(entry);
};

test('entries that do not fit into a batch are counted as missed', () => {
  const tap = new TraceTap();
  const batches: [number, number][] = [];
  tap.listen((entries, missed) => batches.push([entries.length, missed]));
  fill(tap, 1_030);
  vi.runAllTimers();
  fill(tap, 1);
  vi.runAllTimers();
  expect(batches).toEqual([
    [1_024, 6],
    [1, 0],
  ]);
});

test('a new listener receives no count of entries that an earlier listener missed', () => {
  const tap = new TraceTap();
  const stop = tap.listen(() => {});
  fill(tap, 1_030);
  stop();
  expect(tap.isActive).toBe(false);
  const batches: [number, number][] = [];
  tap.listen((entries, missed) => batches.push([entries.length, missed]));
  fill(tap, 1);
  vi.runAllTimers();
  expect(batches).toEqual([[1, 0]]);
});
