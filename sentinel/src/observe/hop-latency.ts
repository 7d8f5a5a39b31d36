// Latency of a hop: the time from reading a message to writing it to the socket of its receiver, with the time in the outbound
// queue. Only 1 of 61 messages is measured. A prime number, so that requests and answers that alternate are both measured.
import type { BucketCounts } from '@fame-fabric/shared/metrics';
import { type Percentiles, percentilesOf } from '@fame-fabric/shared/router';
import type { OutboundQueue } from '../session/outbound-queue.ts';

const EVERY = 61;
/** Samples that are kept for the percentiles of an interval. */
const MAX_RECENT = 512;
/** Upper bounds of the buckets, in seconds. */
const BOUNDS = Object.freeze([
  0.000_025, 0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5,
  1, 5,
]);

export class HopLatency {
  /** Time at which the message at hand was read, if it is measured; else 0. */
  startedAt = 0;
  /** All samples since the start, in seconds. */
  readonly buckets: BucketCounts & { readonly counts: number[]; sum: number } = {
    bounds: BOUNDS,
    counts: BOUNDS.concat(0).fill(0),
    sum: 0,
  };
  /** Samples of the current interval, in ms. */
  #recent: number[] = [];
  #recorded = 0;
  #untilNext = EVERY;

  /** Begins a message. */
  begin(): void {
    if (--this.#untilNext > 0) this.startedAt = 0;
    else {
      this.#untilNext = EVERY;
      this.startedAt = performance.now();
    }
  }

  /** Measures the message at hand, which was sent or queued as the last message of a flow. */
  follow(outbound: OutboundQueue, flowId: string): void {
    const { startedAt } = this;
    this.startedAt = 0;
    outbound.whenSent(flowId, () => {
      // The messages of this turn of the event loop are written at its end.
      setImmediate(() => this.record(performance.now() - startedAt));
    });
  }

  /** Adds a sample, in ms. */
  record(ms: number): void {
    const { counts } = this.buckets;
    const seconds = ms / 1_000;
    const index = BOUNDS.findIndex((bound) => seconds <= bound);
    counts[index < 0 ? BOUNDS.length : index]!++;
    this.buckets.sum += seconds;
    this.#recent[this.#recorded++ % MAX_RECENT] = ms;
  }

  /** Percentiles since the last call, and begins a new interval. Returns `null` without samples. */
  take(): Percentiles | null {
    const percentiles = percentilesOf(this.#recent);
    this.#recent = [];
    this.#recorded = 0;
    return percentiles;
  }
}
