// K2 to K4, short form: no turn is lost or doubled while the processes of a cluster are killed and paused, and their connections are
// interrupted. Then JetStream loses its data, and all sentinels and agents restart in order without a failed turn. The long form is
// `npm run cluster-storm`, with a thousand kills.
import { afterAll, describe, expect, test } from 'vitest';
import { NATS_SERVER } from '../kit/nats.ts';
import { noPostgres } from '../kit/postgres.ts';
import { stopStack } from '../kit/stack.ts';
import { runClusterStorm } from './cluster-storm.ts';

const KILLS = 36;
/** Time limit for the whole service after a loss, in ms. */
const BACK_WITHIN_MS = 30_000;

afterAll(stopStack);

describe.skipIf(!NATS_SERVER.isUsable || noPostgres() !== undefined)('a cluster', () => {
  test(`K2 to K4: ${KILLS} kills, pauses and partitions of any process lose no turn and double none`, {
    timeout: 300_000,
    retry: 0,
  }, async () => {
    const report = await runClusterStorm({
      kills: KILLS,
      meanLifeMs: 1_000,
      natsKills: 4,
      databaseStops: 4,
      pauses: 8,
      longestPauseMs: 6_000,
      partitions: 12,
      longestPartitionMs: 4_000,
      conversations: 24,
    });
    const { faults, disruptions, ...figures } = report;
    console.info(`K2: ${JSON.stringify(disruptions)} ${JSON.stringify(figures)}`);
    expect(faults).toEqual([]);
    expect(figures.turns).toBeGreaterThan(100);
    expect(figures.mostAttempts).toBeLessThanOrEqual(3);
    expect(Math.max(figures.recoveredMs, figures.wipedMs)).toBeLessThan(BACK_WITHIN_MS);
    expect(figures).toMatchObject({ restartRepeats: 0, restartExits: [] });
  });
});
