import { expect, test } from 'vitest';
import { Rate } from './rate.ts';
import { defaultLimits, mergeLimits, ROLE_LIMITS, SENTINEL_LIMITS, UNLIMITED } from './role-limits.ts';

test('a rate admits its burst at once, then its units as time passes, exactly', () => {
  const rate = new Rate();
  rate.limit(200, 400, 0);
  const admitted = (now: number): number => {
    let count = 0;
    while (rate.emptyMs(now) < 0) {
      rate.take(1, now);
      count++;
    }
    return count;
  };
  expect(admitted(0)).toBe(400);
  expect(rate.isFull(1_999)).toBe(false);
  expect(rate.isFull(2_000)).toBe(true);
  expect(admitted(5)).toBe(1);
  expect(admitted(1_005)).toBe(200);
  // A long silence fills the bucket and no more.
  expect(admitted(60_000)).toBe(400);
  rate.limit(0, 400, 60_000);
  expect(rate.emptyMs(1e9)).toBe(Number.POSITIVE_INFINITY);
  // A new limit counts the units taken before.
  rate.limit(20, 500, 60_000);
  expect(admitted(60_000)).toBe(100);
  rate.limit(Number.POSITIVE_INFINITY, Number.POSITIVE_INFINITY, 60_000);
  expect([rate.isLimited, rate.emptyMs(60_000)]).toEqual([false, Number.NEGATIVE_INFINITY]);
});

test('a message larger than the burst passes when the bucket is not empty', () => {
  const rate = new Rate();
  rate.limit(1_000, 2_000, 0);
  rate.take(100_000, 0);
  expect(rate.emptyMs(0)).toBe(98_000);
});

test('the limits of roles grow from client to sentinel, and an admin has none', () => {
  const { client, agent, door, sentinel, admin } = ROLE_LIMITS;
  for (const name of SENTINEL_LIMITS) {
    expect(agent[name]).toBeGreaterThan(client[name]);
    expect(sentinel[name]).toBeGreaterThanOrEqual(agent[name]);
  }
  expect(door).toBe(agent);
  expect(admin).toBe(UNLIMITED);
  expect(defaultLimits({ id: 'x', roles: ['client', 'agent'] })).toEqual(agent);
  expect(defaultLimits({ id: 'x', roles: [] })).toEqual(client);
});

test('the policy file decides field by field, and a rate without a burst has one of two seconds', () => {
  const merged = mergeLimits({ openCalls: 7, messagesPerSecond: 5, byteBurst: 9 }, ROLE_LIMITS.client);
  expect(merged).toEqual({
    ...ROLE_LIMITS.client,
    openCalls: 7,
    messagesPerSecond: 5,
    messageBurst: 10,
    byteBurst: 9,
  });
});
