// The last 15 minutes of a sentinel in memory, for `GET /fame/v1/history`: one sample in 5 seconds.
import type { Clock, Timer } from '@fame-fabric/shared';
import { LoopDelay, type Percentiles } from '@fame-fabric/shared/router';
import type { Counters } from '../counters.ts';
import type { OpenCalls } from '../open-calls.ts';
import type { QueueBudget } from '../session/queue-budget.ts';
import type { Sessions } from '../session/sessions.ts';
import type { HopLatency } from './hop-latency.ts';

const INTERVAL_MS = 5_000;
const MAX_SAMPLES = 180;

/** One interval of a sentinel. Counts are of the interval; the other values are those at its end. */
export interface HistorySample {
  /** End of the interval: wall time, in ms. */
  readonly t: number;
  /** Forwarded messages. */
  readonly messages: number;
  /** Bytes of the forwarded messages. */
  readonly bytes: number;
  /** Time from reading a message to writing it; `null` if none was measured. */
  readonly hopMs: Percentiles | null;
  readonly openCalls: number;
  /** Bytes in outbound queues. */
  readonly queueBytes: number;
  /** Count of refusals by code. Codes without refusals are absent. */
  readonly refusals: Readonly<Record<string, number>>;
  /** Attached nodes. */
  readonly attached: number;
  /** Delay of the event loop. After an interval without messages it is that of one timer. */
  readonly loopDelayMs: Percentiles;
}

/** Body of `GET /fame/v1/history`. */
export interface HistoryView {
  readonly intervalMs: number;
  /** Oldest first, at most 180. */
  readonly samples: readonly HistorySample[];
}

export interface HistoryDeps {
  clock: Clock;
  counters: Counters;
  calls: OpenCalls;
  budget: QueueBudget;
  sessions: Sessions;
  hops: HopLatency;
}

export class History {
  readonly #deps: HistoryDeps;
  readonly #samples: HistorySample[] = [];
  #forwarded = 0;
  #forwardedBytes = 0;
  #refused: Readonly<Record<string, number>> = {};
  readonly #loopDelay = new LoopDelay();
  /** Monotonic time of the last sample, in ms. */
  #sampledAt: number;
  #timer: Timer | undefined;

  constructor(deps: HistoryDeps) {
    this.#deps = deps;
    this.#sampledAt = deps.clock.monotonic();
  }

  start(): void {
    this.#timer = this.#deps.clock.every(INTERVAL_MS, () => this.sample());
  }

  stop(): void {
    this.#timer?.stop();
    this.#loopDelay.stop();
  }

  get view(): HistoryView {
    return { intervalMs: INTERVAL_MS, samples: this.#samples };
  }

  /** The last interval. Absent during the first one. */
  get last(): HistorySample | undefined {
    return this.#samples.at(-1);
  }

  /** Ends an interval. */
  sample(): void {
    const { budget, calls, clock, counters, hops, sessions } = this.#deps;
    const { forwarded, forwardedBytes, refused } = counters;
    const messages = forwarded - this.#forwarded;
    const now = clock.monotonic();
    const late = Math.max(0, now - this.#sampledAt - INTERVAL_MS);
    this.#sampledAt = now;
    this.#samples.push({
      t: clock.now(),
      messages,
      bytes: forwardedBytes - this.#forwardedBytes,
      hopMs: hops.take(),
      openCalls: calls.count,
      queueBytes: budget.queuedBytes,
      refusals: growth(refused, this.#refused),
      attached: sessions.attachedCount,
      loopDelayMs: this.#loopDelay.take() ?? { p50: late, p99: late },
    });
    if (messages > 0) this.#loopDelay.start();
    else this.#loopDelay.stop();
    if (this.#samples.length > MAX_SAMPLES) this.#samples.shift();
    this.#forwarded = forwarded;
    this.#forwardedBytes = forwardedBytes;
    this.#refused = { ...refused };
  }
}

function growth(
  now: Readonly<Record<string, number>>,
  before: Readonly<Record<string, number>>,
): Record<string, number> {
  const grown: Record<string, number> = {};
  for (const [code, count] of Object.entries(now)) {
    const more = count - (before[code] ?? 0);
    if (more > 0) grown[code] = more;
  }
  return grown;
}
