import { vi } from 'vitest';
import { WAIT_LIMIT_MS } from './wait-limit.js';
/** Repeats `check` until it does not throw, and returns its result. */
export const eventually = (check) => vi.waitFor(check, { timeout: WAIT_LIMIT_MS, interval: 20 });
//# sourceMappingURL=eventually.js.map
