import { ManualClock } from '@fame-fabric/shared/testing';
import { expect, test } from 'vitest';
import { Pings } from './pings.ts';

test('a pong answers all waiting pings, and expired pings leave nothing behind', async () => {
  const clock = new ManualClock();
  const pings = new Pings(clock);
  const late = [pings.wait(100), pings.wait(100)];
  clock.advance(100);
  expect(await Promise.all(late)).toEqual([false, false]);
  expect(pings.size).toBe(0);

  const waiting = [pings.wait(100), pings.wait(200)];
  expect(pings.size).toBe(2);
  pings.pong();
  expect(await Promise.all(waiting)).toEqual([true, true]);
  expect(pings.size).toBe(0);
});
