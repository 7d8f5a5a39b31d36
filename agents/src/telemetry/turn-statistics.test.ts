import { ManualClock } from '@fame-fabric/shared/testing';
import { expect, test } from 'vitest';
import type { Cost } from '../model/cost.ts';
import type { ObservedOutcome } from './turn-observer.ts';
import { TurnStatistics } from './turn-statistics.ts';

const outcome = (more: Partial<ObservedOutcome> = {}): ObservedOutcome => ({
  state: 'completed',
  usage: { prompt_tokens: 10, completion_tokens: 3, total_tokens: 13 },
  cost: 'unknown',
  model: 'scripted',
  first_token_ms: 40,
  duration_ms: 100,
  ...more,
});
const usd = (amount: number): Cost => ({ amount, currency: 'USD' });

test('an interval sums the turns that ended in it', () => {
  const clock = new ManualClock();
  const statistics = new TurnStatistics(clock);
  const began = clock.now();
  statistics.ended(outcome({ cost: usd(1) }));
  statistics.ended(outcome({ cost: usd(2), first_token_ms: 60 }));
  statistics.ended(
    outcome({ cost: usd(0), state: 'failed', error: { code: 'MODEL_TIMEOUT' }, first_token_ms: null }),
  );
  expect(statistics.read().samples).toEqual([]);
  clock.advance(5_000);
  statistics.ended(outcome({ state: 'cancelled', error: { code: 'TURN_CANCELLED' } }));
  clock.advance(10_000);
  expect(statistics.read()).toEqual({
    interval_ms: 5_000,
    samples: [
      {
        t: began + 5_000,
        turns: 3,
        failed: 1,
        first_token_ms: { p50: 40, p99: 60 },
        tokens_in: 30,
        tokens_out: 9,
        cost: usd(3),
      },
      {
        t: began + 10_000,
        turns: 1,
        failed: 0,
        first_token_ms: { p50: 40, p99: 40 },
        tokens_in: 10,
        tokens_out: 3,
      },
      { t: began + 15_000, turns: 0, failed: 0, first_token_ms: null, tokens_in: 0, tokens_out: 0 },
    ],
  });
  expect(statistics.read(began + 5_000).samples.map(({ t }) => t - began)).toEqual([10_000, 15_000]);
});

test('15 minutes are kept, and the memory is bounded', () => {
  const clock = new ManualClock();
  const statistics = new TurnStatistics(clock);
  for (let n = 0; n < 1_000; n++) {
    statistics.ended(outcome());
    clock.advance(5_000);
  }
  const { samples } = statistics.read();
  expect(samples).toHaveLength(180);
  expect(samples.every(({ turns }) => turns === 1)).toBe(true);
  expect(samples.at(-1)!.t).toBe(clock.now());
});
