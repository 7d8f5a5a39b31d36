// Retried turns: several clients send one turn repeatedly under one retry key, in separate conversations and in a shared one, while
// the agent and the sentinel are killed. Every request must get the answer of the same turn.
import { seeded } from '@fame-fabric/agents/testing';
import type { Client } from '@fame-fabric/client';
import { connect } from '@fame-fabric/client/node';
import { newId } from '@fame-fabric/shared';
import { CHAT } from '../kit/stack.ts';
import { answerOf, Fabric, lookSlowly, newNonce } from './fabric.ts';

export interface RetryOptions {
  /** Requests of one turn; the first one has the count 0. */
  requests: number;
  rounds: number;
  seed?: number;
}

export interface RetryReport {
  /** Answered requests. */
  answers: number;
  kills: number;
  resumed: number;
  /** Most model calls of one step of a turn. */
  mostAttempts: number;
  /** Empty if each key had one turn, and every request got its answer. */
  faults: string[];
  seconds: number;
}

const CLIENTS = 3;
/** Time in which the requests are sent and the processes killed, in ms. */
const WINDOW_MS = 1_500;
/** Fewer than the number of resumes without progress at which a turn is given up. */
const MAX_AGENT_KILLS = 2;

export async function runRetries(options: RetryOptions): Promise<RetryReport> {
  const { rounds } = options;
  const random = seeded(options.seed ?? 1);
  const beganAt = performance.now();
  const fabric = await Fabric.start({ hasClient: false, respond: (request) => lookSlowly(request, random) });
  const clients = await Promise.all(
    Array.from({ length: CLIENTS }, () => connect({ url: fabric.url, backoffMaxMs: 500 })),
  );
  const report: RetryReport = {
    answers: 0,
    kills: 0,
    resumed: 0,
    mostAttempts: 0,
    faults: [],
    seconds: 0,
  };
  for (let round = 0; round < rounds; round++) {
    await runRound(fabric, clients, options.requests, random, report);
  }
  await Promise.all(clients.map((client) => client.close()));
  if (fabric.journal.integrity() !== 'ok')
    report.faults.push(`integrity_check: ${fabric.journal.integrity()}`);
  const [violation] = fabric.model.violations;
  if (violation) report.faults.push(`the model server refused a request: ${violation.message}`);
  await fabric.stop();
  report.seconds = Math.round((performance.now() - beganAt) / 1000);
  return report;
}

async function runRound(
  fabric: Fabric,
  clients: readonly Client[],
  requests: number,
  random: () => number,
  report: RetryReport,
): Promise<void> {
  const nonce = newNonce();
  const retryKey = `key of ${nonce}`;
  const shared = newId();
  const opened = new Set<string>();
  const handles = Array.from({ length: requests }, (_, count) => {
    // A caller that starts again has a new conversation.
    const id = random() < 0.3 ? shared : newId();
    const isResumed = opened.has(id);
    opened.add(id);
    const handle = clients[count % CLIENTS]!.conversation(CHAT, { id, isResumed });
    return { count, handle, isResumed };
  });
  await Promise.all(handles.filter(({ isResumed }) => !isResumed).map(({ handle }) => handle.start()));
  const randomDelay = (): Promise<void> =>
    new Promise((resolve) => setTimeout(resolve, random() * WINDOW_MS));
  const expected = answerOf(nonce);
  const ask = async ({ count, handle }: (typeof handles)[number]): Promise<void> => {
    await randomDelay();
    try {
      const text = await handle.ask(`nonce ${nonce} with look`, { retryKey, retryCount: count });
      report.answers += 1;
      if (text !== expected) report.faults.push(`request ${count} of ${nonce} got ${JSON.stringify(text)}`);
    } catch (error) {
      report.faults.push(`request ${count} of ${nonce} failed: ${String(error)}`);
    }
  };
  const kill = async (victim: 'agent' | 'sentinel', times: number): Promise<void> => {
    for (let n = 0; n < times; n++) {
      await randomDelay();
      await fabric.kill(victim);
      report.kills += 1;
      await fabric.restart(victim);
    }
  };
  const asking = Promise.all(handles.map(ask));
  await Promise.all([
    kill('agent', 1 + Math.floor(random() * MAX_AGENT_KILLS)),
    kill('sentinel', Math.floor(random() * 2)),
  ]);
  await asking;
  fabric.journal.close();
  check(fabric, nonce, retryKey, report);
}

function check(fabric: Fabric, nonce: string, retryKey: string, report: RetryReport): void {
  const turns = fabric.journal.turnsOfKey(retryKey);
  if (turns.length !== 1) report.faults.push(`${turns.length} turns have the key of ${nonce}`);
  for (const { conversationId, turnId } of turns) {
    const events = fabric.journal.events(conversationId).filter((event) => event.turnId === turnId);
    const count = (kind: string): number => events.filter((event) => event.kind === kind).length;
    const resumes = count('turn_resumed');
    report.resumed += resumes > 0 ? 1 : 0;
    if (count('turn_completed') !== 1) report.faults.push(`the turn of ${nonce} has no outcome`);
    if (count('tool_finished') !== 1)
      report.faults.push(`the tool of ${nonce} finished ${count('tool_finished')} times`);
    for (const step of [1, 2] as const) {
      const asked = fabric.requests(nonce, step);
      report.mostAttempts = Math.max(report.mostAttempts, asked);
      if (asked < 1 || asked > 1 + resumes)
        report.faults.push(`step ${step} of ${nonce} asked the model ${asked} times in ${resumes} resumes`);
    }
  }
}
