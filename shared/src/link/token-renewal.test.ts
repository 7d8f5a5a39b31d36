// The renewal of a connection's token: its time, its retries and its end.
import { beforeEach, expect, test } from 'vitest';
import { CaptureLog } from '../testing/capture-log.ts';
import { ManualClock } from '../testing/manual-clock.ts';
import { type RenewalAnswer, TokenRenewal } from './token-renewal.ts';
import type { TokenSource } from './transport.ts';

let clock: ManualClock;
let log: CaptureLog;
let sent: string[];
let answer: () => RenewalAnswer | Promise<RenewalAnswer>;
beforeEach(() => {
  clock = new ManualClock();
  log = new CaptureLog();
  sent = [];
  answer = () => ({ ok: true, expiresInMs: 100_000 });
});

const settled = () => new Promise((resolve) => setImmediate(resolve));
const source = (renew?: () => Promise<string>): TokenSource => ({
  read: () => 'first',
  renew: renew ?? (async () => `t${sent.length + 1}`),
});
const open = (token: string | TokenSource | undefined) =>
  new TokenRenewal({
    clock,
    log,
    token,
    send: async (value) => {
      sent.push(value);
      return answer();
    },
  });

test('renews after 70 to 80 % of the stated time, again and again', async () => {
  const renewal = open(source());
  renewal.start(100_000);
  clock.advance(69_000);
  await settled();
  expect(sent).toEqual([]);
  clock.advance(11_000);
  await settled();
  expect(sent).toEqual(['t1']);
  clock.advance(80_000);
  await settled();
  expect(sent).toEqual(['t1', 't2']);
  renewal.stop();
  clock.advance(1_000_000);
  await settled();
  expect(sent).toHaveLength(2);
  expect(clock.timerCount).toBe(0);
});

test.each<[string, string | TokenSource | undefined, number | undefined]>([
  ['the token does not expire', source(), undefined],
  ['the token is fixed', 'fixed', 100_000],
  ['the source does not renew', { read: () => 'x' }, 100_000],
  ['there is no token', undefined, 100_000],
])('there is no timer if %s', (_what, token, expiresInMs) => {
  open(token).start(expiresInMs);
  expect(clock.timerCount).toBe(0);
});

test('retries after growing delays, and warns once', async () => {
  answer = () => ({ ok: false, code: 'AUTH_UNAVAILABLE', reason: 'the key server is unreachable' });
  const renewal = open(source());
  renewal.start(100_000);
  clock.advance(80_000);
  await settled();
  for (let i = 0; i < 3; i++) {
    clock.advance(30_000);
    await settled();
  }
  expect(sent.length).toBeGreaterThan(2);
  expect(log.lines).toMatchObject([{ level: 'warn', fields: { reason: 'the key server is unreachable' } }]);
  answer = () => ({ ok: true, expiresInMs: 100_000 });
  const count = sent.length;
  clock.advance(30_000);
  await settled();
  expect(sent).toHaveLength(count + 1);
  clock.advance(69_000);
  await settled();
  expect(sent).toHaveLength(count + 1);
});

test('the token request to an unreachable issuer is repeated', async () => {
  let isAway = true;
  open(
    source(async () => {
      if (isAway) throw new Error('away');
      return 'later';
    }),
  ).start(100_000);
  clock.advance(80_000);
  await settled();
  expect([sent, log.messages('warn').length]).toEqual([[], 1]);
  isAway = false;
  clock.advance(1_000);
  await settled();
  expect(sent).toEqual(['later']);
});

test('a renewal of an earlier connection has no effect', async () => {
  const { promise, resolve } = Promise.withResolvers<string>();
  const renewal = open(source(() => promise));
  renewal.start(100_000);
  clock.advance(80_000);
  renewal.start(undefined);
  resolve('late');
  await settled();
  expect(sent).toEqual([]);
  expect(clock.timerCount).toBe(0);
});
