// Time as a dependency. Code that waits takes a Clock, so that tests control time (`testing/manual-clock.ts`).

/** A running timer. Timers of the system clock do not keep the process alive, unless `keepAlive` is set. */
export interface Timer {
  stop(): void;
}

export interface Clock {
  /** Milliseconds since the epoch. */
  now(): number;
  /** Calls `fn` once after `ms` milliseconds. With `keepAlive`, the process does not exit before. @default keepAlive false */
  after(ms: number, fn: () => void, options?: { keepAlive?: boolean | undefined }): Timer;
  /** Calls `fn` every `ms` milliseconds until stopped. */
  every(ms: number, fn: () => void): Timer;
}

// Timers are objects with `unref` in Node and numbers in browsers.
const unref = (timer: unknown): void => {
  (timer as { unref?: () => void }).unref?.();
};

export const systemClock: Clock = {
  now: () => Date.now(),
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
