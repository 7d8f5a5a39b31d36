// The operations of a chat agent for one conversation, as defined in docs/protocol.md. Chat agents of other Fame
// implementations lack some of them, so this class records which ones the agent lacks.
import {
  type AgentDescription,
  type CallOptions,
  FabricError,
  isFabricError,
  type LinkState,
  newId,
} from '@fame-fabric/shared';
import { untilAborted } from '@fame-fabric/shared/internal';
import type { ConversationState, ModelMessage, ModelOptions, ToolResult } from './conversation-types.ts';
import type { ProgressEvent } from './turn-event.ts';

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

/** A chat agent's description of itself. Agents of version 0.1 and of other software lack some of its fields. */
export interface ChatAgentDescription extends Partial<AgentDescription> {
  /** The model that answers; `offline` is the built-in one. */
  model?: string;
  system_prompt?: string;
  max_history_length?: number;
  /** Models that a turn may choose. */
  models?: string[];
  /** Names of the `options` that turns take. Absent in agents of version 0.1, which have no `tool_results` and `retry_key` either. */
  options?: string[];
  /** The types of events that `include` may name. Absent in agents that send none of them. */
  include?: string[];
}

/** Settings of a conversation, as the agent receives them. */
export interface StartSettings {
  system_prompt?: string | undefined;
  max_history_length?: number | undefined;
  messages?: readonly ModelMessage[] | undefined;
  ephemeral?: boolean | undefined;
  on_budget?: 'fail' | 'ask' | undefined;
  share?: readonly string[] | undefined;
}

/** The parameters of a turn that agents of version 0.1 and of other implementations ignore. */
export interface TurnExtras {
  options?: ModelOptions | undefined;
  tool_results?: readonly ToolResult[] | undefined;
  retry_key?: string | undefined;
  retry_count?: number | undefined;
}

/** A person's answer to an approval. */
export interface ApprovalAnswer {
  approve: boolean;
  /** Shown to the model. */
  note?: string | undefined;
}

/** A turn to start or to continue. */
export interface TurnRequest {
  text: string;
  turnId: string;
  extras: TurnExtras;
  /** Types of further events. Those that the agent does not send are left out of the request. */
  include: readonly ProgressEvent['type'][];
  /** Effect on the turn when its reader leaves. */
  onLeave: 'cancel' | 'continue';
  timeoutMs: number;
  signal: AbortSignal;
}

/** For agents that have no system prompt of their own, such as the chat agents of naylence. */
const DEFAULT_SYSTEM_PROMPT = 'You are a helpful assistant.';
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
  #acceptsExtras: boolean | undefined;
  /** False if the agent has no `describe`; `undefined` before the first call of it. */
  #canDescribe: boolean | undefined;
  /** The types that `include` may name at this agent; `undefined` if they are unknown. */
  #offered: readonly unknown[] | undefined;

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
  async start(callId: string, settings: StartSettings): Promise<void> {
    const { messages, ephemeral, on_budget, share } = settings;
    if (messages || ephemeral || on_budget || share) {
      await this.#requireExtras('`messages`, `isEphemeral`, `onBudget` and `share` of a conversation');
      await this.#call('start_task', { id: this.#id, ...settings }, START_TIMEOUT_MS, callId);
      return;
    }
    try {
      await this.#startTask(callId, this.#canDescribe === false ? withPrompt(settings) : settings);
    } catch (error) {
      if (!isFaultOfAgent(error)) throw error;
      if (this.#canDescribe === undefined) await this.describe();
      if (this.#canDescribe !== false) throw error;
      if (settings.system_prompt !== undefined) throw notStarted(this.#address, error);
      // Chat agents of naylence fail without a system prompt. They have no `describe` either.
      try {
        await this.#startTask(newId(), withPrompt(settings));
      } catch (error) {
        throw isFaultOfAgent(error) ? notStarted(this.#address, error) : error;
      }
    }
  }

  // Uses the task method, which chat agents of other implementations have too.
  async #startTask(callId: string, { system_prompt, max_history_length }: StartSettings): Promise<void> {
    const params = {
      id: this.#id,
      sessionId: this.#id,
      message: { role: 'user', parts: [{ type: 'data', data: { system_prompt, max_history_length } }] },
    };
    await this.#call('tasks/send', params, START_TIMEOUT_MS, callId);
  }

  /** @throws {METHOD_NOT_FOUND} if the turn has extras, which the agent would ignore */
  async checkExtras(extras: TurnExtras): Promise<void> {
    if (Object.values(extras).every((extra) => extra === undefined)) return;
    await this.#requireExtras('`options`, `toolResults` and `retryKey` of a turn');
  }

  /** Runs or continues a turn, and yields its events after position `after`: the recorded ones, then new ones. */
  async *runTurnStream(
    { text, turnId, extras, include, onLeave, timeoutMs, signal }: TurnRequest,
    after: number,
  ): AsyncGenerator<unknown> {
    const included = await this.#includable(include, signal);
    const params = {
      conversation_id: this.#id,
      user_message: text,
      turn_id: turnId,
      ...extras,
      ...(included.length > 0 ? { include: included } : {}),
      ...(after > 0 ? { after } : {}),
    };
    // After the first item this class requests the rest itself: an agent may repeat text in larger pieces than the first time.
    const options = { timeoutMs, resend: 'until-item', signal, onLeave } as const;
    try {
      for await (const item of this.#caller.stream(this.#address, 'run_turn_stream', params, options)) {
        this.#hasAnswered = true;
        yield item;
      }
    } catch (error) {
      this.#offered = undefined; // the next attempt may reach an agent of another version
      throw error;
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

  /** Answers an approval that a turn waits for. The same answer again has no effect. */
  async answerApproval(callId: string, { approve, note }: ApprovalAnswer): Promise<void> {
    const params = { conversation_id: this.#id, call_id: callId, approve, note };
    await required(
      this.#address,
      'answer_approval',
      this.#call('answer_approval', params, CONTROL_TIMEOUT_MS),
    );
  }

  /** Requests the agent's description of itself. Returns an empty one if the agent has none. */
  async describe(): Promise<ChatAgentDescription> {
    const answer = await this.#callOptional('describe', {});
    this.#canDescribe = answer !== undefined;
    const description: ChatAgentDescription = typeof answer === 'object' && answer !== null ? answer : {};
    this.#offered = Array.isArray(description.include) ? description.include : [];
    return description;
  }

  /** Requests the messages of the user and the model, oldest first. Returns `undefined` if the agent has no `get_history`. */
  async history(): Promise<ConversationMessage[] | undefined> {
    const messages = await this.#callOptional('get_history', { conversation_id: this.#id });
    return Array.isArray(messages) ? messages.flatMap(messageOf) : undefined;
  }

  /** Requests the state of the conversation. Returns `undefined` if the agent has no tasks. @throws {CONVERSATION_UNKNOWN} */
  async state(): Promise<ConversationState | undefined> {
    try {
      const task = await this.#callOptional('tasks/get', { id: this.#id });
      return (task as { status?: { state?: ConversationState } } | undefined)?.status?.state;
    } catch (error) {
      if (!isFabricError(error, 'TASK_UNKNOWN')) throw error;
      throw new FabricError('CONVERSATION_UNKNOWN', error.message, { cause: error });
    }
  }

  /** Ends the conversation. */
  async end(timeoutMs: number): Promise<void> {
    await this.#call('end_conversation', { args: [this.#id] }, timeoutMs);
  }

  // Agents that do not know `include` refuse it, and a turn is complete without its events.
  async #includable(
    include: TurnRequest['include'],
    signal: AbortSignal,
  ): Promise<readonly ProgressEvent['type'][]> {
    if (include.length === 0) return include;
    if (!this.#offered) await untilAborted(this.describe(), signal);
    return include.filter((type) => this.#offered?.includes(type));
  }

  // An agent that does not know these parameters ignores them, so the agent must declare them in its description. It is asked once.
  async #requireExtras(what: string): Promise<void> {
    this.#acceptsExtras ??= Array.isArray((await this.describe()).options);
    if (this.#acceptsExtras) return;
    this.#acceptsExtras = undefined; // the agent may be updated
    throw notSupported(this.#address, what);
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

/** Builds the error for an operation or a parameter that the agent lacks. */
export const notSupported = (address: string, what: string, cause?: unknown): FabricError =>
  new FabricError('METHOD_NOT_FOUND', `The agent ${address} does not support ${what}.`, {
    cause,
    details: { fix: 'Agents of Fame Fabric 0.2 and later do.' },
  });

/** Builds the error for an agent of other software that failed to start a conversation. It may be an agent of another kind. */
const notStarted = (address: string, cause: FabricError): FabricError =>
  new FabricError('INTERNAL', `${address} did not start a conversation: ${cause.message}`, {
    cause,
    details: { fix: 'Check that it is a chat agent. Its log may have the cause.' },
  });

/** Waits for the answer of an operation that agents of other versions lack. @throws {METHOD_NOT_FOUND} naming it */
export async function required<T>(address: string, method: string, answer: Promise<T>): Promise<T> {
  try {
    return await answer;
  } catch (error) {
    throw isFabricError(error, 'METHOD_NOT_FOUND') ? notSupported(address, method, error) : error;
  }
}

const withPrompt = (settings: StartSettings): StartSettings => ({
  ...settings,
  system_prompt: settings.system_prompt ?? DEFAULT_SYSTEM_PROMPT,
});

/** True for the codes of an exception in an agent of another implementation. */
const isFaultOfAgent = (error: unknown): error is FabricError =>
  isFabricError(error, 'INTERNAL') || isFabricError(error, 'PARAMS_INVALID');

// Omits system prompts, tool calls and tool results.
function messageOf(message: { role?: unknown; content?: unknown } | null): ConversationMessage[] {
  const { role, content } = message ?? {};
  const isText = (role === 'user' || role === 'assistant') && typeof content === 'string' && content !== '';
  return isText ? [{ role, text: content }] : [];
}
