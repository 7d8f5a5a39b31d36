import { ManualClock } from '@fame-fabric/shared/testing';
import { expect, test } from 'vitest';
import { type TraceEntry, TraceTap } from './trace.ts';

const entry: Omit<TraceEntry, 't'> = {
  dir: 'forward',
  type: 'Data',
  from: '/S/a',
  to: 'b@fame.fabric',
  bytes: 1,
};
const fill = (tap: TraceTap, count: number): void => {
  for (let i = 0; i < count; i++) tap.add(entry);
};

test('entries that do not fit into a batch are counted as missed', () => {
  const clock = new ManualClock();
  const tap = new TraceTap(clock);
  const batches: [number, number][] = [];
  tap.listen((entries, missed) => batches.push([entries.length, missed]));
  fill(tap, 1_030);
  clock.advance(50);
  fill(tap, 1);
  clock.advance(50);
  expect(batches).toEqual([
    [1_024, 6],
    [1, 0],
  ]);
});

test('a long load is delivered at 4,096 entries a second, and the rest is counted', () => {
  const clock = new ManualClock();
  const tap = new TraceTap(clock);
  const sums = { entries: 0, missed: 0 };
  tap.listen((entries, missed) => {
    sums.entries += entries.length;
    sums.missed += missed;
  });
  for (let batch = 0; batch < 200; batch++) {
    fill(tap, 1_000);
    clock.advance(50);
  }
  expect(sums.entries + sums.missed).toBe(200_000);
  // 10 seconds, and the burst at their begin.
  expect(sums.entries).toBeGreaterThan(40_960);
  expect(sums.entries).toBeLessThan(42_500);
  // After a pause of a quarter of a second, a burst fits again.
  clock.advance(250);
  const before = sums.entries;
  fill(tap, 1_024);
  clock.advance(50);
  expect(sums.entries - before).toBe(1_024);
});

test('a new listener receives no count of entries that an earlier listener missed', () => {
  const clock = new ManualClock();
  const tap = new TraceTap(clock);
  const stop = tap.listen(() => {});
  fill(tap, 1_030);
  stop();
  expect(tap.isActive).toBe(false);
  const batches: [number, number][] = [];
  tap.listen((entries, missed) => batches.push([entries.length, missed]));
  fill(tap, 1);
  clock.advance(50);
  expect(batches).toEqual([[1, 0]]);
});
