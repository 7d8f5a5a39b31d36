// The client's side of a conversation with a chat agent: start, turns, end. The agent has the history; this object has the
// id. `chat-operations.ts` makes the requests; `turn-reader.ts` reads a turn across lost connections.
import { type Clock, FabricError, isFabricError, newId, systemClock } from '@fame-fabric/shared';
import { ATTRIBUTE, errorTypeOf, OPERATION, spanned, tracing } from '@fame-fabric/shared/internal';
import { AwayRetry } from './away-retry.ts';
import {
  type ApprovalAnswer,
  type Caller,
  type ChatAgentDescription,
  ChatOperations,
  CONTROL_TIMEOUT_MS,
  type ConversationMessage,
  type TurnRequest,
} from './chat-operations.ts';
import type { ConversationState, ModelMessage, ModelOptions, ToolResult } from './conversation-types.ts';
import { ReconnectDeadline } from './reconnect-deadline.ts';
import { checkInclude, type DoneEvent, type ProgressEvent, type TurnEvent } from './turn-event.ts';
import { TurnReader } from './turn-reader.ts';

export interface ConversationOptions {
  /** @default a new random id */
  id?: string | undefined;
  /** True if the agent already has the conversation, so that it need not be started. @default false */
  isResumed?: boolean | undefined;
  /** @default the agent's own; for an agent without `describe` that fails without one: 'You are a helpful assistant.' */
  systemPrompt?: string | undefined;
  /** Number of turns that the model sees. @default the agent's own, 10 */
  maxHistoryLength?: number | undefined;
  /** Messages that the conversation begins with: of users, assistants and tools. @default none */
  messages?: readonly ModelMessage[] | undefined;
  /** True if lists omit the conversation, and the agent deletes it 15 minutes after its end. @default false */
  isEphemeral?: boolean | undefined;
  /** `ask` pauses a turn whose budget is used up until a person approves more. @default 'fail' */
  onBudget?: 'fail' | 'ask' | undefined;
  /** Ids of principals that may use the conversation too, at most 64, or `['*']` for every caller. @default none */
  share?: readonly string[] | undefined;
  /** Longest silence of a turn, in ms; the time in which it waits for an approval does not count. @default 600_000 */
  turnTimeoutMs?: number | undefined;
  /** Longest time that a turn waits for a lost agent, or for a lost connection to the sentinel, in ms. @default 60_000 */
  reconnectTimeoutMs?: number | undefined;
  clock?: Clock | undefined;
}

export interface TurnOptions {
  /** Cancels the turn, at the agent as well. */
  signal?: AbortSignal | undefined;
  /** Id of the turn. With an id that was used before, that turn continues and does not run twice. @default a new id */
  turnId?: string | undefined;
  /** Yields only the events after this cursor, the `seq` of an event. @default 0 */
  after?: number | undefined;
  /** Settings of the model for this turn. */
  options?: ModelOptions | undefined;
  /** Results of the calls that the last turn returned: one for each. The text may be empty. */
  toolResults?: readonly ToolResult[] | undefined;
  /** A key of the caller for this request, at most 128 characters; the agent keeps it for 24 hours. @default none */
  retryKey?: string | undefined;
  /** 0 runs a turn. A larger number joins the latest turn with the same `retryKey`, if there is one. @default 0 */
  retryCount?: number | undefined;
  /**
   * Types of events to yield beside the others: the reasoning of the model, and the waits before a request to the model server is
   * repeated. An agent that cannot send them, such as one of version 0.1, runs the turn without them. @default none
   */
  include?: readonly ProgressEvent['type'][] | undefined;
  /**
   * Effect on the turn when the loop over its events is left, or `signal` aborts: `cancel` cancels it, also for callers that have joined
   * it. `release` cancels it unless another call follows it. `continue` lets it run, and its turn id retrieves the outcome.
   * @default 'cancel'
   */
  onLeave?: 'cancel' | 'release' | 'continue' | undefined;
  /** Called once each time that the turn starts to wait for the agent or the sentinel to return. */
  onAway?: ((party: 'agent' | 'sentinel') => void) | undefined;
}

const DEFAULT_TURN_TIMEOUT_MS = 600_000;
const DEFAULT_RECONNECT_TIMEOUT_MS = 60_000;

/** A conversation with the chat agent at `address`. End it with `end()` or `await using`. */
export class Conversation {
  readonly id: string;
  readonly address: string;
  readonly systemPrompt: string | undefined;
  readonly #operations: ChatOperations;
  readonly #options: ConversationOptions;
  readonly #turnTimeoutMs: number;
  readonly #reconnectTimeoutMs: number;
  readonly #clock: Clock;
  readonly #startCallId = newId();
  readonly #transcript: ConversationMessage[] = [];
  #started: Promise<void> | undefined;
  #hasEnded = false;

  constructor(caller: Caller, address: string, options: ConversationOptions = {}) {
    const { id = newId(), isResumed = false } = options;
    this.id = id;
    this.address = address;
    this.systemPrompt = options.systemPrompt;
    this.#operations = new ChatOperations(caller, address, id, isResumed);
    this.#options = options;
    this.#turnTimeoutMs = options.turnTimeoutMs ?? DEFAULT_TURN_TIMEOUT_MS;
    this.#reconnectTimeoutMs = options.reconnectTimeoutMs ?? DEFAULT_RECONNECT_TIMEOUT_MS;
    this.#clock = options.clock ?? systemClock;
    if (isResumed) this.#started = Promise.resolve();
  }

  /** Starts the conversation at the agent. The first turn calls it, too. Further calls have no effect. */
  start(): Promise<void> {
    const { systemPrompt, maxHistoryLength, messages, isEphemeral, onBudget, share } = this.#options;
    const settings = {
      system_prompt: systemPrompt,
      max_history_length: maxHistoryLength,
      messages,
      ephemeral: isEphemeral,
      on_budget: onBudget,
      share,
    };
    this.#started ??= this.#operations.start(this.#startCallId, settings).catch((error: unknown) => {
      this.#started = undefined; // a later turn tries again
      throw error;
    });
    return this.#started;
  }

  /** Starts the conversation for a turn. Retries while the agent is away, which is safe: the agent starts one conversation per call id. */
  async #startForTurn({ signal, onAway }: Pick<TurnOptions, 'signal' | 'onAway'>): Promise<void> {
    // `NODE_GONE` means that a node served the agent, so the agent is expected to return.
    let wasServed = false;
    const retry = new AwayRetry({
      connection: this.#operations.connection,
      hasAnswered: () => wasServed || this.#operations.hasAnswered,
      reconnectTimeoutMs: this.#reconnectTimeoutMs,
      clock: this.#clock,
      onAway: () => onAway?.('agent'),
    });
    const start = (): Promise<void> =>
      this.start().catch((error: unknown) => {
        wasServed ||= isFabricError(error, 'NODE_GONE');
        throw error;
      });
    await retry.until(start, signal);
  }

  /** Requests the agent's description of itself. Returns an empty one if the agent has none. */
  describe(): Promise<ChatAgentDescription> {
    return this.#operations.describe();
  }

  /**
   * Sends a message and returns the whole answer.
   * @throws {TURN_CANCELLED | MODEL_AUTH | ...} the agent's error; CALL_CANCELLED if `signal` aborted; LINK_TIMEOUT if the
   * connection was lost for longer than `reconnectTimeoutMs`. After an error that `isUndecided` the turn may still run.
   */
  async ask(text: string, options: TurnOptions = {}): Promise<string> {
    return (await this.runTurn(text, options)).text;
  }

  /** Sends a message and returns the last event of the turn: the answer, the calls of the caller's tools, usage and cost. */
  async runTurn(text: string, options: TurnOptions = {}): Promise<DoneEvent> {
    let done: DoneEvent = { type: 'done', text: '' };
    for await (const event of this.stream(text, options)) if (event.type === 'done') done = event;
    return done;
  }

  /** Sends a message and yields the answer as it arrives; the last event is `done`. Leaving the loop has the effect of `onLeave`. */
  async *stream(text: string, options: TurnOptions = {}): AsyncGenerator<TurnEvent, void, undefined> {
    const { turnId = newId(), after = 0, signal, onAway, onLeave = 'cancel', include = [] } = options;
    checkInclude(include);
    if (this.#hasEnded) throw new FabricError('CONVERSATION_UNKNOWN', 'This conversation has ended');
    await this.#startForTurn(options);
    const extras = {
      options: options.options,
      tool_results: options.toolResults,
      retry_key: options.retryKey,
      retry_count: options.retryCount,
    };
    const deadline = new ReconnectDeadline({
      connection: this.#operations.connection,
      timeoutMs: this.#reconnectTimeoutMs,
      clock: this.#clock,
      onLost: () => onAway?.('sentinel'),
    });
    const turn: TurnRequest = {
      text,
      turnId,
      extras,
      include,
      // The agent ends a turn when the last call that follows it is cancelled.
      onLeave: onLeave === 'continue' ? 'continue' : 'cancel',
      timeoutMs: this.#turnTimeoutMs,
      signal: signal ? AbortSignal.any([signal, deadline.signal]) : deadline.signal,
    };
    const span = tracing?.start(`${OPERATION.invokeAgent} ${this.address}`, {
      kind: 'client',
      attributes: {
        [ATTRIBUTE.operation]: OPERATION.invokeAgent,
        [ATTRIBUTE.agentName]: this.address,
        [ATTRIBUTE.conversation]: this.id,
        [ATTRIBUTE.turn]: turnId,
      },
    });
    const reader = new TurnReader(this.#operations, turn, {
      after,
      reconnectTimeoutMs: this.#reconnectTimeoutMs,
      clock: this.#clock,
      onAgentAway: () => onAway?.('agent'),
    });
    let isOver = false;
    deadline.start();
    try {
      for await (const event of span ? spanned(span, reader.events()) : reader.events()) {
        if (event.type === 'done') {
          isOver = true;
          this.#transcript.push({ role: 'user', text }, { role: 'assistant', text: event.text });
        }
        yield event;
      }
    } catch (error) {
      // An error of the agent means that the turn has ended. After an abort or a timeout on this side it still runs, so it is
      // cancelled below.
      span?.end(errorTypeOf(error));
      isOver = !signal?.aborted && !isFabricError(error, 'CALL_TIMEOUT');
      throw error;
    } finally {
      deadline.stop();
      span?.end(isOver ? undefined : 'CALL_CANCELLED');
      if (!isOver && onLeave === 'cancel') await this.cancel(turnId).catch(() => {}); // the outcome of the turn matters more
    }
  }

  /** Cancels the turn at the agent, by default the running one. Has no effect if no turn is running. */
  cancel(turnId?: string): Promise<void> {
    return this.#operations.cancelTurn(turnId);
  }

  /**
   * Answers an approval that a turn waits for; `callId` is the `id` of its event. The same answer again has no effect.
   * @throws {APPROVAL_UNKNOWN | APPROVAL_ANSWERED} APPROVAL_ANSWERED if another answer was given before
   */
  answerApproval(callId: string, answer: ApprovalAnswer): Promise<void> {
    return this.#operations.answerApproval(callId, answer);
  }

  /** Returns the messages that the model still sees, oldest first. If the agent does not return them: those of this object. */
  async history(): Promise<readonly ConversationMessage[]> {
    if (!this.#started) return [];
    return (await this.#operations.history()) ?? [...this.#transcript];
  }

  /** Returns the state of the conversation; `undefined` if the agent has no states. @throws {CONVERSATION_UNKNOWN} */
  state(): Promise<ConversationState | undefined> {
    return this.#operations.state();
  }

  /** Ends the conversation. The agent keeps its journal until retention removes it. Further calls have no effect. */
  async end({ timeoutMs = CONTROL_TIMEOUT_MS }: { timeoutMs?: number | undefined } = {}): Promise<void> {
    if (this.#hasEnded) return;
    this.#hasEnded = true;
    if (this.#started) await this.#operations.end(timeoutMs);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.end();
  }
}
