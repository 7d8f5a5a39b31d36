// In-memory `ConversationStore`: the full contract except durability. For tests and ephemeral agents.
import { randomBytes } from 'node:crypto';
import { type Clock, FabricError, newId, systemClock } from '@fame-fabric/shared';
import type {
  AgentStore,
  NewRequest,
  RequestEnd,
  RequestListOptions,
  StateListOptions,
  StateWrite,
} from './agent-store.ts';
import { type Acquisition, acquisitionOf, cursorOf, eventsAfter, fenceOf, seqBefore } from './cursor.ts';
import { find } from './find.ts';
import { MemoryAgentData, MemoryAgentStore } from './memory-agent-store.ts';
import { ownerLimitText } from './owner-limits.ts';
import { changed, type QuotaChange, type QuotaCounter, type QuotaRefusal, refusalOf } from './quota.ts';
import { joins, MAX_RETRIES, RETRY_MS, type RetriedTurn } from './retry.ts';
import {
  type AcquiredConversation,
  type Append,
  type ConversationRecord,
  type ConversationStore,
  type CreatedConversation,
  type EventBody,
  endOfTurn,
  FIRST_EPOCH,
  type FindOptions,
  type FoundPage,
  type HistoryOptions,
  isEndedState,
  type JournalEvent,
  type ListOptions,
  marksChange,
  type NewConversation,
  type NewEvent,
  NO_OWNER_LIMITS,
  type OwnerLimits,
  type Peek,
  type ReachRequest,
  type ReadOptions,
  type RetryRequest,
  type RoomReport,
  type StoredState,
  type SweepOptions,
  type SweepReport,
  type TurnPlace,
  type TurnRecord,
} from './store.ts';
import { NO_TIME, readTime, type StoreTime, type TimeRecord, timeOf } from './store-time.ts';
import { reachOf, suffixedId } from './stored-id.ts';

/** An event with its body as JSON. Reads parse it, so they return copies, as those of any other store. */
type StoredEvent = Omit<JournalEvent, 'body' | 'cursor'> & { json: string };
type Mutable<T> = { -readonly [K in keyof T]: T[K] };

interface StoredConversation {
  record: Mutable<ConversationRecord>;
  historyTurns: number;
  events: StoredEvent[];
  turns: Map<string, Mutable<TurnRecord>>;
  acquisitions: Acquisition[];
  holder: string;
  /** Monotonic: the stores that share a conversation are of one process. */
  leaseUntil: number;
  epoch: number;
  /** Epoch of the writer that left it dormant. */
  dormantEpoch: number;
  /** Running time of the store at the move to the trash. */
  trashedRunningMs: number;
}

interface StoredRetry extends RetriedTurn {
  readonly stored: StoredConversation;
}

/** Conversations outside the trash by their ids in the store, with an index of their public ids. */
class NamedConversations extends Map<string, StoredConversation> {
  readonly #byName = new Map<string, Set<StoredConversation>>();

  /** The conversations of an agent with a public id, in the order of their addition. */
  named(agent: string, publicId: string): StoredConversation[] {
    return [...(this.#byName.get(nameOf({ agent, publicId })) ?? [])];
  }

  override set(id: string, stored: StoredConversation): this {
    const name = nameOf(stored.record);
    const named = this.#byName.get(name) ?? new Set();
    this.#byName.set(name, named.add(stored));
    return super.set(id, stored);
  }

  override delete(id: string): boolean {
    const stored = this.get(id);
    if (!stored) return false;
    const name = nameOf(stored.record);
    const named = this.#byName.get(name);
    named?.delete(stored);
    if (named?.size === 0) this.#byName.delete(name);
    return super.delete(id);
  }
}

const nameOf = ({ agent, publicId }: Pick<ConversationRecord, 'agent' | 'publicId'>): string =>
  JSON.stringify([agent, publicId]);

/** State of the store that its writers share. */
interface Shared {
  readonly conversations: NamedConversations;
  readonly trash: Map<string, StoredConversation>;
  readonly living: Set<string>;
  /** The latest turn of each retry key, by agent, principal and key. */
  readonly retries: Map<string, StoredRetry>;
  readonly agents: MemoryAgentData;
  /** By principal, unit and period. */
  readonly quotas: Map<string, QuotaCounter & { readonly endsAt: number }>;
  readonly replicaKey: string;
  readonly releaseListeners: Set<{ readonly holder: string; readonly listener: () => void }>;
  time: TimeRecord;
  keeper: string;
}

export interface MemoryStoreOptions {
  clock?: Clock | undefined;
  /** Size at which the store makes room, or refuses new conversations and turns, in characters; 0 for no limit. @default 0 */
  maxBytes?: number | undefined;
  /** @default no limits */
  ownerLimits?: OwnerLimits | undefined;
  /** Called after a full store removed conversations to serve a request. */
  onRoom?: ((report: RoomReport) => void) | undefined;
  /** Shares the conversations of another store, like two processes that share a file. */
  sharedWith?: MemoryStore | undefined;
}

export class MemoryStore implements ConversationStore, AgentStore {
  readonly place = 'memory';
  readonly holder = newId();
  readonly #clock: Clock;
  readonly #maxBytes: number;
  readonly #ownerLimits: OwnerLimits;
  readonly #onRoom: MemoryStoreOptions['onRoom'];
  readonly #shared: Shared;
  readonly #conversations: NamedConversations;
  readonly #trash: Map<string, StoredConversation>;
  readonly #agents: MemoryAgentStore;
  #isClosed = false;

  constructor(options: MemoryStoreOptions = {}) {
    this.#clock = options.clock ?? systemClock;
    this.#maxBytes = options.maxBytes ?? 0;
    this.#ownerLimits = options.ownerLimits ?? NO_OWNER_LIMITS;
    this.#onRoom = options.onRoom;
    this.#shared = options.sharedWith
      ? options.sharedWith.#shared
      : {
          conversations: new NamedConversations(),
          trash: new Map(),
          living: new Set(),
          retries: new Map(),
          quotas: new Map(),
          agents: new MemoryAgentData(),
          replicaKey: randomBytes(32).toString('base64url'),
          releaseListeners: new Set(),
          time: NO_TIME,
          keeper: '',
        };
    this.#conversations = this.#shared.conversations;
    this.#trash = this.#shared.trash;
    this.#shared.living.add(this.holder);
    this.#agents = new MemoryAgentStore({
      data: this.#shared.agents,
      holder: this.holder,
      clock: this.#clock,
      isLiving: (holder) => this.#shared.living.has(holder),
      assertNotFull: () => this.#assertNotFull(''),
      assertOpen: () => this.#assertOpen(),
    });
  }

  async create(conversation: NewConversation): Promise<CreatedConversation> {
    this.#assertOpen();
    const { id: publicId, agent, startCallId, started, historyTurns, forkedFrom } = conversation;
    const { principal = 'local', sharedWith = [], isEphemeral = false, isAcquired = false } = conversation;
    const existing = this.#owned({ agent, principal, publicId });
    if (existing) return { created: false, record: { ...existing.record } };
    this.#assertNotFull(publicId);
    this.#assertOwnerRoom(principal, '', true);
    let id = publicId;
    // Another owner may have chosen the suffixed id as its public one.
    while (this.#conversations.has(id)) id = suffixedId(id, agent, principal);
    this.#freeId(id);
    const event = toStored(started, 1);
    const record = {
      id,
      publicId,
      agent,
      principal,
      sharedWith: [...sharedWith],
      startCallId,
      state: conversation.state ?? 'working',
      startedAt: started.at,
      changedAt: this.#clock.now(),
      lastSeq: 1,
      turns: 0,
      chars: event.json.length,
      totals: copy(conversation.totals),
      trashedAt: 0,
      ...(forkedFrom ? { forkedFrom } : {}),
      lastOutcome: undefined,
      isEphemeral,
    };
    this.#conversations.set(id, {
      record,
      historyTurns,
      events: [event],
      turns: new Map(),
      acquisitions: isAcquired ? [{ fence: FIRST_EPOCH, firstSeq: 2 }] : [],
      holder: isAcquired ? this.holder : '',
      leaseUntil: 0,
      epoch: isAcquired ? FIRST_EPOCH : 0,
      dormantEpoch: -1,
      trashedRunningMs: 0,
    });
    const fence = isAcquired ? { holder: this.holder, epoch: FIRST_EPOCH } : undefined;
    return { created: true, record: { ...record }, fence };
  }

  async reach(request: ReachRequest): Promise<string | undefined> {
    this.#assertOpen();
    const { agent, publicId, owner } = request;
    const reached = this.#conversations
      .named(agent, publicId)
      .filter(({ record }) => owner === undefined || record.principal === owner)
      .map(({ record }) => ({ id: record.id, order: reachOf(record, request) ?? Number.POSITIVE_INFINITY }))
      .filter(({ order }) => order < Number.POSITIVE_INFINITY);
    // The conversations are in the order of their creation, and the sort is stable.
    return reached.sort((a, b) => a.order - b.order)[0]?.id;
  }

  async acquire(conversationId: string, leaseMs: number): Promise<AcquiredConversation | undefined> {
    this.#assertOpen();
    const stored = this.#conversations.get(conversationId);
    if (!stored) return undefined;
    const now = this.#clock.monotonic();
    if (stored.holder !== this.holder && this.#isLeased(stored)) {
      throw new FabricError('STORE_CONFLICT', 'Another process is working on this conversation.', {
        details: { retryAfterMs: stored.leaseUntil - now, holder: stored.holder },
      });
    }
    stored.epoch += 1;
    stored.acquisitions.push({ fence: stored.epoch, firstSeq: stored.record.lastSeq + 1 });
    stored.holder = this.holder;
    stored.leaseUntil = now + leaseMs;
    const open = [...stored.turns.values()].filter((turn) => turn.state === 'open');
    return {
      record: { ...stored.record, totals: copy(stored.record.totals) },
      fence: { holder: this.holder, epoch: stored.epoch },
      started: toEvent(stored, stored.events[0]!),
      history: history(stored),
      open: open.map((turn) => eventsOf(stored, turn.turnId).map((event) => toEvent(stored, event))),
    };
  }

  async peek(conversationId: string, turnId?: string): Promise<Peek | undefined> {
    this.#assertOpen();
    const stored = this.#conversations.get(conversationId);
    if (!stored) return undefined;
    const turn = turnId === undefined ? undefined : stored.turns.get(turnId);
    const { publicId, agent, state, lastSeq } = stored.record;
    const isFull = this.#isFull() && !this.#makeRoom(conversationId);
    const isDormant = isDormantNow(stored);
    const { epoch } = stored;
    const holder = this.#isLeased(stored) ? stored.holder : undefined;
    return { publicId, agent, state, lastSeq, epoch, isFull, isDormant, holder, turn: turn && { ...turn } };
  }

  async append(append: Append): Promise<void> {
    this.#assertOpen();
    const stored = this.#conversations.get(append.conversationId);
    const { holder, epoch } = append.fence;
    if (
      !stored ||
      stored.epoch !== epoch ||
      stored.holder !== holder ||
      stored.record.lastSeq !== append.after
    ) {
      throw new FabricError('STORE_CONFLICT', 'Another process has acquired the conversation.', {
        details: { lastSeq: stored?.record.lastSeq ?? 0 },
      });
    }
    for (const event of append.events) {
      if (event.kind !== 'turn_accepted') continue;
      this.#assertNotFull(append.conversationId);
      this.#assertOwnerRoom(stored.record.principal, append.conversationId, false);
      if (stored.turns.has(event.turnId!)) {
        throw new FabricError('STORE_CONFLICT', 'The conversation has a turn with that id already.');
      }
    }
    if (append.retry) this.#keepRetry(stored, append.retry);
    const { record } = stored;
    for (const event of append.events) {
      record.lastSeq += 1;
      const one = toStored(event, record.lastSeq);
      stored.events.push(one);
      record.chars += one.json.length;
      if (event.kind === 'turn_accepted') {
        const turnId = event.turnId!;
        const turn = { turnId, state: 'open' as const, acceptedSeq: one.seq, endedSeq: 0, inHistory: false };
        stored.turns.set(turnId, turn);
        record.turns += 1;
      }
      const state = endOfTurn(event.kind);
      const turn = state && stored.turns.get(event.turnId!);
      if (turn?.state === 'open') {
        Object.assign(turn, { state, endedSeq: one.seq, inHistory: event.body.in_history === true });
        record.lastOutcome = state;
      }
    }
    if (marksChange(append, record.state)) record.changedAt = this.#clock.now();
    if (append.state) record.state = append.state;
    if (append.totals) record.totals = copy(append.totals);
    if (append.isDormant) stored.dormantEpoch = epoch;
    stored.leaseUntil = append.leaseMs > 0 ? this.#clock.monotonic() + append.leaseMs : 0;
    if (append.leaseMs === 0) this.#notifyReleased();
  }

  async renew(conversationIds: readonly string[], leaseMs: number): Promise<readonly string[]> {
    this.#assertOpen();
    return conversationIds.filter((id) => {
      const stored = this.#conversations.get(id);
      if (stored?.holder !== this.holder) return false;
      stored.leaseUntil = this.#clock.monotonic() + leaseMs;
      return true;
    });
  }

  async record(
    conversationId: string,
    { inTrash = false }: Pick<ListOptions, 'inTrash'> = {},
  ): Promise<ConversationRecord | undefined> {
    this.#assertOpen();
    const record = (inTrash ? this.#trash : this.#conversations).get(conversationId)?.record;
    return record && { ...record, totals: copy(record.totals) };
  }

  async read(conversationId: string, options: ReadOptions = {}): Promise<readonly JournalEvent[]> {
    this.#assertOpen();
    const { afterCursor, until, limit = 500, turnId, maxChars } = options;
    const stored = this.#conversations.get(conversationId) ?? this.#trash.get(conversationId);
    if (!stored) return [];
    const after = afterCursor === undefined ? (options.after ?? 0) : seqBeforeCursor(stored, afterCursor);
    const found = stored.events
      .slice(after, until)
      .filter((event) => turnId === undefined || event.turnId === turnId)
      // The reader may have the whole first one already.
      .slice(0, limit + 1);
    const first = afterCursor === undefined ? 1 : 2;
    const events = upTo(maxChars, first, found).map((event) => toEvent(stored, event));
    return afterCursor === undefined ? events.slice(0, limit) : eventsAfter(events, afterCursor, limit);
  }

  async history(
    conversationId: string,
    { until }: HistoryOptions = {},
  ): Promise<readonly (readonly JournalEvent[])[]> {
    this.#assertOpen();
    const stored = this.#conversations.get(conversationId);
    return stored ? history(stored, until) : [];
  }

  async turnOfApproval(conversationId: string, callId: string): Promise<string | undefined> {
    this.#assertOpen();
    const stored = this.#conversations.get(conversationId);
    return stored?.events
      .filter(({ kind }) => kind === 'approval_requested')
      .find(({ json }) => (JSON.parse(json) as EventBody).call_id === callId)?.turnId;
  }

  async unfinished(agent: string, limit: number): Promise<readonly string[]> {
    this.#assertOpen();
    return [...this.#conversations.values()]
      .filter((stored) => stored.record.agent === agent && !this.#isLeased(stored) && !isDormantNow(stored))
      .filter((stored) => [...stored.turns.values()].some((turn) => turn.state === 'open'))
      .map((stored) => stored.record)
      .sort(oldestFirst)
      .slice(0, limit)
      .map((record) => record.id);
  }

  async retried(request: RetryRequest): Promise<TurnPlace | undefined> {
    this.#assertOpen();
    const { conversationId, turnId, count } = request;
    const own = this.#conversations.get(conversationId);
    if (own?.record.agent === request.agent && own.turns.has(turnId)) return { conversationId, turnId };
    const turn = this.#retriedTurn(request);
    if (!turn) return undefined;
    if (count === 0) this.#shared.retries.set(retryKeyOf(request), { ...turn, joinedBy: turnId });
    return { conversationId: turn.stored.record.id, turnId: turn.turnId };
  }

  /** Makes a turn the latest one of its retry key. @throws {STORE_CONFLICT} if the request joins another one */
  #keepRetry(stored: StoredConversation, request: RetryRequest): void {
    if (this.#retriedTurn(request)) {
      throw new FabricError('STORE_CONFLICT', 'There is a turn with that retry key.', {
        details: { isRetry: true },
      });
    }
    const { turnId, count } = request;
    const turn = { stored, turnId, at: this.#clock.now(), isByRetry: count > 0, joinedBy: '' };
    const { retries } = this.#shared;
    const name = retryKeyOf(request);
    // The latest key is the last one in the map.
    retries.delete(name);
    retries.set(name, turn);
    if (retries.size <= MAX_RETRIES) return;
    const owner = retryOwnerOf(request);
    const own = [...retries.keys()].filter((key) => key.startsWith(owner));
    for (const oldest of own.slice(0, Math.max(0, own.length - MAX_RETRIES))) retries.delete(oldest);
  }

  /** The turn of its retry key that a request joins. */
  #retriedTurn(request: RetryRequest): StoredRetry | undefined {
    const turn = this.#shared.retries.get(retryKeyOf(request));
    const isThere = turn !== undefined && this.#conversations.get(turn.stored.record.id) === turn.stored;
    return isThere && joins(turn, request, this.#clock.now()) ? turn : undefined;
  }

  async find(options: FindOptions): Promise<FoundPage> {
    this.#assertOpen();
    const { from } = options;
    const isFrom = (stored: StoredConversation): boolean => {
      const order = from ? oldestFirst(stored.record, from) : -1;
      return order < 0 || (order === 0 && from?.turnId !== undefined);
    };
    const { rows, next } = find(options, {
      rows: (limit) =>
        byChange(this.#conversations)
          .reverse()
          .filter(isFrom)
          .filter(({ record }) => options.principal === undefined || record.principal === options.principal)
          .slice(0, limit)
          .map((stored) => ({
            ...stored.record,
            lastOutcome: stored.record.lastOutcome ?? '',
            isTrashed: false,
            stored,
          })),
      userEvents: ({ stored }, after) => userEvents(stored, after),
    });
    const records = rows.map(({ stored: { record } }) => ({ ...record, totals: copy(record.totals) }));
    return { records, next };
  }

  async list(options: ListOptions = {}): Promise<readonly ConversationRecord[]> {
    this.#assertOpen();
    const { agent, inTrash = false, limit = 100, before } = options;
    return [...(inTrash ? this.#trash : this.#conversations).values()]
      .map((stored) => stored.record)
      .filter((record) => agent === undefined || record.agent === agent)
      .filter((record) => inTrash || !record.isEphemeral)
      .filter((record) => !before || oldestFirst(record, before) < 0)
      .sort((a, b) => oldestFirst(b, a))
      .slice(0, limit)
      .map((record) => ({ ...record, totals: copy(record.totals) }));
  }

  async trash(conversationId: string): Promise<boolean> {
    this.#assertOpen();
    const stored = this.#conversations.get(conversationId);
    if (!stored) return false;
    this.#assertFree(stored);
    this.#moveToTrash(stored);
    return true;
  }

  async restore(conversationId: string): Promise<boolean> {
    this.#assertOpen();
    const stored = this.#trash.get(conversationId);
    if (!stored) return false;
    this.#trash.delete(conversationId);
    if (this.#owned(stored.record)) stored.record.publicId = stored.record.id;
    stored.record.trashedAt = 0;
    this.#conversations.set(conversationId, stored);
    return true;
  }

  async remove(conversationId: string): Promise<boolean> {
    this.#assertOpen();
    const stored = this.#conversations.get(conversationId);
    if (!stored) return this.#trash.delete(conversationId);
    this.#assertFree(stored);
    return this.#conversations.delete(conversationId);
  }

  async sweep(options: SweepOptions): Promise<SweepReport> {
    this.#assertOpen();
    const { expiredBefore, trashedBefore, ephemeralMs, maxBytes = 0, limit = 200 } = options;
    const trashed: { id: string; state: StoredState }[] = [];
    let excess = maxBytes > 0 && this.#bytes() > maxBytes ? charsIn(this.#conversations) - maxBytes : 0;
    for (const stored of byChange(this.#conversations)) {
      const { id, state, changedAt, chars } = stored.record;
      const isExpired = expiredBefore !== undefined && changedAt < expiredBefore;
      const isAboveLimit = excess > 0 && isEndedState(state);
      if (trashed.length >= limit || this.#isHeld(stored) || !(isExpired || isAboveLimit)) continue;
      this.#moveToTrash(stored);
      excess -= chars;
      trashed.push({ id, state });
    }
    let deleted = 0;
    const now = this.#clock.now();
    if (ephemeralMs !== undefined) {
      for (const stored of [...this.#conversations.values(), ...this.#trash.values()]) {
        const { id, isEphemeral, state, trashedAt, changedAt } = stored.record;
        if (deleted >= limit) break;
        const isOver = isEndedState(state) || trashedAt > 0;
        if (!isEphemeral || !isOver || this.#isHeld(stored)) continue;
        // After a backward step of the clock the change is in the future.
        if (Math.abs(now - changedAt) < ephemeralMs) continue;
        (trashedAt > 0 ? this.#trash : this.#conversations).delete(id);
        deleted += 1;
      }
    }
    for (const [key, { at }] of this.#shared.retries) {
      if (at <= now - RETRY_MS) this.#shared.retries.delete(key);
    }
    if (trashedBefore) {
      this.#shared.agents.sweep(now);
      for (const [id, { record, trashedRunningMs }] of this.#trash) {
        if (deleted >= limit) break;
        if (record.trashedAt >= trashedBefore.at || trashedRunningMs >= trashedBefore.runningMs) continue;
        this.#trash.delete(id);
        deleted += 1;
      }
    }
    return { trashed, deleted, isDone: trashed.length < limit && deleted < limit, bytes: this.#bytes() };
  }

  async getState(agent: string, key: string) {
    return this.#agents.getState(agent, key);
  }

  async putState(write: StateWrite) {
    return this.#agents.putState(write);
  }

  async deleteState(agent: string, key: string, ifVersion?: number) {
    return this.#agents.deleteState(agent, key, ifVersion);
  }

  async listState(agent: string, options: StateListOptions) {
    return this.#agents.listState(agent, options);
  }

  async keyIds(agent: string) {
    return this.#agents.keyIds(agent);
  }

  async acceptRequest(request: NewRequest) {
    return this.#agents.acceptRequest(request);
  }

  async startRequest(agent: string, id: string, maxAttempts: number) {
    return this.#agents.startRequest(agent, id, maxAttempts);
  }

  async releaseRequest(agent: string, id: string, attempt: number, isInterrupted: boolean) {
    this.#agents.releaseRequest(agent, id, attempt, isInterrupted);
  }

  async endRequest(end: RequestEnd) {
    return this.#agents.endRequest(end);
  }

  async adoptRequests(agent: string, limit: number) {
    return this.#agents.adoptRequests(agent, limit);
  }

  async getRequest(agent: string, id: string) {
    return this.#agents.getRequest(agent, id);
  }

  async listRequests(options?: RequestListOptions) {
    return this.#agents.listRequests(options);
  }

  async reviveRequest(agent: string, id: string) {
    return this.#agents.reviveRequest(agent, id);
  }

  async removeRequest(agent: string, id: string) {
    return this.#agents.removeRequest(agent, id);
  }

  async changeQuota(principal: string, changes: readonly QuotaChange[]): Promise<QuotaRefusal | undefined> {
    this.#assertOpen();
    const { quotas } = this.#shared;
    const now = this.#clock.now();
    const keyOf = ({ unit, endsAt }: QuotaChange): string => JSON.stringify([principal, unit, endsAt]);
    const counterOf = (change: QuotaChange) =>
      quotas.get(keyOf(change)) ?? { endsAt: 0, used: 0, reserved: 0 };
    for (const change of changes) {
      const refusal = refusalOf(change, counterOf(change));
      if (refusal) return refusal;
    }
    for (const [key, { endsAt }] of quotas) if (endsAt <= now) quotas.delete(key);
    for (const change of changes)
      quotas.set(keyOf(change), { ...changed(counterOf(change), change), endsAt: change.endsAt });
    return undefined;
  }

  async keepTime(elapsedMs: number): Promise<StoreTime | undefined> {
    this.#assertOpen();
    const shared = this.#shared;
    if (shared.keeper !== this.holder && shared.living.has(shared.keeper)) return undefined;
    shared.keeper = this.holder;
    const wallAt = shared.time.wallAt || (byChange(this.#conversations).at(-1)?.record.changedAt ?? 0);
    const { record, time } = readTime({ ...shared.time, wallAt }, this.#clock.now(), elapsedMs);
    shared.time = record;
    return time;
  }

  async time(): Promise<StoreTime> {
    this.#assertOpen();
    return timeOf(this.#shared.time);
  }

  async endHold(): Promise<void> {
    this.#assertOpen();
    this.#shared.time = { ...this.#shared.time, heldUntilMs: 0 };
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    this.#shared.living.delete(this.holder);
    this.#notifyReleased();
  }

  async replicaKey(): Promise<string> {
    this.#assertOpen();
    return this.#shared.replicaKey;
  }

  onRelease(listener: () => void): () => void {
    const { releaseListeners } = this.#shared;
    const entry = { holder: this.holder, listener };
    releaseListeners.add(entry);
    return () => releaseListeners.delete(entry);
  }

  #notifyReleased(): void {
    for (const { holder, listener } of this.#shared.releaseListeners) {
      if (holder !== this.holder) listener();
    }
  }

  #owned({
    agent,
    principal,
    publicId,
  }: Pick<ConversationRecord, 'agent' | 'principal' | 'publicId'>): StoredConversation | undefined {
    return this.#conversations.named(agent, publicId).find(({ record }) => record.principal === principal);
  }

  #bytes(): number {
    return charsIn(this.#conversations) + charsIn(this.#trash) + this.#shared.agents.chars;
  }

  #moveToTrash(stored: StoredConversation): void {
    stored.record.trashedAt = Math.max(1, this.#clock.now());
    stored.trashedRunningMs = this.#shared.time.runningMs;
    this.#conversations.delete(stored.record.id);
    this.#trash.set(stored.record.id, stored);
  }

  /** Renames a conversation in the trash, so that another one can have its id. */
  #freeId(id: string): void {
    const stored = this.#trash.get(id);
    if (!stored) return;
    this.#trash.delete(id);
    stored.record.id = `${id}~${newId()}`;
    this.#trash.set(stored.record.id, stored);
  }

  /** Deletes conversations until the store is below its limit, as a store in a file does. Returns false if it is still full. */
  #makeRoom(except: string): boolean {
    const moved = { ended: 0, idle: 0 };
    let deleted = 0;
    const oldest = byChange(this.#conversations).filter(
      (stored) => stored.record.id !== except && !this.#isHeld(stored),
    );
    const isEnded = ({ record }: StoredConversation): boolean => isEndedState(record.state);
    const chars = new Map<string, number>();
    for (const { record } of this.#conversations.values())
      chars.set(record.principal, (chars.get(record.principal) ?? 0) + record.chars);
    // The largest owner first, `local` last. The sort is stable, so the oldest conversation of an owner stays first.
    const sizeOf = ({ record: { principal } }: StoredConversation): number =>
      principal === OPERATOR ? -1 : chars.get(principal)!;
    const byOwner = oldest.sort((a, b) => sizeOf(b) - sizeOf(a));
    const victims = [
      ...byOwner.filter(isEnded),
      ...byOwner.filter(
        (stored) => !isEnded(stored) && stored.record.principal !== OPERATOR && isIdle(stored),
      ),
    ];
    while (this.#isFull()) {
      const [inTrash] = this.#trash.keys();
      const victim = inTrash === undefined ? victims.shift() : undefined;
      if (inTrash !== undefined) {
        this.#trash.delete(inTrash);
        deleted += 1;
      } else if (victim) {
        this.#moveToTrash(victim);
        if (isEnded(victim)) moved.ended += 1;
        else moved.idle += 1;
      } else break;
    }
    if (deleted > 0) this.#onRoom?.({ ...moved, deleted, bytes: this.#bytes() });
    return !this.#isFull();
  }

  /** Moves conversations of an owner to the trash, as a store in a file does. @throws {QUOTA_EXCEEDED} */
  #assertOwnerRoom(principal: string, except: string, isNew: boolean): void {
    const { maxBytes, maxConversations } = this.#ownerLimits;
    if (principal === OPERATOR || (maxBytes === 0 && maxConversations === 0)) return;
    const own = byChange(this.#conversations).filter(({ record }) => record.principal === principal);
    const isEnded = ({ record }: StoredConversation): boolean => isEndedState(record.state);
    let chars = own.reduce((sum, { record }) => sum + record.chars, 0);
    let open = own.filter((stored) => !isEnded(stored)).length;
    const isFull = (): boolean => maxBytes > 0 && chars >= maxBytes;
    const isCrowded = (): boolean => isNew && maxConversations > 0 && open >= maxConversations;
    const idle = own.filter((stored) => !isEnded(stored) && isIdle(stored));
    for (const stored of [...own.filter(isEnded), ...idle]) {
      const isNeeded = isFull() || (isCrowded() && !isEnded(stored));
      if (!isNeeded || stored.record.id === except || this.#isHeld(stored)) continue;
      this.#moveToTrash(stored);
      chars -= stored.record.chars;
      if (!isEnded(stored)) open -= 1;
    }
    if (isFull() || isCrowded())
      throw new FabricError('QUOTA_EXCEEDED', ownerLimitText(principal, this.#ownerLimits));
  }

  #isLeased({ leaseUntil, holder }: StoredConversation): boolean {
    return leaseUntil > this.#clock.monotonic() && this.#shared.living.has(holder);
  }

  /** True if a live writer works on the conversation, so that it must not be removed. */
  #isHeld(stored: StoredConversation): boolean {
    const { leaseUntil, holder } = stored;
    return (
      this.#isLeased(stored) || (leaseUntil > 0 && hasOpenTurn(stored) && this.#shared.living.has(holder))
    );
  }

  #assertFree(stored: StoredConversation): void {
    if (!this.#isHeld(stored)) return;
    throw new FabricError(
      'STORE_CONFLICT',
      'An agent holds this conversation. End the conversation first, or stop the agent.',
    );
  }

  #assertOpen(): void {
    if (this.#isClosed) throw new FabricError('STORE_UNAVAILABLE', 'The conversation store is closed.');
  }

  #isFull(): boolean {
    return this.#maxBytes > 0 && this.#bytes() >= this.#maxBytes;
  }

  /** Makes room if needed, but not by the conversation `id`. */
  #assertNotFull(id: string): void {
    if (!this.#isFull() || this.#makeRoom(id)) return;
    throw new FabricError(
      'STORE_FULL',
      `The conversation store has reached its limit of ${this.#maxBytes} bytes. Remove conversations (npx fame-fabric conversations rm ID --now) or raise FAME_STORE_MAX_BYTES.`,
    );
  }
}

/** Owner whose open conversations are never removed to make room. */
const OPERATOR = 'local';

const copy = (body: EventBody): EventBody => JSON.parse(JSON.stringify(body)) as EventBody;
const toStored = ({ body, ...event }: NewEvent, seq: number): StoredEvent => ({
  ...event,
  seq,
  json: JSON.stringify(body),
});
const toEvent = ({ acquisitions }: StoredConversation, { json, ...stored }: StoredEvent): JournalEvent => {
  const event = { ...stored, body: JSON.parse(json) as EventBody };
  return { ...event, cursor: cursorOf(acquisitionOf(acquisitions, event.seq), event) };
};

/** The first events whose bodies have up to `maxChars` characters together, at least `min` of them. */
function upTo(
  maxChars = Number.POSITIVE_INFINITY,
  min: number,
  events: readonly StoredEvent[],
): readonly StoredEvent[] {
  let chars = 0;
  const end = events.findIndex(({ json }, i) => {
    chars += json.length;
    return chars > maxChars && i >= min;
  });
  return end < 0 ? events : events.slice(0, end);
}

function seqBeforeCursor({ acquisitions, record }: StoredConversation, cursor: number): number {
  const fence = fenceOf(cursor);
  const next = acquisitions.find((acquisition) => acquisition.fence > fence);
  const own = acquisitions.find((acquisition) => acquisition.fence === fence);
  return seqBefore(cursor, own, next ? next.firstSeq - 1 : record.lastSeq);
}

const oldestFirst = (
  a: Pick<ConversationRecord, 'changedAt' | 'id'>,
  b: Pick<ConversationRecord, 'changedAt' | 'id'>,
): number => a.changedAt - b.changedAt || (a.id < b.id ? -1 : a.id > b.id ? 1 : 0);

const byChange = (conversations: ReadonlyMap<string, StoredConversation>): StoredConversation[] =>
  [...conversations.values()].sort((a, b) => oldestFirst(a.record, b.record));

const retryOwnerOf = ({ agent, principal }: RetryRequest): string => JSON.stringify([agent, principal]);
const retryKeyOf = (request: RetryRequest): string => `${retryOwnerOf(request)}${request.key}`;

function* userEvents(stored: StoredConversation, after: string | undefined) {
  const [started] = stored.events;
  if (after === undefined) yield { kind: started!.kind, turnId: '', body: started!.json };
  const turns = [...stored.turns.values()].sort((a, b) => (a.turnId < b.turnId ? -1 : 1));
  for (const { turnId, acceptedSeq } of turns) {
    const { kind, json: body } = stored.events[acceptedSeq - 1]!;
    if (after === undefined || turnId > after) yield { kind, turnId, body };
  }
}

const hasOpenTurn = ({ turns }: StoredConversation): boolean =>
  turns.values().some((turn) => turn.state === 'open');

/** True if its open turns wait for a person and no writer has acquired it since. */
const isDormantNow = ({ dormantEpoch, epoch }: StoredConversation): boolean => dormantEpoch === epoch;

const isIdle = (stored: StoredConversation): boolean => !hasOpenTurn(stored) || isDormantNow(stored);

function charsIn(conversations: ReadonlyMap<string, StoredConversation>): number {
  let sum = 0;
  for (const { record } of conversations.values()) sum += record.chars;
  return sum;
}

const eventsOf = (stored: StoredConversation, turnId: string): StoredEvent[] => {
  const { acceptedSeq, endedSeq } = stored.turns.get(turnId)!;
  return stored.events
    .slice(acceptedSeq - 1, endedSeq || undefined)
    .filter((event) => event.turnId === turnId);
};

const history = (stored: StoredConversation, until = Number.POSITIVE_INFINITY): JournalEvent[][] =>
  [...stored.turns.values()]
    .filter((turn) => turn.inHistory && turn.endedSeq <= until)
    .sort((a, b) => a.endedSeq - b.endedSeq)
    .slice(-Math.max(1, stored.historyTurns))
    .map((turn) =>
      eventsOf(stored, turn.turnId)
        .filter((event) => event.kind !== 'text')
        .map((event) => toEvent(stored, event)),
    );
