// In-memory `ConversationStore`: the full contract except durability. For tests and ephemeral agents.
import { type Clock, FabricError, newId, systemClock } from '@fame-fabric/shared';
import {
  type AcquiredConversation,
  type Append,
  type ConversationRecord,
  type ConversationStore,
  type EventBody,
  endOfTurn,
  isEndedState,
  type JournalEvent,
  type ListOptions,
  type NewConversation,
  type NewEvent,
  type Peek,
  type ReadOptions,
  type StoredState,
  type SweepOptions,
  type SweepReport,
  type TurnRecord,
} from './store.ts';

/** An event with its body as JSON. Reads parse it, so they return copies, as those of any other store. */
type StoredEvent = Omit<JournalEvent, 'body'> & { json: string };
type Mutable<T> = { -readonly [K in keyof T]: T[K] };

interface StoredConversation {
  record: Mutable<ConversationRecord>;
  historyTurns: number;
  events: StoredEvent[];
  turns: Map<string, Mutable<TurnRecord>>;
  holder: string;
  /** Monotonic: the stores that share a conversation are of one process. */
  leaseUntil: number;
  epoch: number;
}

export interface MemoryStoreOptions {
  clock?: Clock | undefined;
  /** Size at which new conversations and turns are refused, in characters; 0 for no limit. @default 0 */
  maxBytes?: number | undefined;
  /** Shares the conversations of another store, like two processes that share a file. */
  sharedWith?: MemoryStore | undefined;
}

export class MemoryStore implements ConversationStore {
  readonly place = 'memory';
  readonly #holder = newId();
  readonly #clock: Clock;
  readonly #maxBytes: number;
  readonly #conversations: Map<string, StoredConversation>;
  readonly #living: Set<string>;
  #isClosed = false;

  constructor(options: MemoryStoreOptions = {}) {
    this.#clock = options.clock ?? systemClock;
    this.#maxBytes = options.maxBytes ?? 0;
    const { sharedWith } = options;
    this.#conversations = sharedWith ? sharedWith.#conversations : new Map();
    this.#living = sharedWith ? sharedWith.#living : new Set();
    this.#living.add(this.#holder);
  }

  async create(conversation: NewConversation) {
    this.#assertOpen();
    const existing = this.#conversations.get(conversation.id);
    if (existing) return { created: false, record: { ...existing.record } };
    this.#assertNotFull();
    const { id, agent, startCallId, started, historyTurns } = conversation;
    const event = toStored(started, 1);
    const record = {
      id,
      agent,
      startCallId,
      state: 'working' as const,
      startedAt: started.at,
      changedAt: this.#clock.now(),
      lastSeq: 1,
      turns: 0,
      chars: event.json.length,
      totals: copy(conversation.totals),
    };
    this.#conversations.set(id, {
      record,
      historyTurns,
      events: [event],
      turns: new Map(),
      holder: '',
      leaseUntil: 0,
      epoch: 0,
    });
    return { created: true, record: { ...record } };
  }

  async acquire(conversationId: string, leaseMs: number): Promise<AcquiredConversation | undefined> {
    this.#assertOpen();
    const stored = this.#conversations.get(conversationId);
    if (!stored) return undefined;
    const now = this.#clock.monotonic();
    if (stored.holder !== this.#holder && this.#isHeld(stored)) {
      throw new FabricError('STORE_CONFLICT', 'Another process is working on this conversation.', {
        details: { retryAfterMs: stored.leaseUntil - now },
      });
    }
    stored.epoch += 1;
    stored.holder = this.#holder;
    stored.leaseUntil = now + leaseMs;
    const open = [...stored.turns.values()].filter((turn) => turn.state === 'open');
    return {
      record: { ...stored.record, totals: copy(stored.record.totals) },
      fence: { holder: this.#holder, epoch: stored.epoch },
      started: toEvent(stored.events[0]!),
      history: history(stored),
      open: open.map((turn) => eventsOf(stored, turn.turnId).map(toEvent)),
    };
  }

  async peek(conversationId: string, turnId?: string): Promise<Peek | undefined> {
    this.#assertOpen();
    const stored = this.#conversations.get(conversationId);
    if (!stored) return undefined;
    const turn = turnId === undefined ? undefined : stored.turns.get(turnId);
    const { agent, state, lastSeq } = stored.record;
    const isFull = this.#isFull();
    return { agent, state, lastSeq, epoch: stored.epoch, isFull, turn: turn && { ...turn } };
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
      this.#assertNotFull();
      if (stored.turns.has(event.turnId!)) {
        throw new FabricError('STORE_CONFLICT', 'The conversation has a turn with that id already.');
      }
    }
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
      }
    }
    record.changedAt = this.#clock.now();
    if (append.state) record.state = append.state;
    if (append.totals) record.totals = copy(append.totals);
    stored.leaseUntil = append.leaseMs > 0 ? this.#clock.monotonic() + append.leaseMs : 0;
  }

  async renew(conversationIds: readonly string[], leaseMs: number): Promise<readonly string[]> {
    this.#assertOpen();
    return conversationIds.filter((id) => {
      const stored = this.#conversations.get(id);
      if (stored?.holder !== this.#holder) return false;
      stored.leaseUntil = this.#clock.monotonic() + leaseMs;
      return true;
    });
  }

  async record(conversationId: string): Promise<ConversationRecord | undefined> {
    this.#assertOpen();
    const record = this.#conversations.get(conversationId)?.record;
    return record && { ...record, totals: copy(record.totals) };
  }

  async read(conversationId: string, options: ReadOptions = {}): Promise<readonly JournalEvent[]> {
    this.#assertOpen();
    const { after = 0, limit = 500, turnId } = options;
    const events = this.#conversations.get(conversationId)?.events ?? [];
    return events
      .slice(after)
      .filter((event) => turnId === undefined || event.turnId === turnId)
      .slice(0, limit)
      .map(toEvent);
  }

  async history(conversationId: string): Promise<readonly (readonly JournalEvent[])[]> {
    this.#assertOpen();
    const stored = this.#conversations.get(conversationId);
    return stored ? history(stored) : [];
  }

  async unfinished(agent: string, limit: number): Promise<readonly string[]> {
    this.#assertOpen();
    return [...this.#conversations.values()]
      .filter((stored) => stored.record.agent === agent && !this.#isHeld(stored))
      .filter((stored) => [...stored.turns.values()].some((turn) => turn.state === 'open'))
      .map((stored) => stored.record)
      .sort(oldestFirst)
      .slice(0, limit)
      .map((record) => record.id);
  }

  async list(options: ListOptions = {}): Promise<readonly ConversationRecord[]> {
    this.#assertOpen();
    const { agent, limit = 100, before } = options;
    return [...this.#conversations.values()]
      .map((stored) => stored.record)
      .filter((record) => agent === undefined || record.agent === agent)
      .filter((record) => !before || oldestFirst(record, before) < 0)
      .sort((a, b) => oldestFirst(b, a))
      .slice(0, limit)
      .map((record) => ({ ...record, totals: copy(record.totals) }));
  }

  async remove(conversationId: string): Promise<boolean> {
    this.#assertOpen();
    const stored = this.#conversations.get(conversationId);
    if (!stored) return false;
    if (this.#isHeld(stored)) {
      throw new FabricError(
        'STORE_CONFLICT',
        'An agent holds this conversation. End the conversation first, or stop the agent.',
      );
    }
    return this.#conversations.delete(conversationId);
  }

  async sweep(options: SweepOptions): Promise<SweepReport> {
    this.#assertOpen();
    const { expiredBefore, maxBytes = 0, limit = 500 } = options;
    const removed: { id: string; state: StoredState }[] = [];
    const oldest = [...this.#conversations.values()].sort((a, b) => oldestFirst(a.record, b.record));
    for (const stored of oldest) {
      const { id, state, changedAt } = stored.record;
      const isExpired = expiredBefore !== undefined && changedAt < expiredBefore;
      const isAboveLimit = maxBytes > 0 && isEndedState(state) && this.#bytes() > maxBytes;
      if (removed.length >= limit || this.#isHeld(stored) || !(isExpired || isAboveLimit)) continue;
      this.#conversations.delete(id);
      removed.push({ id, state });
    }
    return { removed, bytes: this.#bytes() };
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    this.#living.delete(this.#holder);
  }

  #bytes(): number {
    let sum = 0;
    for (const { record } of this.#conversations.values()) sum += record.chars;
    return sum;
  }

  #isHeld({ leaseUntil, holder }: StoredConversation): boolean {
    return leaseUntil > this.#clock.monotonic() && this.#living.has(holder);
  }

  #assertOpen(): void {
    if (this.#isClosed) throw new FabricError('STORE_UNAVAILABLE', 'The conversation store is closed.');
  }

  #isFull(): boolean {
    return this.#maxBytes > 0 && this.#bytes() >= this.#maxBytes;
  }

  #assertNotFull(): void {
    if (!this.#isFull()) return;
    throw new FabricError(
      'STORE_FULL',
      `The conversation store has reached its limit of ${this.#maxBytes} bytes. Remove conversations or raise FAME_STORE_MAX_BYTES.`,
    );
  }
}

const copy = (body: EventBody): EventBody => JSON.parse(JSON.stringify(body)) as EventBody;
const toStored = ({ body, ...event }: NewEvent, seq: number): StoredEvent => ({
  ...event,
  seq,
  json: JSON.stringify(body),
});
const toEvent = ({ json, ...event }: StoredEvent): JournalEvent => ({
  ...event,
  body: JSON.parse(json) as EventBody,
});

const oldestFirst = (
  a: Pick<ConversationRecord, 'changedAt' | 'id'>,
  b: Pick<ConversationRecord, 'changedAt' | 'id'>,
): number => a.changedAt - b.changedAt || (a.id < b.id ? -1 : a.id > b.id ? 1 : 0);

const eventsOf = (stored: StoredConversation, turnId: string): StoredEvent[] => {
  const { acceptedSeq, endedSeq } = stored.turns.get(turnId)!;
  return stored.events
    .slice(acceptedSeq - 1, endedSeq || undefined)
    .filter((event) => event.turnId === turnId);
};

const history = (stored: StoredConversation): JournalEvent[][] =>
  [...stored.turns.values()]
    .filter((turn) => turn.inHistory)
    .sort((a, b) => a.endedSeq - b.endedSeq)
    .slice(-Math.max(1, stored.historyTurns))
    .map((turn) =>
      eventsOf(stored, turn.turnId)
        .filter((event) => event.kind !== 'text')
        .map(toEvent),
    );
