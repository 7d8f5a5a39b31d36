import type { Clock } from '@fame-fabric/shared';

/** Measures the time during which at least one of several overlapping operations runs. */
export class BusyTime {
  readonly #clock: Clock;
  #running = 0;
  #since = 0;
  #totalMs = 0;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Total so far, in ms. An operation that still runs counts from the time at which it began. */
  get totalMs(): number {
    return this.#running > 0 ? this.#totalMs + this.#clock.monotonic() - this.#since : this.#totalMs;
  }

  /** Counts the time until `operation` settles. Returns it. */
  during<T>(operation: Promise<T>): Promise<T> {
    if (this.#running++ === 0) this.#since = this.#clock.monotonic();
    const settled = (): void => {
      if (--this.#running === 0) this.#totalMs += this.#clock.monotonic() - this.#since;
    };
    operation.then(settled, settled);
    return operation;
  }
}
