// One conversation with a chat agent, seen from the client: start_task, then turns, then end_conversation. The agent keeps
// the history; this object keeps the id and speaks the operations of docs/protocol.md. It works with chat agents of other
// Fame implementations too: where `run_turn_stream` does not exist, a streamed turn is one `run_turn` call.
import { type CallOptions, FabricError, isErrorCode, isFabricError, newId } from '@fame-fabric/shared';

/** The part of a client that a conversation needs. */
export interface Caller {
  call(address: string, method: string, params?: unknown, options?: CallOptions): Promise<unknown>;
  stream(address: string, method: string, params?: unknown, options?: CallOptions): AsyncIterable<unknown>;
}

export interface ConversationOptions {
  /** @default a fresh random id */
  id?: string;
  /** @default the agent's own */
  systemPrompt?: string;
  /** How many turns the model is shown. @default the agent's own, 10 */
  maxHistoryLength?: number;
  /** How long a turn may take, or a streamed turn be silent, in ms. @default 600_000 */
  turnTimeoutMs?: number;
}

export interface TurnOptions {
  /** Gives the turn up and cancels it at the agent. */
  signal?: AbortSignal;
  /** The same id again is the same turn: it never runs twice. @default a fresh id */
  turnId?: string;
}

export interface TurnUsage {
  prompt_tokens?: number;
  completion_tokens?: number;
  total_tokens?: number;
}

/** What a streamed turn yields: pieces of text as they come, and `done` with the whole at the end. */
export type TurnEvent =
  | { type: 'text'; text: string }
  | { type: 'tool_call' | 'tool_result'; [field: string]: unknown }
  /** The agent starts its answer anew; only the first `keep` characters of the text so far still stand. */
  | { type: 'restart'; keep: number }
  | { type: 'done'; text: string; usage?: TurnUsage; model?: string };

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
  readonly #transcript: ConversationMessage[] = [];

  constructor(caller: Caller, address: string, options: ConversationOptions = {}) {
    this.#caller = caller;
    this.address = address;
    this.id = options.id ?? newId();
    this.systemPrompt = options.systemPrompt;
    this.#maxHistoryLength = options.maxHistoryLength;
    this.#turnTimeoutMs = options.turnTimeoutMs ?? DEFAULT_TURN_TIMEOUT_MS;
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
    await this.#control('tasks/send', params, START_TIMEOUT_MS);
  }

  #control(method: string, params: unknown, timeoutMs: number): Promise<unknown> {
    return this.#caller.call(this.address, method, params, { timeoutMs });
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
   * @throws {TURN_CANCELLED | MODEL_AUTH | ...} the agent's error, or CALL_CANCELLED when `signal` aborted
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
    let isOver = false;
    try {
      for await (const event of this.#turn(text, turnId, options.signal)) {
        if (event.type === 'done') {
          isOver = true;
          this.#transcript.push({ role: 'user', text }, { role: 'assistant', text: event.text });
        }
        yield event;
      }
    } catch (error) {
      // An error of the agent has ended the turn already; what this side gave up on is still running there.
      isOver = !options.signal?.aborted && !isFabricError(error, 'CALL_TIMEOUT');
      throw error;
    } finally {
      if (!isOver) await this.cancel(turnId).catch(() => {}); // the turn's own outcome matters more than this courtesy
    }
  }

  // The turn id travels as the request's id: where a link sends a request again, the agent knows it for the same turn.
  async *#turn(text: string, turnId: string, signal: AbortSignal | undefined): AsyncGenerator<TurnEvent> {
    const params = { args: [this.id, text] };
    const timeoutMs = this.#turnTimeoutMs;
    const options = { timeoutMs, id: turnId, resend: true, ...(signal ? { signal } : {}) };
    if (this.#canStream) {
      try {
        yield* turnEvents(this.#caller.stream(this.address, 'run_turn_stream', params, options));
        return;
      } catch (error) {
        if (!isFabricError(error, 'METHOD_NOT_FOUND')) throw error;
        this.#canStream = false;
      }
    }
    // Not sent again after a reconnect: an agent without streams does not know turns by their ids either.
    const answer = await this.#caller.call(this.address, 'run_turn', params, { ...options, resend: false });
    yield { type: 'done', text: typeof answer === 'string' ? answer : JSON.stringify(answer) };
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

// Items of run_turn_stream as events; an error event ends the turn as the error it tells. After a reconnect the agent tells
// the turn from its start: `seq` says what was seen already. The stream is read to its end, since leaving it early would
// tell the agent that nobody listens any more.
async function* turnEvents(items: AsyncIterable<unknown>): AsyncGenerator<TurnEvent> {
  let text = '';
  let lastSeq = 0;
  let isDone = false;
  try {
    for await (const item of items) {
      const event = item as { type?: unknown; [field: string]: unknown };
      if (typeof event.seq === 'number') {
        if (event.seq <= lastSeq) continue;
        lastSeq = event.seq;
      }
      if (event.type === 'text' && typeof event.text === 'string') text += event.text;
      if (event.type === 'restart' && typeof event.keep === 'number') text = text.slice(0, event.keep);
      if (event.type === 'error') {
        throw new FabricError(isErrorCode(event.code) ? event.code : 'INTERNAL', String(event.message));
      }
      isDone ||= event.type === 'done';
      yield event as TurnEvent;
    }
  } catch (error) {
    if (!isDone) throw error; // after `done` the answer is whole, whatever becomes of the connection
  }
  if (!isDone) yield { type: 'done', text };
}
