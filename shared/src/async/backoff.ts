// Growing delays between attempts, with jitter so that clients that failed together do not return together.

export interface BackoffOptions {
  /** Delay before the first retry, in ms, without jitter. */
  readonly minMs: number;
  /** Longest delay, in ms. */
  readonly maxMs: number;
  /** Part of each delay that is random, from 0 to 1. @default 0.5 */
  readonly jitter?: number | undefined;
  /** Random numbers from 0 up to 1. @default Math.random */
  readonly random?: (() => number) | undefined;
}

/**
 * Delay before retry `attempt` (0 is the first), in ms: `minMs`, doubled with each attempt up to `maxMs`. The delay is
 * that long at most; jitter shortens it.
 */
export function backoffDelayMs(
  attempt: number,
  { minMs, maxMs, jitter = 0.5, random = Math.random }: BackoffOptions,
): number {
  // The exponent is capped because 2 ** 1024 is Infinity, and 0 * Infinity would be NaN.
  const delayMs = Math.min(maxMs, minMs * 2 ** Math.min(attempt, 30));
  return delayMs * (1 - jitter + random() * jitter);
}

/** The delays of one series of attempts. */
export class Backoff {
  readonly #options: BackoffOptions;
  #attempt = 0;

  constructor(options: BackoffOptions) {
    this.#options = options;
  }

  /** Delays handed out since the last reset. */
  get attempt(): number {
    return this.#attempt;
  }

  /** Delay before the next attempt, in ms. */
  nextDelayMs(): number {
    return backoffDelayMs(this.#attempt++, this.#options);
  }

  /** Starts over, by default with the shortest delay. */
  reset(attempt = 0): void {
    this.#attempt = attempt;
  }
}

/** Returns the items in a random order. */
export function shuffled<T>(items: readonly T[], random: () => number = Math.random): T[] {
  const result = [...items];
  for (let last = result.length - 1; last > 0; last--) {
    const other = Math.floor(random() * (last + 1));
    [result[last], result[other]] = [result[other]!, result[last]!];
  }
  return result;
}
