// A clock that a test advances. Timers fire in the order in which they are due. While one fires, `monotonic()` is its due time.
// Wall time runs beside it and can be stepped alone, as if the clock of the machine were set.
import type { Clock, Timer } from '../async/clock.ts';

interface Pending {
  due: number;
  readonly fn: () => void;
  readonly everyMs: number | undefined;
}

export class ManualClock implements Clock {
  #monotonic = 0;
  /** Wall time at the start of monotonic time, in ms since the epoch. */
  #epoch: number;
  readonly #timers = new Set<Pending>();

  /** @param start wall time in ms since the epoch. @default 1_700_000_000_000 */
  constructor(start = 1_700_000_000_000) {
    this.#epoch = start;
  }

  now(): number {
    return this.#epoch + this.#monotonic;
  }

  monotonic(): number {
    return this.#monotonic;
  }

  /** Sets the wall clock forwards by `ms`, or back if negative. Monotonic time and timers are not affected. */
  stepWall(ms: number): void {
    this.#epoch += ms;
  }

  /** Number of active timers. */
  get timerCount(): number {
    return this.#timers.size;
  }

  after(ms: number, fn: () => void): Timer {
    return this.#set({ due: this.#monotonic + Math.max(0, ms), fn, everyMs: undefined });
  }

  every(ms: number, fn: () => void): Timer {
    return this.#set({ due: this.#monotonic + ms, fn, everyMs: ms });
  }

  #set(timer: Pending): Timer {
    this.#timers.add(timer);
    return { stop: () => void this.#timers.delete(timer) };
  }

  /** Advances the time by `ms` and fires the timers that become due. */
  advance(ms: number): void {
    const until = this.#monotonic + ms;
    for (let timer = this.#next(until); timer; timer = this.#next(until)) {
      this.#monotonic = Math.max(this.#monotonic, timer.due);
      if (timer.everyMs === undefined) this.#timers.delete(timer);
      else timer.due += Math.max(1, timer.everyMs);
      timer.fn();
    }
    this.#monotonic = until;
  }

  /** Like `advance`, in steps with `settle` between them, for code that sets its next timer after an await. */
  async run(ms: number, stepMs = Math.max(1, ms / 100)): Promise<void> {
    const until = this.#monotonic + ms;
    await settle();
    while (this.#monotonic < until) {
      this.advance(Math.min(stepMs, until - this.#monotonic));
      await settle();
    }
  }

  #next(until: number): Pending | undefined {
    let first: Pending | undefined;
    for (const timer of this.#timers)
      if (timer.due <= until && (!first || timer.due < first.due)) first = timer;
    return first;
  }
}

/** Waits until pending promise reactions have run. */
export async function settle(): Promise<void> {
  for (let turn = 0; turn < 3; turn++) await new Promise<void>((resolve) => setImmediate(resolve));
}
