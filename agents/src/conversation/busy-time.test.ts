import { ManualClock } from '@fame-fabric/shared/testing';
import { expect, test } from 'vitest';
import { BusyTime } from './busy-time.ts';

test('counts the time of overlapping operations once, and that of failed ones', async () => {
  const clock = new ManualClock();
  const busy = new BusyTime(clock);
  const [first, second] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
  busy.during(first.promise);
  clock.advance(10);
  const failing = busy.during(second.promise);
  clock.advance(10);
  first.resolve();
  await first.promise;
  expect(busy.totalMs).toBe(20);
  clock.advance(10);
  second.reject(new Error('full'));
  await expect(failing).rejects.toThrow('full');
  clock.advance(10);
  expect(busy.totalMs).toBe(30);
});
