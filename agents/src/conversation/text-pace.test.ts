import { setImmediate as nextIteration } from 'node:timers/promises';
import { ManualClock } from '@fame-fabric/shared/testing';
import { expect, it } from 'vitest';
import { TextPace } from './text-pace.ts';

it('grows with the time that an iteration of the event loop takes, up to a limit, and shrinks again', async () => {
  const clock = new ManualClock();
  const pace = TextPace.of(clock);
  expect(TextPace.of(clock)).toBe(pace);
  const iterate = async (busyMs: number): Promise<number> => {
    pace.received();
    clock.advance(busyMs);
    pace.received();
    await nextIteration();
    return pace.gapMs;
  };
  expect(await iterate(1)).toBe(5);
  for (let n = 0; n < 20; n++) await iterate(10);
  expect(await iterate(10)).toBe(20);
  for (let n = 0; n < 20; n++) await iterate(100);
  expect(await iterate(100)).toBe(40);
  for (let n = 0; n < 20; n++) await iterate(0);
  expect(await iterate(0)).toBe(5);
});
