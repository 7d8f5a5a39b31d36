// The time of the last sweep: precise to two seconds, which is enough for silence and stalled queues, and free to read.
import type { Clock } from '@fame-fabric/shared';

export class CoarseClock {
  readonly #clock: Clock;
  #now: number;

  constructor(clock: Clock) {
    this.#clock = clock;
    this.#now = clock.now();
  }

  /** Milliseconds since the epoch, at the last `tick`. */
  get now(): number {
    return this.#now;
  }

  /** Reads the real clock and returns it. */
  tick(): number {
    this.#now = this.#clock.now();
    return this.#now;
  }
}
