// X7: kills an agent process and restarts it at once, several times. Meanwhile a caller calls it and repeats calls that failed with
// a retryable code, as docs/errors.md advises.
import { setTimeout as delay } from 'node:timers/promises';
import { isFabricError, type Link } from '@fame-fabric/shared';
import { connectLink } from './our-node.ts';
import type { Proc } from './processes.ts';

/** Longest time in which a caller must get its answer, in ms. */
const PATIENCE_MS = 40_000;

export interface Restarts {
  /** Admission URL of the sentinel. */
  url: string;
  /** Address of an agent with the operation `add`. */
  address: string;
  rounds: number;
  /** Starts the agent and waits until it serves its address. @throws when it ends before */
  start(round: number): Promise<Proc>;
}

export interface RestartReport {
  rounds: number;
  calls: number;
  repeats: number;
  /** Longest time from a kill to the next answer, in ms. */
  longestGapMs: number;
}

/** Kills and restarts the agent. @throws the first error of a caller that is not retryable, or of an agent */
export async function restartAgent({ url, address, rounds, start }: Restarts): Promise<RestartReport> {
  const report = { rounds: 0, calls: 0, repeats: 0, longestGapMs: 0 };
  const link = await connectLink(url);
  let agent = await start(0);
  let isDone = false;
  const caller = (async () => {
    while (!isDone) await answer(link, address, report);
  })();
  // Observed at the end; an early failure must not be an unhandled rejection.
  caller.catch(() => {});
  for (let round = 1; round <= rounds; round++) {
    await answer(link, address, report);
    const killedAt = performance.now();
    await agent.kill();
    const [next] = await Promise.all([
      start(round),
      answer(link, address, report).then(() => {
        report.longestGapMs = Math.max(report.longestGapMs, Math.round(performance.now() - killedAt));
      }),
    ]);
    agent = next;
    report.rounds = round;
  }
  isDone = true;
  await caller;
  // The address is not lost: one call without a repeat.
  await link.call(address, 'add', { args: [2, 3] });
  await link.close();
  await agent.kill();
  return report;
}

async function answer(link: Link, address: string, report: RestartReport): Promise<void> {
  const deadline = performance.now() + PATIENCE_MS;
  report.calls++;
  for (;;) {
    try {
      const sum = await link.call(address, 'add', { args: [2, 3] });
      if (sum !== 5) throw new Error(`the answer is ${JSON.stringify(sum)}`);
      await delay(20);
      return;
    } catch (error) {
      if (!isFabricError(error) || !error.retryable || performance.now() > deadline) throw error;
      report.repeats++;
      await delay(100);
    }
  }
}
