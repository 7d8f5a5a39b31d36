// The operations of a chat agent, as docs/protocol.md defines them, for one conversation. It records what the agent is known to
// support: chat agents of other Fame implementations lack some operations.
import { type CallOptions, isFabricError, type LinkState } from '@fame-fabric/shared';

/** The part of a client that a conversation needs. */
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

/** A turn to run, or to continue. */
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

export class ChatOperations {
  /** False once the agent turned out to have no `run_turn_stream`. */
  canStream = true;
  readonly #caller: Caller;
  readonly #address: string;
  readonly #id: string;
  #hasAnswered: boolean;

  /** @param isKnown the agent is known to have the conversation */
  constructor(caller: Caller, address: string, id: string, isKnown: boolean) {
    this.#caller = caller;
    this.#address = address;
    this.#id = id;
    this.#hasAnswered = isKnown;
  }

  /** True if the agent has answered before. When no node serves its address now, it is expected back. */
  get hasAnswered(): boolean {
    return this.#hasAnswered;
  }

  get connection(): Pick<Caller, 'state' | 'onState'> {
    return this.#caller;
  }

  /** Starts the conversation. `callId` identifies all attempts: an agent that has seen it returns the same result again. */
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

  /** Items of a streamed turn after position `after`: those so far, then new ones. */
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

  /** Runs a turn without streaming. It is not resent: an agent without streams cannot identify turns either. */
  async runTurn({ text, turnId, timeoutMs, signal }: TurnRequest): Promise<string> {
    const options = { timeoutMs, id: turnId, signal };
    const answer = await this.#caller.call(this.#address, 'run_turn', { args: [this.#id, text] }, options);
    return typeof answer === 'string' ? answer : JSON.stringify(answer);
  }

  /** Cancels the turn, or the running one. Without one, nothing happens. */
  async cancelTurn(turnId: string | undefined): Promise<void> {
    const args = turnId === undefined ? [this.#id] : [this.#id, turnId];
    await this.#call('cancel_turn', { args }, CANCEL_TIMEOUT_MS);
  }

  /** The agent's description; empty for agents that have none. */
  async describe(): Promise<ChatAgentDescription> {
    const description = await this.#callOptional('describe', {});
    return typeof description === 'object' && description !== null ? description : {};
  }

  /** Messages of users and the model, oldest first; `undefined` for agents that do not return them. */
  async history(): Promise<ConversationMessage[] | undefined> {
    const messages = await this.#callOptional('get_history', { conversation_id: this.#id });
    return Array.isArray(messages) ? messages.flatMap(messageOf) : undefined;
  }

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

// System prompts, tool calls and tool results are left out.
function messageOf(message: { role?: unknown; content?: unknown } | null): ConversationMessage[] {
  const { role, content } = message ?? {};
  const isText = (role === 'user' || role === 'assistant') && typeof content === 'string' && content !== '';
  return isText ? [{ role, text: content }] : [];
}
