// The time of the last sweep: precise to two seconds, which is enough for silence and stalled queues, and free to read.
//
// It measures the running time of this process. While the process is stopped or its event loop is blocked, it receives no
// messages, so that time must not count as silence of the nodes: a tick advances by no more than two sweeps.
import type { Clock } from '@fame-fabric/shared';

/** Interval of ticks, in ms. Each wake-up of an idle process is costly: its caches are cold. */
export const TICK_MS = 2_000;

export class CoarseClock {
  readonly #clock: Clock;
  #readAt: number;
  #now = 0;

  constructor(clock: Clock) {
    this.#clock = clock;
    this.#readAt = clock.monotonic();
  }

  /** Running time at the last `tick`, in ms since an arbitrary start. */
  get now(): number {
    return this.#now;
  }

  tick(): void {
    const now = this.#clock.monotonic();
    this.#now += Math.min(now - this.#readAt, 2 * TICK_MS);
    this.#readAt = now;
  }
}
