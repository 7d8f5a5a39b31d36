// Time as a dependency. Code that waits takes a Clock, so that tests control time (`testing/manual-clock.ts`).

/** A running timer. */
export interface Timer {
  stop(): void;
}

/** A source of time. Its timers do not keep the process alive, unless `keepAlive` is set. */
export interface Clock {
  /**
   * Wall time, in ms since the epoch: for timestamps that are shown, stored or compared with those of other processes. It jumps
   * when the machine's clock is set, in either direction.
   */
  now(): number;
  /**
   * Monotonic time, in whole ms since an arbitrary start: for intervals, deadlines and ages within this process. It never jumps,
   * and means nothing in another process.
   */
  monotonic(): number;
  /** Calls `fn` once after `ms` milliseconds. */
  after(ms: number, fn: () => void, options?: { keepAlive?: boolean | undefined }): Timer;
  /** Calls `fn` every `ms` milliseconds until stopped. */
  every(ms: number, fn: () => void): Timer;
}

// Timers are objects with `unref` in Node and numbers in browsers.
const unref = (timer: unknown): void => {
  (timer as { unref?: () => void }).unref?.();
};

/** Longest delay of `setTimeout`, in ms; it fires at once after a longer one. */
export const LONGEST_TIMER_MS = 2_147_483_647;

/** The clock of this machine. */
export const systemClock: Clock = {
  now: () => Date.now(),
  monotonic: () => Math.floor(performance.now()),
  after(ms, fn, options) {
    const timer = setTimeout(fn, ms);
    if (!options?.keepAlive) unref(timer);
    return { stop: () => clearTimeout(timer) };
  },
  every(ms, fn) {
    const timer = setInterval(fn, ms);
    unref(timer);
    return { stop: () => clearInterval(timer) };
  },
};
