// The kill storm: one process is killed repeatedly, at random moments, while turns of many conversations run. All turns and
// their answers are kept here, and compared with the journal at the end: no turn may be lost or doubled.
import { seeded, type WireRequest } from '@fame-fabric/agents/testing';
import type { TurnEvent } from '@fame-fabric/client';
import { connect } from '@fame-fabric/client/node';
import { isFabricError, newId } from '@fame-fabric/shared';
import type { PostgresServer } from '../kit/postgres.ts';
import { CHAT, lastUserText } from '../kit/stack.ts';
import { textOf } from '../kit/streamed-text.ts';
import { answerOf, Fabric, lookSlowly, newNonce, nonceOf, slowly, stepOf } from './fabric.ts';
import type { JournalRow } from './journal-view.ts';

export interface StormOptions {
  /** With `replica`, three processes serve the agent, and every fifth is paused for longer than its lease instead of killed. */
  victim: 'agent' | 'sentinel' | 'replica' | 'store';
  kills: number;
  /** Conversations that run turns at the same time. @default 50 */
  conversations?: number;
  /** Longest time between the start of a process and its end, in ms. */
  longestLifeMs: number;
  seed?: number;
  onKill?: (count: number, turns: number) => void;
  /** PostgreSQL server of the agent. @default none, the agent has a SQLite file */
  server?: PostgresServer;
}

export interface StormReport {
  kills: number;
  conversations: number;
  /** Turns with an outcome. */
  turns: number;
  /** Turns that the agent gave up because it was killed in them too often. */
  givenUp: number;
  /** `restart` events at the clients, which take back text. */
  restarts: number;
  /** Turns that one process resumed from another. */
  resumed: number;
  /** Most model calls of one step of a turn. */
  mostAttempts: number;
  /** Faults found; empty when nothing was lost or doubled. */
  faults: string[];
  seconds: number;
}

/** A turn that was sent, and its outcome at the client. */
interface SentTurn {
  conversationId: string;
  turnId: string;
  nonce: string;
  expected: string;
  outcome: 'completed' | 'TURN_CRASH_LOOP' | undefined;
}

const REPLICAS = 3;
/** Pause of a replica, in ms: longer than its lease. */
const FREEZE_MS = 4_000;
/** Turns of one conversation, after which the next one begins. */
const TURNS_A_CONVERSATION = 25;
/** Earlier turns in a model call. */
const WINDOW = 3;

export async function runStorm(options: StormOptions): Promise<StormReport> {
  const { victim, kills, conversations = 50, longestLifeMs } = options;
  const random = seeded(options.seed ?? 1);
  const faults: string[] = [];
  const sentTurns: SentTurn[] = [];
  const beganAt = performance.now();
  const fabric = await Fabric.start({
    hasClient: false,
    replicas: victim === 'replica' ? REPLICAS : 1,
    respond: (request) => respond(request, random, faults),
    ...(options.server ? { server: options.server } : {}),
  });
  const client = await connect({ url: fabric.url, backoffMaxMs: 500 });
  let isOver = false;
  let restarts = 0;

  const runConversations = async (): Promise<void> => {
    while (!isOver) {
      const conversation = client.conversation(CHAT, { maxHistoryLength: WINDOW });
      if (
        !(await startConversation(
          () => conversation.start(),
          () => isOver,
          faults,
        ))
      )
        return;
      let lastSeq = 0;
      for (let n = 0; n < TURNS_A_CONVERSATION && !isOver; n++) {
        const turn = newTurn(conversation.id, random);
        sentTurns.push(turn);
        const events: TurnEvent[] = [];
        try {
          const text = `nonce ${turn.nonce} with ${turn.expected.includes('look of') ? 'look' : 'none'}`;
          for await (const event of conversation.stream(text, { turnId: turn.turnId })) {
            const { seq = 0, type } = event;
            if (seq <= lastSeq)
              faults.push(`turn ${turn.turnId}: the cursor of a ${type} went from ${lastSeq} to ${seq}`);
            lastSeq = seq;
            if (type === 'restart') restarts++;
            events.push(event);
          }
        } catch (error) {
          if (!isFabricError(error, 'TURN_CRASH_LOOP')) {
            faults.push(`turn ${turn.turnId}: the client received ${String(error)}`);
            continue;
          }
          turn.outcome = 'TURN_CRASH_LOOP';
          continue;
        }
        turn.outcome = 'completed';
        const done = events.at(-1);
        if (done?.type !== 'done' || done.text !== turn.expected) {
          faults.push(`turn ${turn.turnId}: the answer is ${JSON.stringify(done)}, not ${turn.expected}`);
        }
        if (textOf(events) !== turn.expected) {
          faults.push(`turn ${turn.turnId}: the streamed text is ${JSON.stringify(textOf(events))}`);
        }
      }
    }
  };

  const running = Array.from({ length: conversations }, runConversations);
  for (let count = 1; count <= kills; count++) {
    await new Promise((resolve) => setTimeout(resolve, random() * longestLifeMs));
    if (victim === 'replica') await strike(fabric, Math.floor(random() * REPLICAS), count % 5 === 0);
    else await fabric.kill(victim);
    if (victim === 'agent') fabric.spawnAgent();
    else if (victim !== 'replica') await fabric.restart(victim);
    options.onKill?.(count, sentTurns.length);
  }
  isOver = true;
  await Promise.all(running);
  await client.close();
  const checked = check(fabric, sentTurns, faults);
  await fabric.stop();
  return {
    kills,
    conversations,
    turns: sentTurns.filter(({ outcome }) => outcome !== undefined).length,
    givenUp: sentTurns.filter(({ outcome }) => outcome === 'TURN_CRASH_LOOP').length,
    restarts,
    ...checked,
    faults,
    seconds: Math.round((performance.now() - beganAt) / 1000),
  };
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

function newTurn(conversationId: string, random: () => number): SentTurn {
  const nonce = newNonce();
  const expected = random() < 0.5 ? answerOf(nonce) : plainAnswer(nonce);
  return { conversationId, turnId: newId(), nonce, expected, outcome: undefined };
}

const plainAnswer = (nonce: string): string => `A plain answer to ${nonce}: ${'and so on, '.repeat(8)}done.`;

/** Answers slowly, so that many calls are in flight at any moment. */
function respond(request: WireRequest, random: () => number, faults: string[]) {
  const users = request.messages.filter(({ role }) => role === 'user').map(({ content }) => content);
  if (new Set(users).size !== users.length) faults.push(`a model call has a message twice: ${users.join()}`);
  if (users.length > WINDOW + 1) faults.push(`a model call has ${users.length} turns`);
  const usesTool = lastUserText(request).endsWith('look');
  return usesTool ? lookSlowly(request, random) : slowly(plainAnswer(nonceOf(request)), random);
}

/** Starts a conversation, retrying while the agent is unreachable, which is not a fault. Returns `false` if it could not. */
async function startConversation(
  start: () => Promise<void>,
  isOver: () => boolean,
  faults: string[],
): Promise<boolean> {
  while (!isOver()) {
    try {
      await start();
      return true;
    } catch (error) {
      if (!isFabricError(error) || !error.retryable) {
        faults.push(`a conversation did not start: ${String(error)}`);
        return false;
      }
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
  }
  return false;
}

/** Compares the clients' turns with the journal. */
function check(fabric: Fabric, sentTurns: readonly SentTurn[], faults: string[]) {
  const { journal } = fabric;
  let resumed = 0;
  let mostAttempts = 0;
  const byConversation = Map.groupBy(sentTurns, ({ conversationId }) => conversationId);
  for (const [id, turns] of byConversation) {
    const events = journal.events(id);
    if (!events.every(({ seq }, index) => seq === index + 1)) faults.push(`conversation ${id} has gaps`);
    const own = Map.groupBy(events, ({ turnId }) => turnId ?? '');
    const accepted = events.filter(({ kind }) => kind === 'turn_accepted').map(({ turnId }) => turnId);
    const order = turns.map(({ turnId }) => turnId);
    if (accepted.join() !== order.join()) {
      faults.push(
        `conversation ${id} holds ${accepted.length} turns, not the ${order.length} in their order`,
      );
    }
    for (const turn of turns) {
      const seen = checkTurn(turn, own.get(turn.turnId) ?? [], faults);
      if (seen.resumes > 0) resumed++;
      mostAttempts = Math.max(mostAttempts, seen.attempts);
    }
  }
  if (journal.integrity() !== 'ok') faults.push(`integrity_check: ${journal.integrity()}`);
  const [violation] = fabric.model.violations;
  if (violation)
    faults.push(`the model server refused ${fabric.model.violations.length} requests: ${violation.message}`);
  checkRequests(fabric, faults);
  return { resumed, mostAttempts };
}

function checkTurn(turn: SentTurn, events: readonly JournalRow[], faults: string[]) {
  const of = (kind: RegExp): JournalRow[] => events.filter((event) => kind.test(event.kind));
  const outcomes = of(/^turn_(completed|failed|cancelled)$/);
  const resumes = of(/^turn_resumed$/).length;
  const fault = (what: string): void => void faults.push(`turn ${turn.turnId}: ${what}`);
  if (of(/^turn_accepted$/).length !== 1) fault(`accepted ${of(/^turn_accepted$/).length} times`);
  if (outcomes.length !== 1) fault(`${outcomes.length} outcomes`);
  if (turn.outcome === 'completed' && outcomes[0]?.body.text !== turn.expected)
    fault('its answer in the journal is wrong');
  if (turn.outcome === 'TURN_CRASH_LOOP' && resumes < 2) fault(`given up after ${resumes} resumes`);
  let attempts = 0;
  for (const step of [1, 2]) {
    const called = of(/^model_called$/).filter(({ body }) => body.step === step).length;
    attempts = Math.max(attempts, called);
    if (called > 1 + resumes) fault(`step ${step} called the model ${called} times with ${resumes} resumes`);
    const replied = of(/^model_replied$/).filter(({ body }) => body.step === step).length;
    if (replied > 1) fault(`step ${step} was answered ${replied} times`);
  }
  if (of(/^tool_finished$/).length > 1) fault('its tool finished twice');
  return { resumes, attempts };
}

/** Checks that every model call is in the journal. */
function checkRequests(fabric: Fabric, faults: string[]): void {
  const calls = new Map<string, number>();
  for (const { body } of fabric.model.requests) {
    const key = `${nonceOf(body)} ${stepOf(body)}`;
    calls.set(key, (calls.get(key) ?? 0) + 1);
  }
  const recorded = fabric.journal.modelCalls();
  for (const [key, count] of calls) {
    if (count > (recorded.get(key) ?? 0))
      faults.push(`${count} model calls for ${key}, not all in the journal`);
  }
}
