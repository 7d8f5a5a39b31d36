// The operations of a chat agent for one conversation, as defined in docs/protocol.md. Chat agents of other Fame
// implementations lack some of them, so this class records which ones the agent lacks.
import { type CallOptions, isFabricError, type LinkState } from '@fame-fabric/shared';

/** The part of a client that a conversation uses. */
export interface Caller {
  call(address: string, method: string, params?: unknown, options?: CallOptions): Promise<unknown>;
  stream(address: string, method: string, params?: unknown, options?: CallOptions): AsyncIterable<unknown>;
  readonly state?: LinkState;
  onState?(listener: (state: LinkState) => void): () => void;
}

export interface ConversationMessage {
  role: 'user' | 'assistant';
  text: string;
}

/** A chat agent's description of itself. */
export interface ChatAgentDescription {
  /** The model that answers; `offline` is the built-in one. */
  model?: string;
  system_prompt?: string;
  max_history_length?: number;
}

/** A turn to start or to continue. */
export interface TurnRequest {
  text: string;
  turnId: string;
  timeoutMs: number;
  signal: AbortSignal;
}

const START_TIMEOUT_MS = 30_000;
export const CONTROL_TIMEOUT_MS = 10_000;
/** Short, because the caller of a cancelled turn waits for it. */
const CANCEL_TIMEOUT_MS = 2_000;

/** Calls the operations of a chat agent. */
export class ChatOperations {
  /** False after the agent has reported that it lacks `run_turn_stream`. */
  canStream = true;
  readonly #caller: Caller;
  readonly #address: string;
  readonly #id: string;
  #hasAnswered: boolean;

  /** @param isKnown true if the agent already has the conversation */
  constructor(caller: Caller, address: string, id: string, isKnown: boolean) {
    this.#caller = caller;
    this.#address = address;
    this.#id = id;
    this.#hasAnswered = isKnown;
  }

  /** True if the agent has answered before. If no node serves its address now, it is expected to return. */
  get hasAnswered(): boolean {
    return this.#hasAnswered;
  }

  get connection(): Pick<Caller, 'state' | 'onState'> {
    return this.#caller;
  }

  /** Starts the conversation. Use one `callId` for all attempts: the agent starts the conversation once for each id. */
  async start(
    callId: string,
    options: { system_prompt?: string | undefined; max_history_length?: number | undefined },
  ): Promise<void> {
    const params = {
      id: this.#id,
      sessionId: this.#id,
      message: { role: 'user', parts: [{ type: 'data', data: options }] },
    };
    await this.#call('tasks/send', params, START_TIMEOUT_MS, callId);
  }

  /** Runs or continues a turn, and yields its events after position `after`: the recorded ones, then new ones. */
  async *runTurnStream(
    { text, turnId, timeoutMs, signal }: TurnRequest,
    after: number,
  ): AsyncGenerator<unknown> {
    const params = {
      conversation_id: this.#id,
      user_message: text,
      turn_id: turnId,
      ...(after > 0 ? { after } : {}),
    };
    const options = { timeoutMs, resend: true, signal };
    for await (const item of this.#caller.stream(this.#address, 'run_turn_stream', params, options)) {
      this.#hasAnswered = true;
      yield item;
    }
  }

  /** Runs a turn without streaming. Never resends it, because an agent without streams does not recognize turn ids either. */
  async runTurn({ text, turnId, timeoutMs, signal }: TurnRequest): Promise<string> {
    const options = { timeoutMs, id: turnId, signal };
    const answer = await this.#caller.call(this.#address, 'run_turn', { args: [this.#id, text] }, options);
    return typeof answer === 'string' ? answer : JSON.stringify(answer);
  }

  /** Cancels the turn, by default the running one. Has no effect if no turn is running. */
  async cancelTurn(turnId: string | undefined): Promise<void> {
    const args = turnId === undefined ? [this.#id] : [this.#id, turnId];
    await this.#call('cancel_turn', { args }, CANCEL_TIMEOUT_MS);
  }

  /** Requests the agent's description of itself. Returns an empty one if the agent has none. */
  async describe(): Promise<ChatAgentDescription> {
    const description = await this.#callOptional('describe', {});
    return typeof description === 'object' && description !== null ? description : {};
  }

  /** Requests the messages of the user and the model, oldest first. Returns `undefined` if the agent has no `get_history`. */
  async history(): Promise<ConversationMessage[] | undefined> {
    const messages = await this.#callOptional('get_history', { conversation_id: this.#id });
    return Array.isArray(messages) ? messages.flatMap(messageOf) : undefined;
  }

  /** Ends the conversation. */
  async end(timeoutMs: number): Promise<void> {
    await this.#call('end_conversation', { args: [this.#id] }, timeoutMs);
  }

  // Repeating any of these operations is harmless, so a reconnected link resends them.
  async #call(method: string, params: unknown, timeoutMs: number, id?: string): Promise<unknown> {
    const options = { timeoutMs, resend: true, id };
    const result = await this.#caller.call(this.#address, method, params, options);
    this.#hasAnswered = true;
    return result;
  }

  async #callOptional(method: string, params: unknown): Promise<unknown> {
    try {
      return await this.#call(method, params, CONTROL_TIMEOUT_MS);
    } catch (error) {
      if (!isFabricError(error, 'METHOD_NOT_FOUND')) throw error;
      return undefined;
    }
  }
}

// Omits system prompts, tool calls and tool results.
function messageOf(message: { role?: unknown; content?: unknown } | null): ConversationMessage[] {
  const { role, content } = message ?? {};
  const isText = (role === 'user' || role === 'assistant') && typeof content === 'string' && content !== '';
  return isText ? [{ role, text: content }] : [];
}
