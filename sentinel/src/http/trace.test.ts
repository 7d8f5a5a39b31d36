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
