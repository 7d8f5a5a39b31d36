// P1, P2 and a part of K2, short form: 0 lost and 0 doubled turns while the agent, the sentinel, or one of three replicas of the agent
// is killed repeatedly. Some replicas are paused for longer than their lease instead.
// `npm run kill-storm` kills it a thousand times.
import { afterAll, beforeAll, describe, expect, inject, test } from 'vitest';
import { PostgresServer } from '../kit/postgres.ts';
import { stopStack } from '../kit/stack.ts';
import { runStorm, type StormOptions } from './storm.ts';

afterAll(stopStack);

test.each([
  { promise: 'P1', victim: 'agent', kills: 25, longestLifeMs: 1_500 },
  { promise: 'P2', victim: 'sentinel', kills: 10, longestLifeMs: 2_000 },
  { promise: 'K2', victim: 'replica', kills: 15, longestLifeMs: 1_500 },
] as const)(
  '$promise: 0 lost and 0 doubled turns in $kills kill -9 of the $victim, with 50 conversations in flight',
  { timeout: 180_000, retry: 0 },
  async ({ promise, ...options }) => {
    await runAndCheck(promise, options);
  },
);

describe.skipIf(inject('postgres').reason !== undefined)('with conversations in PostgreSQL', () => {
  let server: PostgresServer;
  beforeAll(async () => {
    server = await PostgresServer.start();
  });
  afterAll(() => server?.close());

  test.each([
    { promise: 'P1', victim: 'agent', kills: 10, longestLifeMs: 1_500 },
    { promise: 'P2', victim: 'store', kills: 10, longestLifeMs: 2_000 },
    { promise: 'K2', victim: 'replica', kills: 10, longestLifeMs: 1_500 },
  ] as const)(
    '$promise: 0 lost and 0 doubled turns in $kills kills of the $victim with 50 conversations in flight',
    { timeout: 180_000, retry: 0 },
    async ({ promise, ...options }) => {
      await runAndCheck(`${promise} with PostgreSQL`, { ...options, server });
    },
  );
});

async function runAndCheck(promise: string, options: StormOptions): Promise<void> {
  const report = await runStorm(options);
  console.info(
    `${promise}: ${report.kills} kills, ${report.turns} turns, ${report.resumed} resumed, ${report.restarts} texts taken back, ${report.givenUp} given up, at most ${report.mostAttempts} model calls a step, ${report.seconds} s`,
  );
  expect(report.faults).toEqual([]);
  expect(report.turns).toBeGreaterThan(report.conversations);
  if (options.victim === 'agent' || options.victim === 'replica') expect(report.restarts).toBeGreaterThan(0);
  expect(report.mostAttempts).toBeLessThanOrEqual(3);
}
