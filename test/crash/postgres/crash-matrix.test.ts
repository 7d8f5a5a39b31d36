// The crash matrix with conversations in PostgreSQL: the agent is killed, and the server stopped at once, at every point of a turn. The
// server recovers from its log, as after a power cut.
import { afterAll, beforeAll, describe, inject, test } from 'vitest';
import { PostgresServer } from '../../kit/postgres.ts';
import { stopStack } from '../../kit/stack.ts';
import { Fabric } from '../fabric.ts';
import { crashRound, POINTS } from '../matrix.ts';

describe.skipIf(inject('postgres').reason !== undefined)('with conversations in PostgreSQL', () => {
  let server: PostgresServer;
  let fabric: Fabric;
  beforeAll(async () => {
    server = await PostgresServer.start();
    fabric = await Fabric.start({ server });
  });
  afterAll(async () => {
    await fabric?.stop();
    await stopStack();
    await server?.close();
  });

  describe.each(POINTS)('killed at: %s', (point) => {
    // No retry: one lost turn is a failure.
    test.each(['agent', 'store'] as const)('%s', { retry: 0 }, async (victim) => {
      const { recoveryMs } = await crashRound(fabric, victim, point);
      console.info(`${victim} killed at "${point}": complete answer ${Math.round(recoveryMs)} ms later`);
    });
  });
});
