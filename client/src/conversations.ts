// The conversations of one chat agent: lists, events and reports of all of them. `conversation.ts` holds one of them.
import { type Clock, isFabricError, newId, systemClock } from '@fame-fabric/shared';
import { AwayRetry } from './away-retry.ts';
import { type ApprovalAnswer, type Caller, notSupported, required } from './chat-operations.ts';
import { Conversation, type ConversationOptions } from './conversation.ts';
import type { ConversationPage, ConversationState, PromptReport, TurnReport } from './conversation-types.ts';
import { eventAfter } from './cursor.ts';
import type { ConversationEvent, EventPage } from './turn-event.ts';

export interface ConversationsOptions {
  /** Longest time that `follow` waits for a lost agent, in ms. @default 60_000 */
  reconnectTimeoutMs?: number | undefined;
  clock?: Clock | undefined;
}

export interface ListOptions {
  /** Only conversations in this state. */
  state?: ConversationState | undefined;
  /** Only conversations whose last turn failed. */
  failed?: boolean | undefined;
  /** Only conversations of the principal with this id. @default all that the caller may list */
  owner?: string | undefined;
  /** Only conversations with this text in their id or in a message of their user. At most 200 characters. */
  search?: string | undefined;
  /** `next` of the previous page. */
  before?: string | undefined;
  /** At most 200. @default 50 */
  limit?: number | undefined;
}

export interface ReadOptions {
  /** Only events after this cursor, the `seq` of an event. @default 0 */
  after?: number | undefined;
  /** At most 500. @default 100 */
  limit?: number | undefined;
}

export interface FollowOptions {
  /** Only events after this cursor. @default 0 */
  after?: number | undefined;
  /** True if the agent has answered before. Then `follow` waits for it if no node serves its address. @default false */
  hasAnswered?: boolean | undefined;
  signal?: AbortSignal | undefined;
  /** Called once each time that the wait for a lost agent starts. */
  onAway?: (() => void) | undefined;
}

export interface ForkOptions {
  /** Id of the last turn that the new conversation keeps. The turn must have ended. */
  at: string;
  /** Id of the new conversation. @default a new random id */
  id?: string | undefined;
  /** Model of the new conversation, one that the agent allows. @default the agent's own */
  model?: string | undefined;
  /** True if lists omit the new conversation, and the agent deletes it 15 minutes after its end. @default false */
  isEphemeral?: boolean | undefined;
}

const TIMEOUT_MS = 30_000;
/** Silence after which `follow` calls again, in ms. Shorter than the silence after which a sentinel ends a call. */
const QUIET_MS = 600_000;
const DEFAULT_RECONNECT_TIMEOUT_MS = 60_000;

/** Reads and changes the conversations of the agent at `address`. Agents of version 0.1 lack these operations: METHOD_NOT_FOUND. */
export class Conversations {
  readonly address: string;
  readonly #caller: Caller;
  readonly #reconnectTimeoutMs: number;
  readonly #clock: Clock;

  constructor(caller: Caller, address: string, options: ConversationsOptions = {}) {
    this.#caller = caller;
    this.address = address;
    this.#reconnectTimeoutMs = options.reconnectTimeoutMs ?? DEFAULT_RECONNECT_TIMEOUT_MS;
    this.#clock = options.clock ?? systemClock;
  }

  /**
   * Requests a page of the list, latest change first: the conversations of this client's principal, with the local key those of all
   * owners. Needs a credential. A page may be short or empty although `next` is set,
   * because one call searches a bounded part of the store.
   */
  async list(options: ListOptions = {}): Promise<ConversationPage> {
    const { state, failed, owner, search, before, limit } = options;
    return (await this.#call('list_conversations', {
      state,
      failed,
      owner,
      search,
      before,
      limit,
    })) as ConversationPage;
  }

  /** Requests a page of the events of a conversation, oldest first. @throws {CONVERSATION_UNKNOWN} */
  async readEvents(id: string, { after, limit }: ReadOptions = {}): Promise<EventPage> {
    return (await this.#call('read_events', { conversation_id: id, after, limit })) as EventPage;
  }

  /**
   * Yields the events of a conversation, past and future, until the conversation ends. Continues after lost connections. A
   * `restart` event withdraws text that was yielded before.
   * @throws {CONVERSATION_UNKNOWN | NODE_GONE | ...} the last error if the agent does not return within `reconnectTimeoutMs`
   */
  async *follow(id: string, options: FollowOptions = {}): AsyncGenerator<ConversationEvent, void> {
    const { signal, onAway } = options;
    let { after = 0, hasAnswered = false } = options;
    const retry = new AwayRetry({
      connection: this.#caller,
      hasAnswered: () => hasAnswered,
      reconnectTimeoutMs: this.#reconnectTimeoutMs,
      clock: this.#clock,
      onAway,
    });
    for (;;) {
      const first = after;
      try {
        for await (const event of this.#events(id, after, signal)) {
          hasAnswered = true;
          // After the agent was restored from a backup, a restart begins at an earlier cursor.
          const unread = event.type === 'restart' ? event : eventAfter(event, after);
          if (!unread) continue;
          after = unread.seq;
          yield unread;
        }
        return;
      } catch (error) {
        const hasProgressed = after > first;
        if (isFabricError(error, 'CALL_TIMEOUT')) continue; // nothing happened in the conversation
        if (isFabricError(error, 'READER_TOO_SLOW') && hasProgressed) continue;
        if (isFabricError(error, 'METHOD_NOT_FOUND')) throw notSupported(this.address, 'read_events', error);
        await retry.wait(error, hasProgressed, signal);
      }
    }
  }

  /** Requests the report of a turn. @throws {CONVERSATION_UNKNOWN | TURN_UNKNOWN} */
  async turn(id: string, turnId: string): Promise<TurnReport> {
    return (await this.#call('get_turn', { conversation_id: id, turn_id: turnId })) as TurnReport;
  }

  /**
   * Requests the messages that the model received at a step of a turn, from 1.
   * @throws {CONVERSATION_UNKNOWN | TURN_UNKNOWN | PARAMS_INVALID} PARAMS_INVALID if the turn has no such step
   */
  async prompt(id: string, turnId: string, step: number): Promise<PromptReport> {
    const params = { conversation_id: id, turn_id: turnId, step };
    return (await this.#call('get_prompt', params)) as PromptReport;
  }

  /**
   * Starts a conversation that continues another one after its turn `at`. The two are independent from then on. `options` apply
   * to the returned handle.
   * @throws {CONVERSATION_UNKNOWN | TURN_UNKNOWN | PARAMS_INVALID} PARAMS_INVALID if the turn has not ended
   */
  async fork(
    id: string,
    { at, id: forkId = newId(), model, isEphemeral }: ForkOptions,
    options: Pick<ConversationOptions, 'turnTimeoutMs' | 'reconnectTimeoutMs' | 'clock'> = {},
  ): Promise<Conversation> {
    await this.#call('fork', { conversation_id: id, at, id: forkId, model, ephemeral: isEphemeral });
    return new Conversation(this.#caller, this.address, { ...options, id: forkId, isResumed: true });
  }

  /** Answers an approval that a turn waits for. @throws {APPROVAL_UNKNOWN | APPROVAL_ANSWERED} as `Conversation.answerApproval` */
  async answerApproval(id: string, callId: string, { approve, note }: ApprovalAnswer): Promise<void> {
    await this.#call('answer_approval', { conversation_id: id, call_id: callId, approve, note });
  }

  async *#events(
    id: string,
    after: number,
    signal: AbortSignal | undefined,
  ): AsyncGenerator<ConversationEvent, void> {
    const params = { conversation_id: id, after, follow: true };
    const options = { timeoutMs: QUIET_MS, resend: 'until-item', signal } as const;
    yield* this.#caller.stream(
      this.address,
      'read_events',
      params,
      options,
    ) as AsyncIterable<ConversationEvent>;
  }

  // Repeating any of these operations is harmless, so a reconnected link resends them.
  #call(method: string, params: unknown): Promise<unknown> {
    const answer = this.#caller.call(this.address, method, params, { timeoutMs: TIMEOUT_MS, resend: true });
    return required(this.address, method, answer);
  }
}
