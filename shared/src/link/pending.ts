// What waits for an answer: correlation id -> waiter. Deadlines share one timer, set to the earliest of them; a call costs
// no timer of its own, and its deadline may move (streams) without touching anything.
import type { Clock, Timer } from '../async/clock.ts';

/** Something that waits for envelopes with its corrId. */
export interface Waiter {
  readonly corrId: string;
  /** Ms since the epoch; Infinity while nothing is due. */
  deadline: number;
  /** The deadline has passed: the waiter fails and leaves the table, unless it moves its deadline. */
  onDue(): void;
  /** The table was closed. */
  fail(error: unknown): void;
}

/** Deadlines are met to within this many ms, so that many close ones share a sweep. */
const SLACK_MS = 5;
const LONGEST_TIMER_MS = 2_147_483_647;

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

  /** A deadline that moved to an earlier time must be told; a later one need not be. */
  moved(waiter: W): void {
    if (waiter.deadline < this.#due) this.#arm(waiter.deadline);
  }

  remove(waiter: W): void {
    // The timer stays: it finds nothing to do, and the next call need not set one.
    if (this.#waiters.get(waiter.corrId) === waiter) this.#waiters.delete(waiter.corrId);
  }

  /** Takes all waiters away and fails them. */
  failAll(error: unknown): void {
    const waiters = [...this.#waiters.values()];
    this.#waiters.clear();
    this.#disarm();
    for (const waiter of waiters) waiter.fail(error);
  }

  #arm(due: number): void {
    this.#timer?.stop();
    this.#due = due;
    const ms = Math.min(Math.max(due - this.#clock.now(), 0), LONGEST_TIMER_MS);
    this.#timer = this.#clock.after(ms, this.#sweep);
  }

  #disarm(): void {
    this.#timer?.stop();
    this.#timer = undefined;
    this.#due = Number.POSITIVE_INFINITY;
  }

  readonly #sweep = (): void => {
    const now = this.#clock.now();
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
