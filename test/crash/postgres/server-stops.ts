// The power cut of a machine with PostgreSQL: the server stops at once at random moments during conversations, every second time
// together with the agent, and recovers from its log. Afterwards the journal must have every event that a client had received,
// except text that was still being streamed, and each client gets the rest of its answer.
import { seeded } from '@fame-fabric/agents/testing';
import type { PostgresServer } from '../../kit/postgres.ts';
import { Fabric } from '../fabric.ts';
import { answer, startClients } from '../power-cut.ts';

export interface ServerStopsReport {
  rounds: number;
  /** Conversations of which a client had received an event, summed over the rounds. */
  checked: number;
  /** Turns that ran at a stop. */
  interrupted: number;
  faults: string[];
}

/** Longest time between two stops, in ms. */
const LONGEST_LIFE_MS = 400;

export async function runServerStops(
  server: PostgresServer,
  options: { rounds: number; seed?: number },
): Promise<ServerStopsReport> {
  const { rounds, seed = 1 } = options;
  const random = seeded(seed);
  const report: ServerStopsReport = { rounds, checked: 0, interrupted: 0, faults: [] };
  const fabric = await Fabric.start({ hasClient: false, respond: answer, server });
  const clients = await startClients(fabric, report.faults);
  for (let round = 1; round <= rounds; round++) {
    await sleep(random() * LONGEST_LIFE_MS);
    while (![...clients.received.values()].some((log) => log.running)) await sleep(5);
    const isAgentKilled = round % 2 === 0;
    await Promise.all([server.stopNow(), isAgentKilled ? fabric.kill('agent') : undefined]);
    // Frames that the agent sent before the stop may still be on their way here.
    await sleep(20);
    const atStop = new Map([...clients.received].map(([id, log]) => [id, log.copy()]));
    fabric.journal.close();
    await server.resume();
    for (const [id, log] of atStop) {
      const events = fabric.journal.events(id);
      if (!events.every(({ seq }, index) => seq === index + 1)) report.faults.push(`${id} has gaps`);
      for (const fault of log.faults(events)) report.faults.push(`round ${round}, ${id}: ${fault}`);
      if (log.count > 0) report.checked++;
      if (log.running) report.interrupted++;
    }
    if (isAgentKilled) await fabric.restart('agent');
  }
  await clients.end();
  if (fabric.journal.integrity() !== 'ok') report.faults.push(fabric.journal.integrity());
  await fabric.stop();
  return report;
}

const sleep = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));
