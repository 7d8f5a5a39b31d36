// The port of the conversation store: one append-only journal per conversation, one row per event. Methods are asynchronous and
// may share a commit; once one resolves, its write is as durable as the store can make it. A writer acquires a conversation for
// a lease, and an epoch fences off every earlier writer. Removed conversations stay in a trash before they are deleted.
// `memory-store.ts` and `sqlite-store.ts` implement the port and share `store.conformance.ts`.

import type { QuotaChange, QuotaRefusal } from './quota.ts';
import type { StoreTime } from './store-time.ts';

export type EventKind =
  | 'conversation_started'
  | 'turn_accepted'
  | 'turn_extended'
  | 'turn_resumed'
  | 'model_called'
  | 'text'
  | 'model_replied'
  | 'tool_started'
  | 'tool_finished'
  | 'approval_requested'
  | 'approval_answered'
  | 'turn_completed'
  | 'turn_failed'
  | 'turn_cancelled'
  | 'conversation_ended';

/** Plain JSON. `conversation/journal/journal.ts` defines its shape. */
export type EventBody = Readonly<Record<string, unknown>>;

export interface NewEvent {
  readonly kind: EventKind;
  /** Milliseconds since the epoch. */
  readonly at: number;
  /** Undefined for the two events of the conversation itself. */
  readonly turnId?: string | undefined;
  readonly body: EventBody;
}

export interface JournalEvent extends NewEvent {
  /** Position in the conversation, from 1, without gaps. */
  readonly seq: number;
  /** Position for readers, after the whole event: see `cursor.ts`. */
  readonly cursor: number;
}

export type StoredState = 'working' | 'input-required' | 'completed' | 'canceled';
export const isEndedState = (state: StoredState): boolean => state === 'completed' || state === 'canceled';

/** Summary of a conversation, available without reading its journal. */
export interface ConversationRecord {
  /** Id in the store, unique in it. The other methods take this one. */
  readonly id: string;
  /** Id that callers use. It is unique for an agent and an owner, and mostly the same as `id`. */
  readonly publicId: string;
  /** Address of its agent. */
  readonly agent: string;
  /** Owner: the id of the principal that started it. `local` for conversations of versions without principals. */
  readonly principal: string;
  /** Principals that may use it beside the owner; `*` is every principal. */
  readonly sharedWith: readonly string[];
  /** Id of the call that started it. A repeated id is the same start. */
  readonly startCallId: string;
  readonly state: StoredState;
  readonly startedAt: number;
  /** Time of its start, or of the last append that `marksChange`. */
  readonly changedAt: number;
  readonly lastSeq: number;
  /** Turns accepted so far. */
  readonly turns: number;
  /** Length of all event bodies, in characters. */
  readonly chars: number;
  /** Small running totals. An append replaces them as a whole. */
  readonly totals: EventBody;
  /** Time of the move to the trash, in ms since the epoch; 0 if the conversation is not there. */
  readonly trashedAt: number;
  /** State of the turn that ended last; undefined before the first one has ended. */
  readonly lastOutcome: EndedTurnState | undefined;
  /** True if no list has it, and a sweep deletes it soon after its end. */
  readonly isEphemeral: boolean;
  /** The turn that the conversation was forked at. Its conversation may be gone. */
  readonly forkedFrom?: ForkPoint | undefined;
}

/** A turn of another conversation, the last one that a fork took over. */
export interface ForkPoint {
  readonly conversationId: string;
  readonly turnId: string;
}

export type EndedTurnState = Exclude<TurnState, 'open'>;
export type TurnState = 'open' | 'completed' | 'failed' | 'cancelled';

export interface TurnRecord {
  readonly turnId: string;
  readonly state: TurnState;
  readonly acceptedSeq: number;
  /** 0 while it is open. */
  readonly endedSeq: number;
  /** True if the turn is part of the history that models receive. */
  readonly inHistory: boolean;
}

export interface NewConversation {
  /** Its public id. */
  readonly id: string;
  readonly agent: string;
  readonly startCallId: string;
  /** Id of the principal that starts it and owns it. @default 'local' */
  readonly principal?: string | undefined;
  /** Principals that may use it beside the owner; `*` is every principal. @default none */
  readonly sharedWith?: readonly string[] | undefined;
  /** Length of the history, in turns. `acquire` returns that many. */
  readonly historyTurns: number;
  /** @default false */
  readonly isEphemeral?: boolean | undefined;
  readonly totals: EventBody;
  /** @default 'working' */
  readonly state?: StoredState | undefined;
  readonly forkedFrom?: ForkPoint | undefined;
  /** Becomes seq 1. */
  readonly started: NewEvent;
  /** Acquires it for this writer, without a lease: any writer may acquire it at once. @default false */
  readonly isAcquired?: boolean | undefined;
}

export interface CreatedConversation {
  /** False if it existed before. */
  readonly created: boolean;
  readonly record: ConversationRecord;
  /** Present if it was created with `isAcquired`. */
  readonly fence?: Fence | undefined;
}

/** Epoch of the first acquisition of a conversation. */
export const FIRST_EPOCH = 1;

/** Fencing token of one acquisition. The store rejects writes whose epoch is not the conversation's latest. */
export interface Fence {
  readonly holder: string;
  /** Counts up with each acquisition. */
  readonly epoch: number;
}

export interface Append {
  readonly conversationId: string;
  readonly fence: Fence;
  /** Seq after which the events are appended: the last one of the conversation. */
  readonly after: number;
  readonly events: readonly NewEvent[];
  readonly totals?: EventBody | undefined;
  readonly state?: StoredState | undefined;
  /** Renews the lease for this long, in ms; 0 releases it. The fence stays valid until another writer acquires the conversation. */
  readonly leaseMs: number;
  /** Makes the accepted turn the latest one of its retry key. */
  readonly retry?: RetryRequest | undefined;
  /**
   * Marks the conversation as dormant until it is acquired again: its open turns wait for a person, so no process has to continue
   * them. @default false
   */
  readonly isDormant?: boolean | undefined;
}

/** A turn that its caller sends again, under the same key, when it does not know what became of it. */
export interface RetryRequest {
  /** Address of the agent. Keys belong to an agent and a principal, and turns of every conversation share them. */
  readonly agent: string;
  readonly principal: string;
  readonly key: string;
  /** 0 for the first request, which runs a turn. A later one joins the latest turn of its key, of the last 24 hours. */
  readonly count: number;
  readonly conversationId: string;
  readonly turnId: string;
  /** A first request joins the turn that one of its retries started less than this ago, in ms: its message was delayed. */
  readonly lateMs: number;
}

/** Place of a turn. */
export interface TurnPlace {
  readonly conversationId: string;
  readonly turnId: string;
}

/** Everything that is needed to continue a conversation. Its size does not grow with the conversation. */
export interface AcquiredConversation {
  readonly record: ConversationRecord;
  readonly fence: Fence;
  readonly started: JournalEvent;
  /** The last turns that are part of the history, oldest first, without their `text` events. */
  readonly history: readonly (readonly JournalEvent[])[];
  /** Open turns with all of their events, in the order in which they were accepted. */
  readonly open: readonly (readonly JournalEvent[])[];
}

/** A conversation as a caller names it. */
export interface ReachRequest {
  readonly agent: string;
  readonly publicId: string;
  /** Id of the principal that calls. */
  readonly principal: string;
  /** True if the principal may use the conversations of all owners. */
  readonly mayUseAny: boolean;
  /** Only a conversation of this owner. @default any owner */
  readonly owner?: string | undefined;
}

/** State of a conversation, read without acquiring it. */
export interface Peek {
  readonly publicId: string;
  readonly agent: string;
  readonly state: StoredState;
  readonly lastSeq: number;
  /** Epoch of the latest acquisition; 0 before the first. */
  readonly epoch: number;
  /** True if the store is full and new turns are refused. */
  readonly isFull: boolean;
  /** True if its open turns wait for a person and no process has it in memory. */
  readonly isDormant: boolean;
  /** Id of the writer whose lease has not expired, this one included; absent if there is none or if its process has ended. */
  readonly holder?: string | undefined;
  readonly turn?: TurnRecord | undefined;
}

export interface ReadOptions {
  /** A seq. @default 0 */
  readonly after?: number | undefined;
  /** A cursor, instead of `after`. If it is inside a text, that event comes first, with the rest of its text. */
  readonly afterCursor?: number | undefined;
  /** The seq of the last event to return. @default the last one of the conversation */
  readonly until?: number | undefined;
  readonly turnId?: string | undefined;
  /** Limit of returned events. @default 500 */
  readonly limit?: number | undefined;
  /** Bodies that are longer together end the page early, in characters. A page has one event at least. @default no limit */
  readonly maxChars?: number | undefined;
}

export interface HistoryOptions {
  /** Returns the history as it was after this seq. @default as it is now */
  readonly until?: number | undefined;
}

export interface ListOptions {
  readonly agent?: string | undefined;
  /** True lists the trash, false the other conversations. @default false */
  readonly inTrash?: boolean | undefined;
  /** @default 100 */
  readonly limit?: number | undefined;
  /** Last record of the previous page. */
  readonly before?: Pick<ConversationRecord, 'changedAt' | 'id'> | undefined;
}

/** Place in the list of conversations: after a conversation, or after one of its turns if its texts are being searched. */
export interface FindCursor extends Pick<ConversationRecord, 'changedAt' | 'id'> {
  readonly turnId?: string | undefined;
}

export interface FindOptions {
  readonly agent: string;
  /** Only conversations of this owner. @default of all owners */
  readonly principal?: string | undefined;
  readonly state?: StoredState | undefined;
  /** True finds conversations whose last turn failed, false the others. */
  readonly failed?: boolean | undefined;
  /** Part of an id or of a text of the user, in any case. */
  readonly search?: string | undefined;
  readonly limit: number;
  readonly from?: FindCursor | undefined;
}

export interface FoundPage {
  readonly records: readonly ConversationRecord[];
  /** Undefined at the end of the list. */
  readonly next: FindCursor | undefined;
}

export interface SweepOptions {
  /**
   * Deletes ephemeral conversations that ended, or were moved to the trash, and did not change for this long, in ms.
   * @default none
   */
  readonly ephemeralMs?: number | undefined;
  /** Moves conversations to the trash whose last change is earlier, in ms since the epoch. @default none expire */
  readonly expiredBefore?: number | undefined;
  /** Deletes conversations that were moved to the trash before both of these. @default none */
  readonly trashedBefore?: { readonly at: number; readonly runningMs: number } | undefined;
  /** While the store without its trash is larger, moves ended conversations to the trash, oldest first. @default no limit */
  readonly maxBytes?: number | undefined;
  /** Limit of moved conversations, and of deleted ones. Deletions end early after some MiB. @default 200 */
  readonly limit?: number | undefined;
}

export interface SweepReport {
  /** Conversations that were moved to the trash. */
  readonly trashed: readonly { readonly id: string; readonly state: StoredState }[];
  /** Number of conversations that were deleted, ephemeral ones included. */
  readonly deleted: number;
  /** False if more conversations match, or if the file can shrink further. */
  readonly isDone: boolean;
  /** Size of the store afterwards, with the trash. */
  readonly bytes: number;
}

/**
 * Longest lease, in ms. Leases are wall time, since processes share them. One that ends later was written before the clock was set
 * back, and counts as expired; a living writer renews it soon.
 */
export const MAX_LEASE_MS = 600_000;

/** Limits of each owner except `local`; 0 for no limit. */
export interface OwnerLimits {
  /** Size of its conversations, in bytes of their events. */
  readonly maxBytes: number;
  /** Open conversations. */
  readonly maxConversations: number;
}

export const NO_OWNER_LIMITS: OwnerLimits = Object.freeze({ maxBytes: 0, maxConversations: 0 });

/** Conversations that a full store removed to serve a request. */
export interface RoomReport {
  /** Moved to the trash: ended conversations, and idle ones of owners except `local`. */
  readonly ended: number;
  readonly idle: number;
  /** Deleted from the trash. */
  readonly deleted: number;
  /** Size of the store afterwards, with the trash. */
  readonly bytes: number;
}

/**
 * Durable store of conversations. Every method may reject with `STORE_UNAVAILABLE`, and writes with `STORE_FULL`. A full store
 * first deletes its trash, then ended conversations, then idle and dormant ones of owners except `local`. The largest owner comes first,
 * and its oldest conversation. An owner at a limit of its own makes room by its own conversations; without any to remove, new
 * conversations and turns are refused with `QUOTA_EXCEEDED`.
 */
export interface ConversationStore {
  /** Location of the store, for logs: a path, or `memory`. */
  readonly place: string;
  /** Id of this writer: 16 letters and digits, a new one for each opened store. */
  readonly holder: string;
  /** Creates a conversation, or returns the existing one of its agent and owner with its public id. */
  create(conversation: NewConversation): Promise<CreatedConversation>;
  /**
   * Returns the id in the store of the conversation that a principal reaches under a public id: its own, else one that is shared with
   * it, else with `mayUseAny` one of another owner. The oldest one if there are several. `undefined` if there is none.
   */
  reach(request: ReachRequest): Promise<string | undefined>;
  /**
   * Acquires the conversation for this writer, for a lease of `leaseMs`. Fences off the previous writer, even if that was
   * this one. Resolves to `undefined` if there is no conversation with that id.
   * @throws {STORE_CONFLICT} while another live writer has the lease; `details.retryAfterMs` is its remainder, in ms, and
   * `details.holder` the id of that writer
   */
  acquire(conversationId: string, leaseMs: number): Promise<AcquiredConversation | undefined>;
  /** Returns the state of a conversation, and of one of its turns, without acquiring it. */
  peek(conversationId: string, turnId?: string): Promise<Peek | undefined>;
  /**
   * Appends events, all or none, in the order of the calls.
   * @throws {STORE_CONFLICT} if the fence is not the latest, `after` is not the last seq, or an accepted turn's id exists; with
   * `details.isRetry` if `retried` finds a turn for its retry
   */
  append(append: Append): Promise<void>;
  /** Renews leases by `leaseMs`. Returns the conversations that are still held. */
  renew(conversationIds: readonly string[], leaseMs: number): Promise<readonly string[]>;
  /** Returns a conversation that is not in the trash, or one that is. */
  record(
    conversationId: string,
    options?: Pick<ListOptions, 'inTrash'>,
  ): Promise<ConversationRecord | undefined>;
  /** Returns events in order, at most `limit`. Reads the trash too. */
  read(conversationId: string, options?: ReadOptions): Promise<readonly JournalEvent[]>;
  /** Returns the history as in `AcquiredConversation`, without acquiring the conversation. */
  history(conversationId: string, options?: HistoryOptions): Promise<readonly (readonly JournalEvent[])[]>;
  /** Returns the turn that asked for an approval, by the id of the question. */
  turnOfApproval(conversationId: string, callId: string): Promise<string | undefined>;
  /** Returns conversations of the agent that have open turns and no live holder, without the dormant ones. */
  unfinished(agent: string, limit: number): Promise<readonly string[]>;
  /**
   * Returns the turn that a request joins: the one with its id, or the latest one of its retry key. Resolves to `undefined` if the
   * request runs a turn. A first request that joined a turn joins it again, and no other one does.
   */
  retried(request: RetryRequest): Promise<TurnPlace | undefined>;
  /**
   * Finds conversations, latest change first, without ephemeral ones. One call does a bounded amount of work, so a page may be short
   * or empty although it has a `next`.
   */
  find(options: FindOptions): Promise<FoundPage>;
  /** Returns records, latest change first, without ephemeral ones unless they are in the trash. */
  list(options?: ListOptions): Promise<readonly ConversationRecord[]>;
  /**
   * Moves a conversation to the trash, where only `list`, `record`, `read`, `restore` and `remove` find it. Its ids are free for
   * another conversation. Resolves to `false` if there is none. @throws {STORE_CONFLICT} while it is held
   */
  trash(conversationId: string): Promise<boolean>;
  /**
   * Moves a conversation back from the trash. If its owner has another one with its public id, its id in the store becomes its public
   * id. Resolves to `false` if it is not there.
   */
  restore(conversationId: string): Promise<boolean>;
  /**
   * Deletes a conversation with its events, also from the trash. Resolves to `false` if there is none.
   * @throws {STORE_CONFLICT} while it is held
   */
  remove(conversationId: string): Promise<boolean>;
  /** Moves whole conversations to the trash, never held ones, and deletes old ones from it. One call does a bounded amount of work. */
  sweep(options: SweepOptions): Promise<SweepReport>;
  /**
   * Records the wall time, and `elapsedMs` of running time since the last call of this writer. One live writer of a store keeps
   * its time; for the others it resolves to `undefined`.
   */
  keepTime(elapsedMs: number): Promise<StoreTime | undefined>;
  /** Returns the time of the store as it was last recorded. */
  time(): Promise<StoreTime>;
  /** Ends a hold of sweeps. */
  endHold(): Promise<void>;
  /**
   * Changes counters of a principal's quotas, all or none. Returns the first change that its limit refuses; then nothing has changed.
   * Counters end with their periods.
   */
  changeQuota(principal: string, changes: readonly QuotaChange[]): Promise<QuotaRefusal | undefined>;
  /** Returns the secret of the store: 32 random bytes as base64url, the same for all writers and at any time. */
  replicaKey(): Promise<string>;
  /**
   * Calls `listener` when another writer may have released conversations. Returns the function that stops it. A call may be missed, so
   * search `unfinished` periodically as well. @default absent, the store sends no notifications
   */
  onRelease?(listener: () => void): () => void;
  /** Waits for pending operations and releases all leases. Idempotent. */
  close(): Promise<void>;
}

/** Returns the final state of a turn that ends with an event of this kind. */
export const endOfTurn = (kind: EventKind): Exclude<TurnState, 'open'> | undefined =>
  kind === 'turn_completed'
    ? 'completed'
    : kind === 'turn_failed'
      ? 'failed'
      : kind === 'turn_cancelled'
        ? 'cancelled'
        : undefined;

/**
 * True if an append sets `changedAt`: it starts or ends a turn, changes the state, or leaves the conversation dormant. Events within a turn
 * do not, because lists are sorted by change, and each change moves an entry in two indexes.
 */
export const marksChange = (
  {
    events,
    state,
    isDormant,
  }: { events: readonly { kind: EventKind }[] } & Pick<Append, 'state' | 'isDormant'>,
  before: StoredState,
): boolean =>
  isDormant === true ||
  (state !== undefined && state !== before) ||
  events.some(({ kind }) => kind === 'turn_accepted' || endOfTurn(kind) !== undefined);
