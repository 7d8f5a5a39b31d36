// The port to where conversations are kept: one append-only journal for each, one row an event. Every method is
// asynchronous and may be carried out together with others in one commit; what it resolves is durable as far as the store
// can make it so. `memory-store.ts` and `sqlite-store.ts` implement it and share `store.conformance.ts`.

export type EventKind =
  | 'conversation_started'
  | 'turn_accepted'
  | 'turn_resumed'
  | 'model_called'
  | 'text'
  | 'model_replied'
  | 'tool_started'
  | 'tool_finished'
  | 'turn_completed'
  | 'turn_failed'
  | 'turn_cancelled'
  | 'conversation_ended';

/** Plain JSON; its shape is the business of `conversation-journal.ts`. */
export type EventBody = Readonly<Record<string, unknown>>;

export interface NewEvent {
  readonly kind: EventKind;
  /** Milliseconds since the epoch. */
  readonly at: number;
  /** Absent for the two events of the conversation itself. */
  readonly turnId?: string;
  readonly body: EventBody;
}

export interface JournalEvent extends NewEvent {
  /** Its place in the conversation, from 1, without gaps. */
  readonly seq: number;
}

export type StoredState = 'working' | 'input-required' | 'completed' | 'canceled';
export const isEndedState = (state: StoredState): boolean => state === 'completed' || state === 'canceled';

/** What is known of a conversation without reading its journal. */
export interface ConversationRecord {
  readonly id: string;
  /** Which agent it belongs to: its address. */
  readonly agent: string;
  /** The call that started it; the same call again is the same start. */
  readonly startCallId: string;
  readonly state: StoredState;
  readonly startedAt: number;
  readonly changedAt: number;
  readonly lastSeq: number;
  /** Turns accepted so far. */
  readonly turns: number;
  /** Characters of all event bodies. */
  readonly chars: number;
  /** Small running totals, replaced as a whole by appends. */
  readonly totals: EventBody;
}

export type TurnState = 'open' | 'completed' | 'failed' | 'cancelled';

export interface TurnRecord {
  readonly turnId: string;
  readonly state: TurnState;
  readonly acceptedSeq: number;
  /** 0 while it is open. */
  readonly endedSeq: number;
  /** Whether the model is shown this turn. */
  readonly inHistory: boolean;
}

export interface NewConversation {
  readonly id: string;
  readonly agent: string;
  readonly startCallId: string;
  /** How many turns the model is shown, and `acquire` returns. */
  readonly historyTurns: number;
  readonly totals: EventBody;
  /** Becomes seq 1. */
  readonly started: NewEvent;
}

/** Fencing token of one acquisition. The store rejects writes whose epoch is not the conversation's latest. */
export interface Fence {
  readonly holder: string;
  /** Counts up with each `acquire`. */
  readonly epoch: number;
}

export interface Append {
  readonly conversationId: string;
  readonly fence: Fence;
  /** The last seq that the writer knows; the events follow it. */
  readonly after: number;
  readonly events: readonly NewEvent[];
  readonly totals?: EventBody;
  readonly state?: StoredState;
  /** Renews the lease for this long, in ms; 0 releases it. The fence stays valid until another writer acquires the conversation. */
  readonly leaseMs: number;
}

/** A conversation and what is needed to go on with it; its size does not grow with the conversation. */
export interface AcquiredConversation {
  readonly record: ConversationRecord;
  readonly fence: Fence;
  readonly started: JournalEvent;
  /** The last turns that are part of the history, oldest first, without their `text` events. */
  readonly history: readonly (readonly JournalEvent[])[];
  /** Turns that have not ended, in the order they were accepted, with all of their events. */
  readonly open: readonly (readonly JournalEvent[])[];
}

export interface Peek {
  readonly agent: string;
  readonly state: StoredState;
  readonly lastSeq: number;
  /** Epoch of the latest acquisition; 0 before the first. */
  readonly epoch: number;
  /** New turns are refused for want of room. */
  readonly isFull: boolean;
  readonly turn?: TurnRecord;
}

export interface ReadOptions {
  /** @default 0 */
  readonly after?: number;
  readonly turnId?: string;
  /** Most events of one answer. @default 500 */
  readonly limit?: number;
}

export interface ListOptions {
  readonly agent?: string;
  /** @default 100 */
  readonly limit?: number;
  /** The last record of the page before. */
  readonly before?: Pick<ConversationRecord, 'changedAt' | 'id'>;
}

export interface SweepOptions {
  /** Conversations that did not change since are removed, in ms since the epoch; none without it. */
  readonly expiredBefore?: number;
  /** While the store is larger, ended conversations are removed too, oldest first. */
  readonly maxBytes?: number;
  /** Most conversations that are removed at once. @default 500 */
  readonly limit?: number;
}

export interface SweepReport {
  readonly removed: readonly { readonly id: string; readonly state: StoredState }[];
  /** What the store holds afterwards. */
  readonly bytes: number;
}

/**
 * Where conversations are kept. Every method may reject with `STORE_UNAVAILABLE`; those that write also with `STORE_FULL`.
 */
export interface ConversationStore {
  /** What people are told about where it is: a path, or `memory`. */
  readonly place: string;
  /** Creates a conversation, or tells of the one that has its id. */
  create(conversation: NewConversation): Promise<{ created: boolean; record: ConversationRecord }>;
  /**
   * Takes the conversation for this store's writer and brings what is needed to go on; `undefined` if there is none with
   * that id. Whoever had it before, this writer included, can no longer write with its old fence.
   * @throws {STORE_CONFLICT} while somebody else holds it; `details.retryAfterMs` says for how long at most
   */
  acquire(conversationId: string, leaseMs: number): Promise<AcquiredConversation | undefined>;
  /** Whether the conversation and the turn exist, and how far they are. */
  peek(conversationId: string, turnId?: string): Promise<Peek | undefined>;
  /**
   * Adds events, all or none. Appends are carried out in the order they were given.
   * @throws {STORE_CONFLICT} when the fence is not the latest, `after` is not the last seq, or a turn is accepted whose id
   * the conversation knows
   */
  append(append: Append): Promise<void>;
  /** Holds on to conversations for another `leaseMs`; those that were lost are left out of the answer. */
  renew(conversationIds: readonly string[], leaseMs: number): Promise<readonly string[]>;
  record(conversationId: string): Promise<ConversationRecord | undefined>;
  /** Events in order, at most `limit`. */
  read(conversationId: string, options?: ReadOptions): Promise<readonly JournalEvent[]>;
  /** The last turns that are part of the history, as in `AcquiredConversation`; nobody needs to hold the conversation. */
  history(conversationId: string): Promise<readonly (readonly JournalEvent[])[]>;
  /** Conversations of the agent that have open turns and that nobody who lives holds. */
  unfinished(agent: string, limit: number): Promise<readonly string[]>;
  /** The latest changed first. */
  list(options?: ListOptions): Promise<readonly ConversationRecord[]>;
  /** Removes a conversation and all of its events. `false` if there is none. @throws {STORE_CONFLICT} while it is held */
  remove(conversationId: string): Promise<boolean>;
  /** Removes whole conversations, never one that is held. */
  sweep(options: SweepOptions): Promise<SweepReport>;
  /** Waits for what was asked and lets go of everything. Twice is harmless. */
  close(): Promise<void>;
}

/** The state that an event leaves its turn in, if it ends it. */
export const endOfTurn = (kind: EventKind): Exclude<TurnState, 'open'> | undefined =>
  kind === 'turn_completed'
    ? 'completed'
    : kind === 'turn_failed'
      ? 'failed'
      : kind === 'turn_cancelled'
        ? 'cancelled'
        : undefined;
