import { expect, test } from 'vitest';
import { percentilesOf } from './percentiles.ts';

test('percentiles are samples, by the nearest rank', () => {
  expect(percentilesOf([])).toBeNull();
  expect(percentilesOf([7])).toEqual({ p50: 7, p99: 7 });
  expect(percentilesOf([3, 1, 2])).toEqual({ p50: 2, p99: 3 });
  const hundred = Array.from({ length: 100 }, (_, n) => 100 - n);
  expect(percentilesOf(hundred)).toEqual({ p50: 50, p99: 99 });
  expect(percentilesOf([0.123_456_7])).toEqual({ p50: 0.123, p99: 0.123 });
});
