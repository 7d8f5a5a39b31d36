// The kill storm: one process is killed repeatedly, at random moments, while turns of many conversations run.
import { seeded } from '@fame-fabric/agents/testing';
import { connect } from '@fame-fabric/client/node';
import type { PostgresServer } from '../kit/postgres.ts';
import { Fabric } from './fabric.ts';
import { StormTurns, type TurnCounts } from './storm-turns.ts';

export interface StormOptions {
  /** With `replica`, three processes serve the agent, and every fifth is paused for longer than its lease instead of killed. */
  victim: 'agent' | 'sentinel' | 'replica' | 'store';
  kills: number;
  /** Conversations that run turns at the same time. @default 50 */
  conversations?: number;
  /** Longest time between the start of a process and its end, in ms. Every second process lives until a turn has ended. */
  longestLifeMs: number;
  seed?: number;
  /** Time for which a user retries a turn after temporary errors, in ms. @default 0: each error is a fault */
  repeatsForMs?: number;
  onKill?: (count: number, turns: number) => void;
  /** PostgreSQL server of the agent. @default none, the agent has a SQLite file */
  server?: PostgresServer;
}

export interface StormReport extends TurnCounts {
  kills: number;
  conversations: number;
  /** Faults found; empty when nothing was lost or doubled. */
  faults: string[];
  seconds: number;
}

const REPLICAS = 3;
/** Every second process lives until a turn has ended. On a slow machine, the others may be killed before they serve. */
const LONG_LIFE = 2;
/** Pause of a replica, in ms: longer than its lease. */
const FREEZE_MS = 4_000;

export async function runStorm(options: StormOptions): Promise<StormReport> {
  const { victim, kills, conversations = 50, longestLifeMs } = options;
  const random = seeded(options.seed ?? 1);
  const beganAt = performance.now();
  const turns = new StormTurns({ random, repeatsForMs: options.repeatsForMs ?? 0 });
  const fabric = await Fabric.start({
    hasClient: false,
    replicas: victim === 'replica' ? REPLICAS : 1,
    respond: (request) => turns.respond(request),
    ...(options.server ? { server: options.server } : {}),
  });
  const client = await connect({ url: fabric.url, backoffMaxMs: 500 });
  let onTurn = (): void => {};
  const running = Promise.all(Array.from({ length: conversations }, () => turns.run(client, () => onTurn())));
  for (let count = 1; count <= kills; count++) {
    const turnEnds = new Promise<void>((resolve) => {
      onTurn = resolve;
    });
    await new Promise((resolve) => setTimeout(resolve, random() * longestLifeMs));
    if (count % LONG_LIFE === 0) await Promise.race([turnEnds, running]);
    if (victim === 'replica') await strike(fabric, Math.floor(random() * REPLICAS), count % 5 === 0);
    else await fabric.kill(victim);
    if (victim === 'agent') fabric.spawnAgent();
    else if (victim !== 'replica') await fabric.restart(victim);
    options.onKill?.(count, turns.count);
  }
  turns.end();
  await running;
  await client.close();
  const counts = turns.check(fabric.journal, fabric.model);
  await fabric.stop();
  const seconds = Math.round((performance.now() - beganAt) / 1000);
  return { kills, conversations, ...counts, faults: turns.faults, seconds };
}

/** Kills a replica and starts another one, or pauses it until others have its conversations. */
async function strike(fabric: Fabric, index: number, isPaused: boolean): Promise<void> {
  const replica = fabric.replicas[index]!;
  if (!isPaused) {
    await replica.kill();
    fabric.spawnReplica(index);
    return;
  }
  replica.child.kill('SIGSTOP');
  await new Promise((resolve) => setTimeout(resolve, FREEZE_MS));
  replica.child.kill('SIGCONT');
}
