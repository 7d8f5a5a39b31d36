// Retried turns: several clients send one turn again and again under one retry key, in conversations of their own and in a common one,
// while the agent and the sentinel are killed. All of them must get the one answer of one turn.
import { callTools, pieces, type ScriptStep, seeded, type WireRequest } from '@fame-fabric/agents/testing';
import type { Client } from '@fame-fabric/client';
import { connect } from '@fame-fabric/client/node';
import { newId } from '@fame-fabric/shared';
import { CHAT, pause } from '../kit/stack.ts';
import { answerOf, Fabric, nonceOf, secondText, stepOf } from './fabric.ts';

export interface RetryOptions {
  /** Requests of one turn; the first one has the count 0. */
  requests: number;
  rounds: number;
  seed?: number;
  onRound?: (round: number) => void;
}

export interface RetryReport {
  rounds: number;
  /** Answered requests. */
  answers: number;
  kills: number;
  resumed: number;
  /** Most model calls of one step of a turn. */
  mostAttempts: number;
  /** Empty if each key had one turn and all requests got its answer. */
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
  const fabric = await Fabric.start({ hasClient: false, respond: (request) => respond(request, random) });
  const clients = await Promise.all(
    Array.from({ length: CLIENTS }, () => connect({ url: fabric.url, backoffMaxMs: 500 })),
  );
  const report: RetryReport = {
    rounds,
    answers: 0,
    kills: 0,
    resumed: 0,
    mostAttempts: 0,
    faults: [],
    seconds: 0,
  };
  for (let round = 1; round <= rounds; round++) {
    await runRound(fabric, clients, options.requests, random, report);
    options.onRound?.(round);
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
  const nonce = newId().replace(/[^0-9A-Za-z]/g, 'x');
  const retryKey = `key of ${nonce}`;
  const common = newId();
  const opened = new Set<string>();
  const handles = Array.from({ length: requests }, (_, count) => {
    // The others are sent to a conversation of their own, as by a caller that starts again.
    const id = random() < 0.3 ? common : newId();
    const isResumed = opened.has(id);
    opened.add(id);
    const handle = clients[count % CLIENTS]!.conversation(CHAT, { id, isResumed });
    return { count, handle, isResumed };
  });
  await Promise.all(handles.filter(({ isResumed }) => !isResumed).map(({ handle }) => handle.start()));
  const after = (): Promise<void> => new Promise((resolve) => setTimeout(resolve, random() * WINDOW_MS));
  const expected = answerOf(nonce);
  const ask = async ({ count, handle }: (typeof handles)[number]): Promise<void> => {
    await after();
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
      await after();
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

/** Answers in pieces with pauses, so that the processes are killed in the middle of them. */
function respond(request: WireRequest, random: () => number) {
  const nonce = nonceOf(request);
  const slowly = (text: string): ScriptStep[] =>
    pieces(text, 24).flatMap((piece) => [pause(10 + random() * 80), piece]);
  const last = request.messages.at(-1);
  if (stepOf(request) === 2 && last?.role === 'tool') return slowly(secondText(nonce, last.content));
  const call = callTools({ name: 'look', arguments: { about: nonce }, id: `call_${nonce}` });
  return [...slowly(`Let me look first, ${nonce}.`), ...call.steps];
}
