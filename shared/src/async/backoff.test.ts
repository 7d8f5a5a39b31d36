import { expect, test } from 'vitest';
import { Backoff, backoffDelayMs } from './backoff.ts';

const longest = { minMs: 100, maxMs: 1_000, random: () => 1 };
const shortest = { ...longest, random: () => 0 };

test('the delay doubles up to its maximum', () => {
  expect([0, 1, 2, 3, 4, 5].map((attempt) => backoffDelayMs(attempt, longest))).toEqual([
    100, 200, 400, 800, 1_000, 1_000,
  ]);
});

test('the upper half of each delay is random', () => {
  expect([0, 1, 9].map((attempt) => backoffDelayMs(attempt, shortest))).toEqual([50, 100, 500]);
  const delays = Array.from({ length: 100 }, () => backoffDelayMs(1, { minMs: 100, maxMs: 1_000 }));
  expect(Math.min(...delays)).toBeGreaterThanOrEqual(100);
  expect(Math.max(...delays)).toBeLessThan(200);
});

test('jitter can be switched off', () => {
  expect(backoffDelayMs(2, { minMs: 100, maxMs: 1_000, jitter: 0 })).toBe(400);
});

test('any number of attempts gives a finite delay', () => {
  expect(backoffDelayMs(5_000, longest)).toBe(1_000);
  expect(backoffDelayMs(5_000, { ...longest, minMs: 0 })).toBe(0);
});

test('a series counts its attempts and starts over at any attempt', () => {
  const backoff = new Backoff(longest);
  expect([backoff.nextDelayMs(), backoff.nextDelayMs(), backoff.nextDelayMs()]).toEqual([100, 200, 400]);
  expect(backoff.attempt).toBe(3);
  backoff.reset();
  expect(backoff.nextDelayMs()).toBe(100);
  backoff.reset(3);
  expect(backoff.nextDelayMs()).toBe(800);
});
