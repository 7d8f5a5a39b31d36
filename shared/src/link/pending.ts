// A table of waiters for answers, by correlation id. All deadlines share one timer, set to the earliest, so a deadline may
// move to a later time at no cost.
import { type Clock, LONGEST_TIMER_MS, type Timer } from '../async/clock.ts';

/** Waits for envelopes with its corrId. */
export interface Waiter {
  readonly corrId: string;
  /** Monotonic, in ms. Infinity if there is none. */
  deadline: number;
  /** Called when the deadline has passed. The waiter fails, or moves its deadline to stay in the table. */
  onDue(): void;
  /** Called when the table is closed. */
  fail(error: unknown): void;
}

/** Deadlines within this time of each other, in ms, share one sweep. */
const SLACK_MS = 5;

export class Pending<W extends Waiter> {
  readonly #clock: Clock;
  readonly #waiters = new Map<string, W>();
  #timer: Timer | undefined;
  #due = Number.POSITIVE_INFINITY;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  get size(): number {
    return this.#waiters.size;
  }

  get(corrId: string): W | undefined {
    return this.#waiters.get(corrId);
  }

  has(corrId: string): boolean {
    return this.#waiters.has(corrId);
  }

  values(): IterableIterator<W> {
    return this.#waiters.values();
  }

  add(waiter: W): void {
    this.#waiters.set(waiter.corrId, waiter);
    if (waiter.deadline < this.#due) this.#arm(waiter.deadline);
  }

  /** Must be called after a deadline moved to an earlier time. */
  moved(waiter: W): void {
    if (waiter.deadline < this.#due) this.#arm(waiter.deadline);
  }

  remove(waiter: W): void {
    // The timer stays set: an idle sweep costs less than a new timer for the next waiter.
    if (this.#waiters.get(waiter.corrId) === waiter) this.#waiters.delete(waiter.corrId);
  }

  /** Removes all waiters and fails them. */
  failAll(error: unknown): void {
    const waiters = [...this.#waiters.values()];
    this.#waiters.clear();
    this.#disarm();
    for (const waiter of waiters) waiter.fail(error);
  }

  #arm(due: number): void {
    this.#timer?.stop();
    this.#due = due;
    const ms = Math.min(Math.max(due - this.#clock.monotonic(), 0), LONGEST_TIMER_MS);
    this.#timer = this.#clock.after(ms, this.#sweep);
  }

  #disarm(): void {
    this.#timer?.stop();
    this.#timer = undefined;
    this.#due = Number.POSITIVE_INFINITY;
  }

  readonly #sweep = (): void => {
    const now = this.#clock.monotonic();
    this.#timer = undefined;
    this.#due = Number.POSITIVE_INFINITY;
    const due: W[] = [];
    for (const waiter of this.#waiters.values()) if (waiter.deadline <= now) due.push(waiter);
    for (const waiter of due) {
      waiter.onDue();
      if (waiter.deadline <= now) this.remove(waiter);
    }
    let next = Number.POSITIVE_INFINITY;
    for (const { deadline } of this.#waiters.values()) if (deadline < next) next = deadline;
    if (next < this.#due) this.#arm(Math.max(next, now + SLACK_MS));
  };
}
