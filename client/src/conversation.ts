// One conversation with a chat agent, seen from the client: start_task, then turns, then end_conversation. The agent keeps
// the history; this object keeps the id and speaks the operations of docs/protocol.md. It works with chat agents of other
// Fame implementations too: where `run_turn_stream` does not exist, a streamed turn is one `run_turn` call. An agent or a
// sentinel that goes away in the middle of a turn is asked again when it is back, for what comes after the last event seen.
import {
  type CallOptions,
  type Clock,
  FabricError,
  isErrorCode,
  isFabricError,
  type LinkState,
  newId,
  systemClock,
} from '@fame-fabric/shared';
import { ConnectionPatience } from './connection-patience.ts';

/** The part of a client that a conversation needs. */
export interface Caller {
  call(address: string, method: string, params?: unknown, options?: CallOptions): Promise<unknown>;
  stream(address: string, method: string, params?: unknown, options?: CallOptions): AsyncIterable<unknown>;
  readonly state?: LinkState;
  onState?(listener: (state: LinkState) => void): () => void;
}

export interface ConversationOptions {
  /** @default a fresh random id */
  id?: string;
  /** The agent knows the conversation already: it is gone on with, not started. @default false */
  isResumed?: boolean;
  /** @default the agent's own */
  systemPrompt?: string;
  /** How many turns the model is shown. @default the agent's own, 10 */
  maxHistoryLength?: number;
  /** How long a turn may take, or a streamed turn be silent, in ms. @default 600_000 */
  turnTimeoutMs?: number;
  /** How long a turn waits for an agent, or a connection to the sentinel, that went away, in ms. @default 60_000 */
  patienceMs?: number;
  clock?: Clock;
}

export interface TurnOptions {
  /** Gives the turn up and cancels it at the agent. */
  signal?: AbortSignal;
  /** The same id again is the same turn: it never runs twice. @default a fresh id */
  turnId?: string;
  /** The `seq` of the last event of this turn that was seen before; only later ones are told. @default 0 */
  after?: number;
  /** Told who is away when the turn begins to wait for the agent, or for the sentinel, to come back; once each time. */
  onAway?: (who: 'agent' | 'sentinel') => void;
}

export interface TurnUsage {
  prompt_tokens?: number;
  completion_tokens?: number;
  total_tokens?: number;
}

/**
 * What a streamed turn yields: pieces of text as they come, and `done` with the whole at the end. `seq` is the place of the
 * event in the record of the conversation, where the agent keeps one.
 */
export type TurnEvent =
  | { type: 'text'; text: string; seq?: number }
  | { type: 'tool_call'; id?: string; name?: string; args?: Record<string, unknown>; seq?: number }
  | { type: 'tool_result'; id?: string; name?: string; ok?: boolean; seq?: number }
  /** The agent starts its answer anew; only the first `keep` characters of the text so far still stand. */
  | { type: 'restart'; keep: number; seq?: number }
  | { type: 'done'; text: string; usage?: TurnUsage; model?: string; seq?: number };

export interface ConversationMessage {
  role: 'user' | 'assistant';
  text: string;
}

/** What a chat agent says about itself. */
export interface ChatAgentDescription {
  /** The model that answers; `offline` is the built-in one. */
  model?: string;
  system_prompt?: string;
  max_history_length?: number;
}

const DEFAULT_TURN_TIMEOUT_MS = 600_000;
const DEFAULT_PATIENCE_MS = 60_000;
/** First and longest pause before a turn is asked again, jittered. */
const ASK_AGAIN_MIN_MS = 100;
const ASK_AGAIN_MAX_MS = 2_000;
const START_TIMEOUT_MS = 30_000;
const CONTROL_TIMEOUT_MS = 10_000;
/** Cancelling is a courtesy to the agent; who cancels does not wait long for it. */
const CANCEL_TIMEOUT_MS = 2_000;

/** A conversation with the chat agent at `address`. Ends with `end()` or `await using`. */
export class Conversation {
  readonly id: string;
  readonly address: string;
  readonly systemPrompt: string | undefined;
  #started: Promise<void> | undefined;
  #hasEnded = false;
  #canStream = true;
  readonly #caller: Caller;
  readonly #maxHistoryLength: number | undefined;
  readonly #turnTimeoutMs: number;
  readonly #patienceMs: number;
  readonly #clock: Clock;
  readonly #startCallId = newId();
  /** The agent has answered something: when nobody is at its address now, it will be back. */
  #hasAnswered = false;
  readonly #transcript: ConversationMessage[] = [];

  constructor(caller: Caller, address: string, options: ConversationOptions = {}) {
    this.#caller = caller;
    this.address = address;
    this.id = options.id ?? newId();
    this.systemPrompt = options.systemPrompt;
    this.#maxHistoryLength = options.maxHistoryLength;
    this.#turnTimeoutMs = options.turnTimeoutMs ?? DEFAULT_TURN_TIMEOUT_MS;
    this.#patienceMs = options.patienceMs ?? DEFAULT_PATIENCE_MS;
    this.#clock = options.clock ?? systemClock;
    if (options.isResumed) {
      this.#started = Promise.resolve();
      this.#hasAnswered = true;
    }
  }

  /** Starts the conversation at the agent. The first turn does it by itself; calling it again changes nothing. */
  start(): Promise<void> {
    this.#started ??= this.#start().catch((error: unknown) => {
      this.#started = undefined; // so that a later turn may try again
      throw error;
    });
    return this.#started;
  }

  async #start(): Promise<void> {
    const data = {
      ...(this.systemPrompt === undefined ? {} : { system_prompt: this.systemPrompt }),
      ...(this.#maxHistoryLength === undefined ? {} : { max_history_length: this.#maxHistoryLength }),
    };
    const params = {
      id: this.id,
      sessionId: this.id,
      message: { role: 'user', parts: [{ type: 'data', data }] },
    };
    // One id for all attempts: an agent that has heard of it already answers the same again.
    await this.#control('tasks/send', params, START_TIMEOUT_MS, this.#startCallId);
  }

  // All of these do no harm twice, so they are sent again after a reconnect.
  async #control(method: string, params: unknown, timeoutMs: number, id?: string): Promise<unknown> {
    const options = { timeoutMs, resend: true, ...(id === undefined ? {} : { id }) };
    const answer = await this.#caller.call(this.address, method, params, options);
    this.#hasAnswered = true;
    return answer;
  }

  /** What the agent says about itself; empty for agents that cannot say. */
  async describe(): Promise<ChatAgentDescription> {
    const said = await this.#whereOffered('describe', {});
    return typeof said === 'object' && said !== null ? said : {};
  }

  // Operations that chat agents of other Fame implementations need not have.
  async #whereOffered(method: string, params: unknown): Promise<unknown> {
    try {
      return await this.#control(method, params, CONTROL_TIMEOUT_MS);
    } catch (error) {
      if (!isFabricError(error, 'METHOD_NOT_FOUND')) throw error;
      return undefined;
    }
  }

  /**
   * Asks and waits for the whole answer.
   * @throws {TURN_CANCELLED | MODEL_AUTH | ...} the agent's error; CALL_CANCELLED when `signal` aborted; LINK_TIMEOUT when the
   * connection was lost for longer than `patienceMs`. After an error that `isUndecided` the turn may still go on.
   */
  async ask(text: string, options: TurnOptions = {}): Promise<string> {
    let answer = '';
    for await (const event of this.stream(text, options)) if (event.type === 'done') answer = event.text;
    return answer;
  }

  /** Asks and yields the answer as it comes; the last event is `done`. Leaving the loop, or `signal`, cancels the turn. */
  async *stream(text: string, options: TurnOptions = {}): AsyncGenerator<TurnEvent, void, undefined> {
    if (this.#hasEnded) throw new FabricError('CONVERSATION_UNKNOWN', 'This conversation has ended');
    await this.start();
    const turnId = options.turnId ?? newId();
    const { signal, onAway } = options;
    const patience = new ConnectionPatience({
      connection: this.#caller,
      patienceMs: this.#patienceMs,
      clock: this.#clock,
      onLost: () => onAway?.('sentinel'),
    });
    const either = signal ? AbortSignal.any([signal, patience.signal]) : patience.signal;
    let isOver = false;
    patience.start();
    try {
      for await (const event of this.#turn(text, turnId, { ...options, signal: either })) {
        if (event.type === 'done') {
          isOver = true;
          this.#transcript.push({ role: 'user', text }, { role: 'assistant', text: event.text });
        }
        yield event;
      }
    } catch (error) {
      // An error of the agent has ended the turn already; what this side gave up on is still running there.
      isOver = !signal?.aborted && !isFabricError(error, 'CALL_TIMEOUT');
      throw error;
    } finally {
      patience.stop();
      if (!isOver) await this.cancel(turnId).catch(() => {}); // the turn's own outcome matters more than this courtesy
    }
  }

  // Asks until the turn has ended: the same turn id is the same turn, so nothing is said or done twice.
  async *#turn(text: string, turnId: string, options: TurnOptions): AsyncGenerator<TurnEvent> {
    if (!this.#canStream) {
      yield* this.#whole(text, turnId, options);
      return;
    }
    const heard = new Heard(options.after ?? 0);
    let from = heard.lastSeq;
    let awaySince: number | undefined;
    let attempts = 0;
    for (;;) {
      const before = heard.lastSeq;
      try {
        const isOver = yield* heard.events(this.#ask(text, turnId, options.signal, from));
        if (isOver) return;
        // There was nothing behind the last event that was seen: it was the end of the turn, which is told once more.
        from = 0;
        continue;
      } catch (error) {
        if (isFabricError(error, 'METHOD_NOT_FOUND')) break;
        from = heard.lastSeq;
        const now = this.#clock.now();
        if (heard.lastSeq !== before) awaySince = undefined;
        if (awaySince === undefined) attempts = 0;
        awaySince ??= now;
        if (!this.#isAway(error, heard.lastSeq !== before) || now - awaySince >= this.#patienceMs)
          throw error;
        if (attempts === 0) options.onAway?.('agent');
      }
      const pause = Math.min(ASK_AGAIN_MAX_MS, ASK_AGAIN_MIN_MS * 2 ** attempts++);
      await this.#pause(pause * (0.75 + Math.random() / 2), options.signal);
    }
    this.#canStream = false;
    yield* this.#whole(text, turnId, options);
  }

  /** Items of the turn after `after`: those so far, then those to come. */
  async *#ask(text: string, turnId: string, signal: AbortSignal | undefined, after: number) {
    const params = {
      conversation_id: this.id,
      user_message: text,
      turn_id: turnId,
      ...(after > 0 ? { after } : {}),
    };
    const options = { timeoutMs: this.#turnTimeoutMs, resend: true, ...(signal ? { signal } : {}) };
    for await (const item of this.#caller.stream(this.address, 'run_turn_stream', params, options)) {
      this.#hasAnswered = true;
      yield item;
    }
  }

  // Not asked again: an agent without streams does not know turns by their ids either.
  async *#whole(text: string, turnId: string, { signal }: TurnOptions): AsyncGenerator<TurnEvent> {
    const options = { timeoutMs: this.#turnTimeoutMs, id: turnId, ...(signal ? { signal } : {}) };
    const answer = await this.#caller.call(this.address, 'run_turn', { args: [this.id, text] }, options);
    yield { type: 'done', text: typeof answer === 'string' ? answer : JSON.stringify(answer) };
  }

  // Whether the agent, or the way to it, is away for now. `hasMoved`: this attempt brought something.
  #isAway(error: unknown, hasMoved: boolean): boolean {
    if (!isFabricError(error)) return false;
    const { state } = this.#caller;
    if (state === 'closed' || state === 'draining') return false;
    if (error.code === 'NO_ROUTE') return this.#hasAnswered;
    // A reader that is too slow is told so in the middle of a stream; to ask again would not make it faster.
    if (error.code === 'NODE_BUSY') return this.#hasAnswered && !hasMoved;
    return AWAY.has(error.code);
  }

  #pause(ms: number, signal: AbortSignal | undefined): Promise<void> {
    return new Promise((resolve, reject) => {
      const onAbort = (): void => {
        timer.stop();
        reject(signal?.reason);
      };
      const timer = this.#clock.after(ms, () => {
        signal?.removeEventListener('abort', onAbort);
        resolve();
      });
      if (signal?.aborted) onAbort();
      else signal?.addEventListener('abort', onAbort, { once: true });
    });
  }

  /** Cancels the running turn at the agent, or the one named; without one, nothing happens. */
  async cancel(turnId?: string): Promise<void> {
    const args = turnId === undefined ? [this.id] : [this.id, turnId];
    await this.#control('cancel_turn', { args }, CANCEL_TIMEOUT_MS);
  }

  /** What the model still remembers, oldest first; for agents that cannot say, the turns of this object. */
  async history(): Promise<readonly ConversationMessage[]> {
    if (!this.#started) return [];
    const messages = await this.#whereOffered('get_history', { conversation_id: this.id });
    return Array.isArray(messages) ? messages.flatMap(spoken) : [...this.#transcript];
  }

  /** Ends the conversation; the agent forgets it. Ending twice is not an error. */
  async end(options: { timeoutMs?: number } = {}): Promise<void> {
    if (this.#hasEnded) return;
    this.#hasEnded = true;
    if (!this.#started) return;
    const { timeoutMs = CONTROL_TIMEOUT_MS } = options;
    await this.#control('end_conversation', { args: [this.id] }, timeoutMs);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.end();
  }
}

// Only what was said: system prompts, tool calls and tool results are left out.
function spoken(message: { role?: unknown; content?: unknown }): ConversationMessage[] {
  const { role, content } = message;
  const isSpoken = (role === 'user' || role === 'assistant') && typeof content === 'string' && content !== '';
  return isSpoken ? [{ role, text: content }] : [];
}

/** Codes that say: nobody is there now, ask the same again. */
const AWAY: ReadonlySet<string> = new Set(['NODE_GONE', 'LINK_CLOSED', 'LINK_DRAINING', 'STORE_CONFLICT']);

/** Whether a turn that failed so may still go on at the agent. Asked again with the same turn id, it is the same turn. */
export const isUndecided = (error: unknown): boolean =>
  isFabricError(error) &&
  (AWAY.has(error.code) || error.code === 'NO_ROUTE' || error.code === 'LINK_TIMEOUT');

/** What has been heard of one turn, over all attempts to hear it. */
class Heard {
  #text = '';
  /** The seq of the last event; 0 where the agent gives none. */
  lastSeq: number;

  constructor(after: number) {
    this.lastSeq = after;
  }

  // Items of run_turn_stream as events; an error event ends the turn as the error it tells. What is told again is known by
  // its `seq`. The stream is read to its end, since leaving it early would tell the agent that nobody listens any more.
  // Tells whether the end of the turn was among them.
  async *events(items: AsyncIterable<unknown>): AsyncGenerator<TurnEvent, boolean> {
    let isDone = false;
    let count = 0;
    try {
      for await (const item of items) {
        const event = item as { type?: unknown; [field: string]: unknown };
        count++;
        if (event.type === 'error') throw toldError(event);
        if (typeof event.seq === 'number') {
          if (event.seq <= this.lastSeq && event.type !== 'done') continue;
          this.lastSeq = event.seq;
        }
        if (event.type === 'text' && typeof event.text === 'string') this.#text += event.text;
        if (event.type === 'restart' && typeof event.keep === 'number')
          this.#text = this.#text.slice(0, event.keep);
        isDone ||= event.type === 'done';
        yield event as TurnEvent;
      }
    } catch (error) {
      if (!isDone) throw error; // after `done` the answer is whole, whatever becomes of the connection
    }
    if (!isDone && count === 0 && this.lastSeq > 0) return false;
    if (!isDone) yield { type: 'done', text: this.#text };
    return true;
  }
}

const toldError = ({ code, message, retryable }: { [field: string]: unknown }): FabricError =>
  new FabricError(isErrorCode(code) ? code : 'INTERNAL', String(message), {
    ...(typeof retryable === 'boolean' ? { retryable } : {}),
  });
