// Time as a dependency. Parts that wait take a Clock, so that tests turn the hands themselves (`testing/manual-clock.ts`).

/** A timer that can be stopped. Timers of the system clock do not keep the process alive unless asked to. */
export interface Timer {
  stop(): void;
}

export interface Clock {
  /** Milliseconds since the epoch. */
  now(): number;
  /** Calls `fn` once, `ms` milliseconds from now. `keepAlive`: the process lives at least until then. @default false */
  after(ms: number, fn: () => void, options?: { keepAlive?: boolean }): Timer;
  /** Calls `fn` every `ms` milliseconds until stopped. */
  every(ms: number, fn: () => void): Timer;
}

// `unref` exists on Node's timer objects; a browser's timers are numbers.
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
