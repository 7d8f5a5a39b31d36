import { vi } from 'vitest';
import { WAIT_LIMIT_MS } from './wait-limit.ts';

/** Repeats `check` until it does not throw, and returns its result. */
export const eventually = <T>(check: () => T | Promise<T>): Promise<T> =>
  vi.waitFor(check, { timeout: WAIT_LIMIT_MS, interval: 20 });
