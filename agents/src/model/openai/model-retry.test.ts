import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { delayMs, MAX_ATTEMPTS, MAX_DELAY_MS, retryAfterMs } from './model-retry.ts';

const headers = (all: Record<string, string>) => ({ get: (name: string) => all[name] ?? null });

describe('ST-16 the wait before another attempt', () => {
  it('lies between half and the whole of a step that doubles, and never beyond the cap', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 40 }),
        fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true }),
        (attempt, r) => {
          const step = Math.min(MAX_DELAY_MS, 500 * 2 ** (attempt - 1));
          const wait = delayMs(attempt, undefined, () => r);
          expect(wait).toBeGreaterThanOrEqual(step / 2);
          expect(wait).toBeLessThanOrEqual(step);
        },
      ),
    );
    expect(MAX_ATTEMPTS).toBe(4);
    expect(MAX_DELAY_MS).toBe(20_000);
  });

  it('is never shorter than the server asked, up to the cap', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 0, max: 100_000 }),
        fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true }),
        (asked, r) => {
          const wait = delayMs(1, asked, () => r);
          expect(wait).toBeGreaterThanOrEqual(Math.min(asked, MAX_DELAY_MS));
          expect(wait).toBeLessThanOrEqual(MAX_DELAY_MS);
        },
      ),
    );
  });

  it.each([
    [{}, undefined],
    [{ 'retry-after': '2' }, 2000],
    [{ 'retry-after': '0.5' }, 500],
    [{ 'retry-after': '-1' }, undefined],
    [{ 'retry-after': 'soon' }, undefined],
    [{ 'retry-after': 'Thu, 01 Jan 1970 00:00:10 GMT' }, 9000],
    [{ 'retry-after': 'Thu, 01 Jan 1970 00:00:00 GMT' }, 0],
    [{ 'retry-after-ms': '70', 'retry-after': '9' }, 70],
    [{ 'retry-after-ms': 'x', 'retry-after': '9' }, 9000],
  ])('reads %j', (given, expected) => {
    expect(retryAfterMs(headers(given as Record<string, string>), 1000)).toBe(expected);
  });
});
