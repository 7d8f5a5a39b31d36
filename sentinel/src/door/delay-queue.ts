// A queue whose items are released after a fixed delay, with one timer for all of them. A few items are released at a time, so that
// items that were added together do not occupy the event loop.
import type { Clock, Timer } from '@fame-fabric/shared';

/** Items that are released at a time. */
export const BATCH = 4;
/** Shortest time between two batches, in ms. */
export const BATCH_EVERY_MS = 1;

export class DelayQueue<Item> {
  readonly #clock: Clock;
  readonly #delayMs: number;
  readonly #release: (item: Item) => void;
  /** Monotonic times at which the items are due, oldest first. */
  readonly #items = new Map<Item, number>();
  #timer: Timer | undefined;

  constructor(clock: Clock, delayMs: number, release: (item: Item) => void) {
    this.#clock = clock;
    this.#delayMs = delayMs;
    this.#release = release;
  }

  get size(): number {
    return this.#items.size;
  }

  add(item: Item): void {
    this.#items.set(item, this.#clock.monotonic() + this.#delayMs);
    this.#timer ??= this.#clock.after(this.#delayMs, this.#releaseDue);
  }

  delete(item: Item): void {
    this.#items.delete(item);
  }

  /** Releases the oldest item before it is due. */
  releaseOldest(): void {
    for (const item of this.#items.keys()) {
      this.#items.delete(item);
      this.#release(item);
      return;
    }
  }

  readonly #releaseDue = (): void => {
    this.#timer = undefined;
    const now = this.#clock.monotonic();
    let left = BATCH;
    for (const [item, dueAt] of this.#items) {
      if (dueAt > now || left-- === 0) {
        this.#timer = this.#clock.after(Math.max(BATCH_EVERY_MS, dueAt - now), this.#releaseDue);
        return;
      }
      this.#items.delete(item);
      this.#release(item);
    }
  };
}
