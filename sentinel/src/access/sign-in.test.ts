// One-time codes of sign-in links, and the limit of failed sign-ins.
import { ManualClock } from '@fame-fabric/shared/testing';
import { expect, test } from 'vitest';
import { SignInLimit } from './sign-in-limit.ts';
import { LINK_LIFETIME_MS, SignInLinks } from './sign-in-links.ts';

test('a code has 256 bits, and works once', () => {
  const clock = new ManualClock();
  const links = new SignInLinks(clock);
  const { code, expiresAt } = links.create('fk_key');
  expect(code).toMatch(/^[\w-]{43}$/);
  expect(expiresAt).toBe(clock.now() + 3_600_000);
  expect(links.redeem('other')).toBeUndefined();
  expect([links.redeem(code), links.redeem(code)]).toEqual(['fk_key', undefined]);
});

test('a code ends after an hour, used or not', () => {
  const clock = new ManualClock();
  const links = new SignInLinks(clock);
  const [first, second] = [links.create('a'), links.create('b')];
  clock.advance(LINK_LIFETIME_MS - 1);
  expect(links.redeem(first.code)).toBe('a');
  clock.advance(1);
  expect(links.redeem(second.code)).toBeUndefined();
});

test('the newest 100 codes are kept', () => {
  const links = new SignInLinks(new ManualClock());
  const codes = Array.from({ length: 101 }, (_, n) => links.create(`t${n}`).code);
  expect(codes.map((code) => links.redeem(code))).toEqual([
    undefined,
    ...codes.slice(1).map((_, n) => `t${n + 1}`),
  ]);
});

test('the eleventh sign-in after ten failures waits until the minute is over', () => {
  const clock = new ManualClock();
  const limit = new SignInLimit(clock);
  for (let n = 0; n < 10; n++) {
    expect(limit.waitMs('10.0.0.1')).toBeUndefined();
    limit.failed('10.0.0.1');
    clock.advance(1_000);
  }
  expect([limit.waitMs('10.0.0.1'), limit.waitMs('10.0.0.2')]).toEqual([50_000, undefined]);
  clock.advance(50_000);
  expect(limit.waitMs('10.0.0.1')).toBeUndefined();
  limit.failed('10.0.0.1');
  expect(limit.waitMs('10.0.0.1')).toBeUndefined();
});

test('the addresses of an IPv6 network count together, and 1,000 networks are counted', () => {
  const limit = new SignInLimit(new ManualClock());
  for (let n = 0; n < 10; n++) limit.failed(`2001:db8:1:2::${n}`);
  expect(limit.waitMs('2001:db8:1:2:3::1')).toBeGreaterThan(0);
  for (let n = 0; n < 999; n++) limit.failed(`10.0.${n >> 8}.${n & 255}`);
  expect(limit.waitMs('2001:db8:1:2::1')).toBeGreaterThan(0);
  limit.failed('10.1.0.1');
  expect(limit.waitMs('2001:db8:1:2::1')).toBeUndefined();
});
