import { ManualClock } from '@fame-fabric/shared/testing';
import { beforeEach, expect, test } from 'vitest';
import { BATCH, BATCH_EVERY_MS, DelayQueue } from './delay-queue.ts';

let clock: ManualClock;
let queue: DelayQueue<number>;
let released: number[];
beforeEach(() => {
  clock = new ManualClock();
  released = [];
  queue = new DelayQueue(clock, 100, (item) => released.push(item));
});

test('each item is released after the delay, and a deleted one never', () => {
  queue.add(1);
  clock.advance(40);
  queue.add(2);
  queue.add(3);
  queue.delete(2);
  clock.advance(59);
  expect(released).toEqual([]);
  clock.advance(1);
  expect(released).toEqual([1]);
  clock.advance(40);
  expect([released, queue.size]).toEqual([[1, 3], 0]);
  queue.add(4);
  clock.advance(100);
  expect(released).toEqual([1, 3, 4]);
});

test('items that are due together are released in batches', () => {
  for (let n = 0; n < 2 * BATCH + 1; n++) queue.add(n);
  clock.advance(100);
  expect(released).toHaveLength(BATCH);
  clock.advance(BATCH_EVERY_MS);
  expect(released).toHaveLength(2 * BATCH);
  clock.advance(BATCH_EVERY_MS);
  expect(released).toEqual(Array.from({ length: 2 * BATCH + 1 }, (_, n) => n));
});

test('the oldest item is released early on request', () => {
  queue.add(1);
  queue.add(2);
  queue.releaseOldest();
  expect([released, queue.size]).toEqual([[1], 1]);
});
