// A clock that a test advances. Timers fire in the order in which they are due. While one fires, `now()` is its due time.
import type { Clock, Timer } from '../async/clock.ts';

interface Pending {
  due: number;
  readonly fn: () => void;
  readonly everyMs: number | undefined;
}

export class ManualClock implements Clock {
  #now: number;
  readonly #timers = new Set<Pending>();

  /** @default start 1_700_000_000_000 */
  constructor(start = 1_700_000_000_000) {
    this.#now = start;
  }

  now(): number {
    return this.#now;
  }

  /** Number of active timers. */
  get timerCount(): number {
    return this.#timers.size;
  }

  after(ms: number, fn: () => void): Timer {
    return this.#set({ due: this.#now + Math.max(0, ms), fn, everyMs: undefined });
  }

  every(ms: number, fn: () => void): Timer {
    return this.#set({ due: this.#now + ms, fn, everyMs: ms });
  }

  #set(timer: Pending): Timer {
    this.#timers.add(timer);
    return { stop: () => void this.#timers.delete(timer) };
  }

  /** Advances the time by `ms` and fires the timers that become due. */
  advance(ms: number): void {
    const until = this.#now + ms;
    for (let timer = this.#next(until); timer; timer = this.#next(until)) {
      this.#now = Math.max(this.#now, timer.due);
      if (timer.everyMs === undefined) this.#timers.delete(timer);
      else timer.due += Math.max(1, timer.everyMs);
      timer.fn();
    }
    this.#now = until;
  }

  /** Like `advance`, in steps with `settle` between them, for code that sets its next timer after an await. */
  async run(ms: number, stepMs = Math.max(1, ms / 100)): Promise<void> {
    const until = this.#now + ms;
    await settle();
    while (this.#now < until) {
      this.advance(Math.min(stepMs, until - this.#now));
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
