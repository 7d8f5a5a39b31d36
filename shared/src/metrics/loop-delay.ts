// Delay of the event loop. A native timer samples it, so that measuring runs no JavaScript. It still wakes the process, which triples
// the CPU time of an idle one (0.02 % to 0.07 % of a core), so measure while there is work.
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { type Percentiles, roundMs } from './percentiles.ts';

/** Interval of the native timer, in ms. Each sample includes it. */
const RESOLUTION_MS = 100;
const NS_PER_MS = 1e6;

/** Measures how much later than planned timers run, between `start` and `stop`. */
export class LoopDelay {
  readonly #histogram = monitorEventLoopDelay({ resolution: RESOLUTION_MS });

  start(): void {
    this.#histogram.enable();
  }

  /** Returns the delays since the last call, and begins a new interval. Returns `null` without samples. */
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

const withoutTimer = (ns: number): number => Math.max(0, roundMs(ns / NS_PER_MS - RESOLUTION_MS));
