// P3, short form. `npm run power-cut` cuts 200 times.
import { afterAll, expect, inject, test } from 'vitest';
import { PostgresServer } from '../kit/postgres.ts';
import { stopStack } from '../kit/stack.ts';
import { runServerStops } from './postgres/server-stops.ts';
import { runPowerCuts } from './power-cut.ts';

afterAll(stopStack);

test('P3: after a power cut the disk has every event that a client received, except streamed text, which is taken back', {
  timeout: 300_000,
  retry: 0,
}, async () => {
  const report = await runPowerCuts({ rounds: 20 });
  console.info(
    `P3: ${report.rounds} cuts, ${report.tornTails} with an unsynced tail, ${report.checked} conversations compared, ${report.continued} turns continued, ${report.takenBack} with text taken back`,
  );
  expect(report.faults).toEqual([]);
  expect(report.checked).toBeGreaterThan(100);
  expect(report.takenBack).toBeGreaterThan(20);
});

test.skipIf(inject('postgres').reason !== undefined)(
  'P3: after an immediate stop PostgreSQL has every event that a client received, except streamed text',
  { timeout: 300_000, retry: 0 },
  async () => {
    const server = await PostgresServer.start();
    const report = await runServerStops(server, { rounds: 8 }).finally(() => server.close());
    console.info(
      `P3 with PostgreSQL: ${report.rounds} stops, ${report.checked} conversations compared, ${report.interrupted} turns interrupted`,
    );
    expect(report.faults).toEqual([]);
    expect(report.checked).toBeGreaterThan(40);
    expect(report.interrupted).toBeGreaterThan(4);
  },
);
