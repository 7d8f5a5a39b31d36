// Keeps the conversations of an agent and runs their turns: one outcome for each turn id, one turn at a time in each
// conversation, everything bounded. What a turn does is its TurnRunner's business, who may call is the agent's.
import {
  type Clock,
  FabricError,
  isFabricError,
  type Logger,
  newId,
  silentLog,
  systemClock,
} from '@fame-fabric/shared';
import {
  CONVERSATION_LIMITS,
  type ConversationEvent,
  type ConversationOptions,
  type ConversationState,
  errorOfFault,
  faultOf,
  type TurnOutcome,
} from './conversation.ts';
import { LiveTurn } from './conversation-turn.ts';
import { type FailedTurnRule, History } from './history.ts';
import { Inbox, type InboxOptions, type InboxTurn } from './inbox.ts';
import type { ModelMessage, Usage } from './model.ts';
import { noUsage, type TurnEvent, type TurnResult, type TurnRunner } from './turn.ts';

export interface HostDeps {
  turns: TurnRunner;
  clock?: Clock;
  log?: Logger;
}

export interface HostOptions extends InboxOptions {
  /** How long one turn may run, in ms. @default 600_000 */
  turnTimeoutMs?: number;
  /** How long a cancelled turn may take to stop by itself, in ms. @default 2_000 */
  graceMs?: number;
  /** What a failed turn leaves in the history. @default 'auto' */
  failedTurns?: FailedTurnRule;
  /** Tokens of the window. @default unlimited */
  maxWindowTokens?: number;
}

export interface StartRequest {
  id: string;
  options: ConversationOptions;
  /** The id of the call; the same call again is answered again. */
  callId: string;
}

export interface TurnRequest {
  conversationId: string;
  userMessage: string;
  /** The same id again is the same turn. */
  turnId: string;
}

/** What people are shown about a conversation. */
export interface ConversationView {
  readonly id: string;
  readonly state: ConversationState;
  readonly options: ConversationOptions;
  /** When it changed last, in ms since the epoch. */
  readonly changedAt: number;
  readonly turns: number;
  readonly usage: Usage;
}

interface Conversation {
  id: string;
  options: ConversationOptions;
  startCallId: string;
  history: History;
  runnerState: unknown;
  state: ConversationState;
  seq: number;
  turns: Map<string, LiveTurn>;
  running: LiveTurn | undefined;
  changedAt: number;
  turnCount: number;
  usage: Usage;
  /** Called when the conversation has ended. */
  onEnd: Set<() => void>;
}

export class ConversationHost {
  readonly #deps: Required<HostDeps>;
  readonly #options: HostOptions;
  readonly #inbox: Inbox;
  readonly #conversations = new Map<string, Conversation>();

  constructor(deps: HostDeps, options: HostOptions = {}) {
    this.#deps = { clock: systemClock, log: silentLog, ...deps };
    this.#options = options;
    this.#inbox = new Inbox(options);
  }

  get turns(): TurnRunner {
    return this.#deps.turns;
  }

  /** @throws {CONVERSATION_EXISTS} when another call started one with that id */
  async start(request: StartRequest): Promise<ConversationView> {
    const existing = this.#conversations.get(request.id);
    if (existing) {
      if (existing.startCallId === request.callId) return view(existing);
      throw new FabricError('CONVERSATION_EXISTS', 'A conversation with that id exists already.');
    }
    const { options } = request;
    const conversation: Conversation = {
      id: request.id,
      options,
      startCallId: request.callId,
      history: new History({
        system: options.systemPrompt,
        maxTurns: options.maxHistoryLength,
        ...(this.#options.maxWindowTokens ? { maxTokens: this.#options.maxWindowTokens } : {}),
      }),
      runnerState: undefined,
      state: 'working',
      seq: 1,
      turns: new Map(),
      running: undefined,
      changedAt: this.#deps.clock.now(),
      turnCount: 0,
      usage: noUsage(),
      onEnd: new Set(),
    };
    this.#conversations.set(request.id, conversation);
    return view(conversation);
  }

  /**
   * Takes a turn, or joins the one with that id. What it returns is the turn; its `outcome` and `follow` tell the rest.
   * @throws {CONVERSATION_UNKNOWN | TURN_CONFLICT | TURN_IN_PROGRESS | TURN_QUEUE_FULL} before anything was taken
   */
  async turn(request: TurnRequest): Promise<LiveTurn> {
    const conversation = this.#open(request.conversationId);
    const known = conversation.turns.get(request.turnId);
    if (known) {
      if (known.userMessage !== request.userMessage) {
        throw new FabricError('TURN_CONFLICT', 'This turn id belongs to another message.');
      }
      return known;
    }
    const policy = conversation.options.turnPolicy;
    this.#inbox.check(conversation.id, policy);
    const turn = new LiveTurn({ id: request.turnId, userMessage: request.userMessage });
    conversation.turns.set(turn.id, turn);
    const entry: InboxTurn = {
      run: () => this.#run(conversation, turn),
      cancel: (reason) => {
        turn.abort(reason);
        if (this.#inbox.withdraw(conversation.id, entry))
          this.#end(conversation, turn, reason, '', noUsage());
      },
    };
    this.#inbox.put(conversation.id, entry, policy);
    return turn;
  }

  /** Cancels a turn, by default the one that runs. `false` when there was none. @throws {CONVERSATION_UNKNOWN} */
  async cancelTurn(conversationId: string, turnId?: string): Promise<boolean> {
    const conversation = this.#open(conversationId);
    const turn = turnId === undefined ? conversation.running : conversation.turns.get(turnId);
    if (!turn || turn.ended) return false;
    turn.abort(new FabricError('TURN_CANCELLED', 'The turn was cancelled.'));
    await turn.outcome;
    return true;
  }

  /** Ends a conversation and whatever runs in it. Twice, or with an unknown id, does nothing. */
  async end(conversationId: string, state: 'completed' | 'canceled' = 'completed'): Promise<void> {
    const conversation = this.#conversations.get(conversationId);
    if (conversation?.state !== 'working') return;
    conversation.state = state;
    conversation.changedAt = this.#deps.clock.now();
    const reason = new FabricError('TURN_CANCELLED', 'The conversation was ended.');
    const open = [...conversation.turns.values()].filter((turn) => !turn.ended);
    for (const turn of open) turn.abort(reason);
    await Promise.all(open.map((turn) => turn.outcome));
    for (const tell of conversation.onEnd) tell();
    conversation.onEnd.clear();
  }

  /** Waits for the end of a conversation; `false` when `signal` aborted first. @throws {CONVERSATION_UNKNOWN} */
  async whenEnded(conversationId: string, signal: AbortSignal): Promise<boolean> {
    const conversation = this.#conversations.get(conversationId);
    if (!conversation) throw unknown();
    if (conversation.state !== 'working') return true;
    if (signal.aborted) return false;
    return new Promise((resolve) => {
      const leave = (): void => {
        conversation.onEnd.delete(tell);
        resolve(false);
      };
      const tell = (): void => {
        signal.removeEventListener('abort', leave);
        resolve(true);
      };
      conversation.onEnd.add(tell);
      signal.addEventListener('abort', leave, { once: true });
    });
  }

  /** @throws {CONVERSATION_UNKNOWN} when there is none with that id, ended ones included */
  async look(conversationId: string): Promise<ConversationView> {
    const conversation = this.#conversations.get(conversationId);
    if (!conversation) throw unknown();
    return view(conversation);
  }

  /** The remembered messages, oldest first. @throws {CONVERSATION_UNKNOWN} */
  async messages(conversationId: string): Promise<ModelMessage[]> {
    const conversation = this.#conversations.get(conversationId);
    if (!conversation) throw unknown();
    return conversation.history.turns.flat();
  }

  /** Ends what runs. */
  async close(): Promise<void> {
    const reason = new FabricError('TURN_CANCELLED', 'The agent stopped.');
    const open = [...this.#conversations.values()].flatMap((one) => [...one.turns.values()]);
    for (const turn of open) turn.abort(reason);
    await Promise.all(open.map((turn) => turn.outcome));
  }

  #open(conversationId: string): Conversation {
    const conversation = this.#conversations.get(conversationId);
    if (conversation?.state !== 'working') throw unknown();
    return conversation;
  }

  async #run(conversation: Conversation, turn: LiveTurn): Promise<void> {
    const { clock, turns } = this.#deps;
    const limitMs = this.#options.turnTimeoutMs ?? 600_000;
    const deadline = clock.after(limitMs, () =>
      turn.abort(new FabricError('TURN_TIMEOUT', `The turn ran longer than ${limitMs} ms.`)),
    );
    conversation.running = turn;
    const draft = conversation.history.begin(turn.userMessage);
    const progress = { text: '', usage: noUsage(), started: new Set<string>(), isOver: false };
    try {
      const events = turns.run({
        conversationId: conversation.id,
        turnId: turn.id,
        userMessage: turn.userMessage,
        draft,
        state: conversation.runnerState,
        signal: turn.signal,
      });
      const result = await this.#orAborted(this.#follow(conversation, turn, events, progress), turn.signal);
      draft.commit(result.messages);
      if (result.state !== undefined) conversation.runnerState = result.state;
      this.#complete(conversation, turn, result);
    } catch (caught) {
      const error = this.#errorOf(caught, turn);
      draft.interrupt(progress.text, progress.started, this.#options.failedTurns);
      this.#end(conversation, turn, error, progress.text, progress.usage);
    } finally {
      progress.isOver = true;
      deadline.stop();
      conversation.running = undefined;
    }
  }

  async #follow(
    conversation: Conversation,
    turn: LiveTurn,
    events: AsyncGenerator<TurnEvent, TurnResult, void>,
    progress: { text: string; usage: Usage; started: Set<string>; isOver: boolean },
  ): Promise<TurnResult> {
    for (;;) {
      const next = await events.next();
      if (progress.isOver) {
        // The turn was given up while its runner did not listen; nothing it does now counts.
        await events.return(undefined as never);
        throw turn.signal.reason;
      }
      if (next.done) return next.value;
      const event = next.value;
      if (event.type === 'text') {
        progress.text += event.text;
        for (const text of pieces(event.text)) {
          turn.publish({ type: 'text', seq: ++conversation.seq, turn_id: turn.id, text });
        }
      } else if (event.type === 'tool_started') {
        progress.started.add(event.callId);
        const { callId: id, name } = event;
        turn.publish({ type: 'tool_call', seq: ++conversation.seq, turn_id: turn.id, id, name });
      } else if (event.type === 'tool_finished') {
        const { callId: id, name, ok } = event;
        turn.publish({ type: 'tool_result', seq: ++conversation.seq, turn_id: turn.id, id, name, ok });
      }
    }
  }

  // A runner that does not listen to its signal gets a little time after an abort, then the turn goes on without it.
  #orAborted<T>(work: Promise<T>, signal: AbortSignal): Promise<T> {
    return new Promise((resolve, reject) => {
      let grace: { stop(): void } | undefined;
      const onAbort = (): void => {
        grace = this.#deps.clock.after(this.#options.graceMs ?? 2_000, () => reject(signal.reason));
      };
      if (signal.aborted) onAbort();
      else signal.addEventListener('abort', onAbort, { once: true });
      const done = (): void => {
        grace?.stop();
        signal.removeEventListener('abort', onAbort);
      };
      work.then(
        (value) => {
          done();
          resolve(value);
        },
        (error) => {
          done();
          reject(error);
        },
      );
    });
  }

  #errorOf(caught: unknown, turn: LiveTurn): FabricError {
    if (turn.signal.aborted && isFabricError(turn.signal.reason)) return turn.signal.reason;
    if (isFabricError(caught)) return caught;
    const logId = newId();
    this.#deps.log.error('turn failed', { logId, turnId: turn.id, error: caught });
    return new FabricError('INTERNAL', `The turn failed; the log of the agent names it ${logId}.`);
  }

  #complete(conversation: Conversation, turn: LiveTurn, result: TurnResult): void {
    const { text, usage, model } = result;
    const outcome: TurnOutcome = { state: 'completed', text, usage, model };
    this.#settle(conversation, turn, outcome);
  }

  #end(conversation: Conversation, turn: LiveTurn, error: FabricError, text: string, usage: Usage): void {
    const state = error.code === 'TURN_CANCELLED' ? 'cancelled' : 'failed';
    this.#settle(conversation, turn, { state, error: faultOf(error), text, usage });
  }

  #settle(conversation: Conversation, turn: LiveTurn, outcome: TurnOutcome): void {
    conversation.changedAt = this.#deps.clock.now();
    conversation.turnCount += 1;
    turn.end(outcome, lastEvent(outcome, ++conversation.seq, turn.id));
    // Enough to answer a caller that asks again soon.
    if (conversation.turns.size > 64) {
      for (const [id, old] of conversation.turns) {
        if (conversation.turns.size <= 64) break;
        if (old.ended) conversation.turns.delete(id);
      }
    }
  }
}

/** The text of a turn. @throws the error it ended with */
export function textOf(outcome: TurnOutcome): string {
  if (outcome.state === 'completed') return outcome.text;
  throw errorOfFault(outcome.error);
}

function lastEvent(outcome: TurnOutcome, seq: number, turnId: string): ConversationEvent {
  if (outcome.state === 'completed') {
    const { text, usage, model } = outcome;
    return { type: 'done', seq, turn_id: turnId, text, usage, model };
  }
  const { code, message, retryable } = outcome.error;
  return { type: 'error', seq, turn_id: turnId, code, message, retryable, text: outcome.text };
}

function* pieces(text: string): Generator<string> {
  const most = CONVERSATION_LIMITS.maxTextEventChars;
  for (let from = 0; from < text.length; from += most) yield text.slice(from, from + most);
}

const unknown = (): FabricError =>
  new FabricError('CONVERSATION_UNKNOWN', 'There is no conversation with that id, or it has ended.');

const view = (conversation: Conversation): ConversationView => ({
  id: conversation.id,
  state: conversation.state,
  options: conversation.options,
  changedAt: conversation.changedAt,
  turns: conversation.turnCount,
  usage: conversation.usage,
});
