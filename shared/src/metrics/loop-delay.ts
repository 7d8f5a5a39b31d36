// Delay of the event loop. A native timer samples it, so that measuring runs no JavaScript.
import { monitorEventLoopDelay } from 'node:perf_hooks';

/** Interval of the native timer, in ms. Each sample includes it. */
const RESOLUTION_MS = 100;
const NS_PER_MS = 1e6;

/** Percentiles of a duration, in ms. */
export interface Percentiles {
  readonly p50: number;
  readonly p99: number;
}

/** Measures how much later than planned timers run. Starts at once; `stop` ends it. */
export class LoopDelay {
  readonly #histogram = monitorEventLoopDelay({ resolution: RESOLUTION_MS });

  constructor() {
    this.#histogram.enable();
  }

  /** Delays since the last call, in ms, and begins a new interval. Returns `null` without samples. */
  take(): Percentiles | null {
    const histogram = this.#histogram;
    const delay =
      histogram.count === 0
        ? null
        : { p50: withoutTimer(histogram.percentile(50)), p99: withoutTimer(histogram.percentile(99)) };
    histogram.reset();
    return delay;
  }

  stop(): void {
    this.#histogram.disable();
  }
}

const withoutTimer = (ns: number): number => Math.max(0, round(ns / NS_PER_MS - RESOLUTION_MS));

/** Rounds milliseconds to microseconds. */
const round = (ms: number): number => Math.round(ms * 1_000) / 1_000;

/** The percentiles of unsorted samples, rounded to microseconds; `null` without samples. */
export function percentilesOf(samples: readonly number[]): Percentiles | null {
  if (samples.length === 0) return null;
  const sorted = [...samples].sort((a, b) => a - b);
  const at = (share: number): number =>
    round(sorted[Math.min(sorted.length - 1, Math.ceil(sorted.length * share) - 1)]!);
  return { p50: at(0.5), p99: at(0.99) };
}
