// The turns of a kill storm: clients run conversations while processes are killed. All turns and their answers are kept here, and compared
// with the journal at the end: no turn may be lost or doubled.
import type { FakeOpenAI, WireRequest } from '@fame-fabric/agents/testing';
import type { Client, Conversation, TurnEvent } from '@fame-fabric/client';
import { isFabricError, newId } from '@fame-fabric/shared';
import { CHAT, lastUserText } from '../kit/stack.ts';
import { textOf } from '../kit/streamed-text.ts';
import { answerOf, lookSlowly, newNonce, nonceOf, slowly, stepOf } from './fabric.ts';
import type { Journal, JournalRow } from './journal-view.ts';

/** A turn that was sent, and its outcome at the client. */
interface SentTurn {
  conversationId: string;
  turnId: string;
  nonce: string;
  expected: string;
  outcome: 'completed' | 'TURN_CRASH_LOOP' | undefined;
}

/** Sums over all turns of a storm. */
export interface TurnCounts {
  /** Turns with an outcome. */
  turns: number;
  /** Turns that the agent gave up because it was killed in them too often. */
  givenUp: number;
  /** `restart` events at the clients, which take back text. */
  restarts: number;
  /** Number of times that a user sent a turn again, because a part of the fabric was away for longer than the client waits. */
  repeats: number;
  /** Turns that one process resumed from another. */
  resumed: number;
  /** Most model calls of one step of a turn. */
  mostAttempts: number;
}

export interface StormTurnsOptions {
  random: () => number;
  /** Time for which a user sends a turn again after errors that are temporary, in ms. @default 0, each error is a fault */
  repeatsForMs?: number;
}

/** Turns of one conversation, after which the next one begins. */
const TURNS_A_CONVERSATION = 25;
/** Earlier turns in a model call. */
const WINDOW = 3;
/** Pause of a user before a turn is sent again, in ms. */
const REPEAT_MS = 200;

export class StormTurns {
  /** Faults found; empty when nothing was lost or doubled. */
  readonly faults: string[] = [];
  readonly #random: () => number;
  readonly #repeatsForMs: number;
  readonly #sent: SentTurn[] = [];
  #restarts = 0;
  #repeats = 0;
  #isOver = false;

  constructor({ random, repeatsForMs = 0 }: StormTurnsOptions) {
    this.#random = random;
    this.#repeatsForMs = repeatsForMs;
  }

  /** Turns sent so far. */
  get count(): number {
    return this.#sent.length;
  }

  /** Turns sent again so far. */
  get repeats(): number {
    return this.#repeats;
  }

  /** Makes the running conversations end after their turns. */
  end(): void {
    this.#isOver = true;
  }

  /** The model's answer, slow enough that many calls are in flight at any moment. */
  respond(request: WireRequest) {
    const users = request.messages.filter(({ role }) => role === 'user').map(({ content }) => content);
    if (new Set(users).size !== users.length)
      this.faults.push(`a model call has a message twice: ${users.join()}`);
    if (users.length > WINDOW + 1) this.faults.push(`a model call has ${users.length} turns`);
    const usesTool = lastUserText(request).endsWith('look');
    return usesTool ? lookSlowly(request, this.#random) : slowly(plainAnswer(nonceOf(request)), this.#random);
  }

  /** Runs one conversation after the other with the agent at `address`. Resolves after `end`. `onTurn` is called after each turn. */
  async run(client: Client, onTurn: () => void = () => {}, address = CHAT): Promise<void> {
    while (!this.#isOver) {
      const conversation = client.conversation(address, { maxHistoryLength: WINDOW });
      if (!(await this.#start(conversation))) return;
      let lastSeq = 0;
      for (let n = 0; n < TURNS_A_CONVERSATION && !this.#isOver; n++) {
        lastSeq = await this.#runTurn(conversation, lastSeq);
        onTurn();
      }
    }
  }

  // Retries while the agent is unreachable, which is not a fault.
  async #start(conversation: Conversation): Promise<boolean> {
    while (!this.#isOver) {
      try {
        await conversation.start();
        return true;
      } catch (error) {
        if (!isTemporary(error)) {
          this.faults.push(`a conversation did not start: ${String(error)}`);
          return false;
        }
        await pause(100);
      }
    }
    return false;
  }

  // Returns the cursor of the last event.
  async #runTurn(conversation: Conversation, seqBefore: number): Promise<number> {
    const turn = newTurn(conversation.id, this.#random);
    this.#sent.push(turn);
    const text = `nonce ${turn.nonce} with ${turn.expected.includes('look of') ? 'look' : 'none'}`;
    const events: TurnEvent[] = [];
    let lastSeq = seqBefore;
    const until = performance.now() + this.#repeatsForMs;
    for (;;) {
      try {
        const after = events.length > 0 ? lastSeq : 0;
        for await (const event of conversation.stream(text, { turnId: turn.turnId, after })) {
          const { seq = 0, type } = event;
          if (seq <= lastSeq)
            this.faults.push(`turn ${turn.turnId}: the cursor of a ${type} went from ${lastSeq} to ${seq}`);
          lastSeq = seq;
          if (type === 'restart') this.#restarts++;
          events.push(event);
        }
        turn.outcome = 'completed';
        break;
      } catch (error) {
        if (isFabricError(error, 'TURN_CRASH_LOOP')) {
          turn.outcome = 'TURN_CRASH_LOOP';
          return lastSeq;
        }
        if (!isTemporary(error) || performance.now() >= until) {
          this.faults.push(`turn ${turn.turnId}: the client received ${String(error)}`);
          return lastSeq;
        }
        this.#repeats++;
        await pause(REPEAT_MS);
      }
    }
    const done = events.at(-1);
    if (done?.type !== 'done' || done.text !== turn.expected) {
      this.faults.push(`turn ${turn.turnId}: the answer is ${JSON.stringify(done)}, not ${turn.expected}`);
    }
    if (textOf(events) !== turn.expected) {
      this.faults.push(`turn ${turn.turnId}: the streamed text is ${JSON.stringify(textOf(events))}`);
    }
    return lastSeq;
  }

  /** Compares the turns of the clients with the journal and with the requests that the model server received. */
  check(journal: Journal, model: FakeOpenAI): TurnCounts {
    const { faults } = this;
    let resumed = 0;
    let mostAttempts = 0;
    const byConversation = Map.groupBy(this.#sent, ({ conversationId }) => conversationId);
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
    const [violation] = model.violations;
    if (violation)
      faults.push(`the model server refused ${model.violations.length} requests: ${violation.message}`);
    checkRequests(journal, model, faults);
    return {
      turns: this.#sent.filter(({ outcome }) => outcome !== undefined).length,
      givenUp: this.#sent.filter(({ outcome }) => outcome === 'TURN_CRASH_LOOP').length,
      restarts: this.#restarts,
      repeats: this.#repeats,
      resumed,
      mostAttempts,
    };
  }
}

const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

/** True for an error after which the same request may succeed. No node serves the agent's address while all of its processes start. */
const isTemporary = (error: unknown): boolean =>
  isFabricError(error) && (error.retryable || error.code === 'NO_ROUTE');

function newTurn(conversationId: string, random: () => number): SentTurn {
  const nonce = newNonce();
  const expected = random() < 0.5 ? answerOf(nonce) : plainAnswer(nonce);
  return { conversationId, turnId: newId(), nonce, expected, outcome: undefined };
}

const plainAnswer = (nonce: string): string => `A plain answer to ${nonce}: ${'and so on, '.repeat(8)}done.`;

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
function checkRequests(journal: Journal, model: FakeOpenAI, faults: string[]): void {
  const calls = new Map<string, number>();
  for (const { body } of model.requests) {
    const key = `${nonceOf(body)} ${stepOf(body)}`;
    calls.set(key, (calls.get(key) ?? 0) + 1);
  }
  const recorded = journal.modelCalls();
  for (const [key, count] of calls) {
    if (count > (recorded.get(key) ?? 0))
      faults.push(`${count} model calls for ${key}, not all in the journal`);
  }
}
