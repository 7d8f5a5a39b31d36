// The turns of an agent in the last 15 minutes, in memory, for the operation `read_statistics`. Without a timer: an interval begins
// with the first turn that ends in it.
import type { Clock } from '@fame-fabric/shared';
import { type Percentiles, percentilesOf } from '@fame-fabric/shared/internal';
import { addCost, type Cost } from '../model/cost.ts';
import type { ObservedOutcome } from './turn-observer.ts';

const INTERVAL_MS = 5_000;
const MAX_SAMPLES = 180;
/** Times to the first token that an interval keeps for its percentiles. */
const MAX_TIMES = 512;

/** The turns that ended in one interval. */
interface StatisticsSample {
  /** End of the interval: wall time, in ms. */
  readonly t: number;
  /** Turns that ended, with the failed and the cancelled ones. */
  readonly turns: number;
  readonly failed: number;
  /** From the acceptance of a turn to the first text or call of a model; `null` without one. */
  readonly first_token_ms: Percentiles | null;
  readonly tokens_in: number;
  readonly tokens_out: number;
  /** Absent if no turn ended, or if the cost of one is unknown. */
  readonly cost?: Exclude<Cost, 'unknown'>;
}

/** Answer of `read_statistics`. */
export interface Statistics {
  readonly interval_ms: number;
  /** Oldest first, at most 180. The current interval is not among them. */
  readonly samples: readonly StatisticsSample[];
}

interface Interval {
  turns: number;
  failed: number;
  tokensIn: number;
  tokensOut: number;
  cost: Cost | undefined;
  readonly times: number[];
}

const EMPTY: Readonly<Interval> = {
  turns: 0,
  failed: 0,
  tokensIn: 0,
  tokensOut: 0,
  cost: undefined,
  times: [],
};

export class TurnStatistics {
  readonly #clock: Clock;
  /** Intervals with turns, by their number since the start of the clock. */
  readonly #intervals = new Map<number, Interval>();
  readonly #first: number;

  constructor(clock: Clock) {
    this.#clock = clock;
    this.#first = this.#current;
  }

  get #current(): number {
    return Math.floor(this.#clock.monotonic() / INTERVAL_MS);
  }

  /** Counts a turn that has ended. */
  ended({ state, usage, cost, first_token_ms }: ObservedOutcome): void {
    const interval = this.#interval();
    interval.turns++;
    if (state === 'failed') interval.failed++;
    interval.tokensIn += usage.prompt_tokens;
    interval.tokensOut += usage.completion_tokens;
    interval.cost = interval.cost === undefined ? cost : addCost(interval.cost, cost);
    if (first_token_ms !== null) interval.times[(interval.turns - 1) % MAX_TIMES] = first_token_ms;
  }

  #interval(): Interval {
    const current = this.#current;
    let interval = this.#intervals.get(current);
    if (interval !== undefined) return interval;
    for (const number of this.#intervals.keys()) {
      if (number >= current - MAX_SAMPLES) break;
      this.#intervals.delete(number);
    }
    interval = { ...EMPTY, times: [] };
    this.#intervals.set(current, interval);
    return interval;
  }

  /** The intervals that ended after the wall time `since`, in ms. @default all of the last 15 minutes */
  read(since = 0): Statistics {
    const current = this.#current;
    // Wall time at which the current interval began.
    const began = this.#clock.now() - (this.#clock.monotonic() - current * INTERVAL_MS);
    const samples: StatisticsSample[] = [];
    for (let number = Math.max(this.#first, current - MAX_SAMPLES); number < current; number++) {
      const t = began - (current - number - 1) * INTERVAL_MS;
      if (t > since) samples.push(sampleOf(t, this.#intervals.get(number) ?? EMPTY));
    }
    return { interval_ms: INTERVAL_MS, samples };
  }
}

function sampleOf(
  t: number,
  { turns, failed, tokensIn, tokensOut, cost, times }: Interval,
): StatisticsSample {
  return {
    t,
    turns,
    failed,
    // A turn without a first token leaves a gap.
    first_token_ms: percentilesOf(times.filter((time) => time !== undefined)),
    tokens_in: tokensIn,
    tokens_out: tokensOut,
    ...(cost === undefined || cost === 'unknown' ? {} : { cost }),
  };
}
