import { ManualClock, settle } from '@fame-fabric/shared/testing';
import { beforeEach, expect, test, vi } from 'vitest';
import { type AgentCard, plainCard } from '../fabric/agent-card.ts';
import type { Visitor } from '../fabric/door-fabric.ts';
import { ListWatch, MAX_LISTENERS } from './list-watch.ts';

let clock: ManualClock;
let cards: AgentCard[];
let isAway: boolean;
let holds: number;
beforeEach(() => {
  clock = new ManualClock();
  cards = [plainCard('a@fame.fabric')];
  isAway = false;
  holds = 0;
});

const visitor = (principal = 'ada'): Visitor =>
  ({
    principal,
    agents: async () => {
      if (isAway) throw new Error('away');
      return cards;
    },
    hold() {
      holds++;
      return () => holds--;
    },
  }) as unknown as Visitor;

test('notifies of each change, and only of changes', async () => {
  const watch = new ListWatch(clock);
  const onChange = vi.fn();
  const stop = watch.listen(visitor(), onChange);
  await settle();
  await clock.run(20_000, 5_000);
  expect(onChange).not.toHaveBeenCalled();
  cards = [...cards, plainCard('b@fame.fabric')];
  await clock.run(5_000, 5_000);
  expect(onChange).toHaveBeenCalledTimes(1);
  isAway = true;
  await clock.run(10_000, 5_000);
  isAway = false;
  await clock.run(10_000, 5_000);
  expect(onChange).toHaveBeenCalledTimes(1);
  stop();
});

test('keeps the link, and compares, only while there are listeners', async () => {
  const watch = new ListWatch(clock);
  const stops = [watch.listen(visitor(), vi.fn()), watch.listen(visitor(), vi.fn())];
  expect({ holds, timers: clock.timerCount }).toEqual({ holds: 1, timers: 1 });
  for (const stop of stops) stop();
  expect({ holds, timers: clock.timerCount }).toEqual({ holds: 0, timers: 0 });
});

test('a principal has a bounded number of listeners', () => {
  const watch = new ListWatch(clock);
  for (let i = 0; i < MAX_LISTENERS; i++) watch.listen(visitor(), vi.fn());
  expect(watch.isFull('ada')).toBe(true);
  expect(watch.isFull('bea')).toBe(false);
});
