// Conversations in memory, for tests and for agents that shall forget: everything that the port promises but durability.
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

/** Bodies are kept as JSON, so that what comes back is exactly what any other store would give. */
type Kept = Omit<JournalEvent, 'body'> & { json: string };
type Mutable<T> = { -readonly [K in keyof T]: T[K] };

interface Shelf {
  record: Mutable<ConversationRecord>;
  historyTurns: number;
  events: Kept[];
  turns: Map<string, Mutable<TurnRecord>>;
  holder: string;
  leaseUntil: number;
  epoch: number;
}

export interface MemoryStoreOptions {
  clock?: Clock;
  /** New conversations and turns are refused from here on, in characters; 0 for no limit. @default 0 */
  maxBytes?: number;
  /** Shares the conversations of another one, as two processes share a file. */
  sharedWith?: MemoryStore;
}

export class MemoryStore implements ConversationStore {
  readonly place = 'memory';
  readonly #holder = newId();
  readonly #clock: Clock;
  readonly #maxBytes: number;
  readonly #shelves: Map<string, Shelf>;
  readonly #living: Set<string>;
  #isClosed = false;

  constructor(options: MemoryStoreOptions = {}) {
    this.#clock = options.clock ?? systemClock;
    this.#maxBytes = options.maxBytes ?? 0;
    const { sharedWith } = options;
    this.#shelves = sharedWith ? sharedWith.#shelves : new Map();
    this.#living = sharedWith ? sharedWith.#living : new Set();
    this.#living.add(this.#holder);
  }

  async create(given: NewConversation) {
    this.#mustBeOpen();
    const existing = this.#shelves.get(given.id);
    if (existing) return { created: false, record: { ...existing.record } };
    this.#mustHaveRoom();
    const { id, agent, startCallId, started, historyTurns } = given;
    const event = kept(started, 1);
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
      totals: copy(given.totals),
    };
    this.#shelves.set(id, {
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
    this.#mustBeOpen();
    const shelf = this.#shelves.get(conversationId);
    if (!shelf) return undefined;
    const now = this.#clock.now();
    if (shelf.holder !== this.#holder && this.#isHeld(shelf)) {
      throw new FabricError('STORE_CONFLICT', 'Another process is working on this conversation.', {
        details: { retryAfterMs: shelf.leaseUntil - now },
      });
    }
    shelf.epoch += 1;
    shelf.holder = this.#holder;
    shelf.leaseUntil = now + leaseMs;
    const open = [...shelf.turns.values()].filter((turn) => turn.state === 'open');
    return {
      record: { ...shelf.record, totals: copy(shelf.record.totals) },
      fence: { holder: this.#holder, epoch: shelf.epoch },
      started: given(shelf.events[0]!),
      history: history(shelf),
      open: open.map((turn) => eventsOf(shelf, turn.turnId).map(given)),
    };
  }

  async peek(conversationId: string, turnId?: string): Promise<Peek | undefined> {
    this.#mustBeOpen();
    const shelf = this.#shelves.get(conversationId);
    if (!shelf) return undefined;
    const turn = turnId === undefined ? undefined : shelf.turns.get(turnId);
    const { agent, state, lastSeq } = shelf.record;
    const isFull = this.#isFull();
    return { agent, state, lastSeq, epoch: shelf.epoch, isFull, ...(turn ? { turn: { ...turn } } : {}) };
  }

  async append(append: Append): Promise<void> {
    this.#mustBeOpen();
    const shelf = this.#shelves.get(append.conversationId);
    const { holder, epoch } = append.fence;
    if (!shelf || shelf.epoch !== epoch || shelf.holder !== holder || shelf.record.lastSeq !== append.after) {
      throw new FabricError('STORE_CONFLICT', 'Another process took the conversation over.', {
        details: { lastSeq: shelf?.record.lastSeq ?? 0 },
      });
    }
    for (const event of append.events) {
      if (event.kind !== 'turn_accepted') continue;
      this.#mustHaveRoom();
      if (shelf.turns.has(event.turnId!)) {
        throw new FabricError('STORE_CONFLICT', 'The conversation has a turn with that id already.');
      }
    }
    const { record } = shelf;
    for (const event of append.events) {
      record.lastSeq += 1;
      const one = kept(event, record.lastSeq);
      shelf.events.push(one);
      record.chars += one.json.length;
      if (event.kind === 'turn_accepted') {
        const turnId = event.turnId!;
        const turn = { turnId, state: 'open' as const, acceptedSeq: one.seq, endedSeq: 0, inHistory: false };
        shelf.turns.set(turnId, turn);
        record.turns += 1;
      }
      const state = endOfTurn(event.kind);
      const turn = state && shelf.turns.get(event.turnId!);
      if (turn?.state === 'open') {
        Object.assign(turn, { state, endedSeq: one.seq, inHistory: event.body.in_history === true });
      }
    }
    const now = this.#clock.now();
    record.changedAt = now;
    if (append.state) record.state = append.state;
    if (append.totals) record.totals = copy(append.totals);
    shelf.leaseUntil = append.leaseMs > 0 ? now + append.leaseMs : 0;
  }

  async renew(conversationIds: readonly string[], leaseMs: number): Promise<readonly string[]> {
    this.#mustBeOpen();
    return conversationIds.filter((id) => {
      const shelf = this.#shelves.get(id);
      if (shelf?.holder !== this.#holder) return false;
      shelf.leaseUntil = this.#clock.now() + leaseMs;
      return true;
    });
  }

  async record(conversationId: string): Promise<ConversationRecord | undefined> {
    this.#mustBeOpen();
    const record = this.#shelves.get(conversationId)?.record;
    return record && { ...record, totals: copy(record.totals) };
  }

  async read(conversationId: string, options: ReadOptions = {}): Promise<readonly JournalEvent[]> {
    this.#mustBeOpen();
    const { after = 0, limit = 500, turnId } = options;
    const events = this.#shelves.get(conversationId)?.events ?? [];
    return events
      .slice(after)
      .filter((event) => turnId === undefined || event.turnId === turnId)
      .slice(0, limit)
      .map(given);
  }

  async history(conversationId: string): Promise<readonly (readonly JournalEvent[])[]> {
    this.#mustBeOpen();
    const shelf = this.#shelves.get(conversationId);
    return shelf ? history(shelf) : [];
  }

  async unfinished(agent: string, limit: number): Promise<readonly string[]> {
    this.#mustBeOpen();
    return [...this.#shelves.values()]
      .filter((shelf) => shelf.record.agent === agent && !this.#isHeld(shelf))
      .filter((shelf) => [...shelf.turns.values()].some((turn) => turn.state === 'open'))
      .map((shelf) => shelf.record)
      .sort(oldestFirst)
      .slice(0, limit)
      .map((record) => record.id);
  }

  async list(options: ListOptions = {}): Promise<readonly ConversationRecord[]> {
    this.#mustBeOpen();
    const { agent, limit = 100, before } = options;
    return [...this.#shelves.values()]
      .map((shelf) => shelf.record)
      .filter((record) => agent === undefined || record.agent === agent)
      .filter((record) => !before || oldestFirst(record, before) < 0)
      .sort((a, b) => oldestFirst(b, a))
      .slice(0, limit)
      .map((record) => ({ ...record, totals: copy(record.totals) }));
  }

  async remove(conversationId: string): Promise<boolean> {
    this.#mustBeOpen();
    const shelf = this.#shelves.get(conversationId);
    if (!shelf) return false;
    if (this.#isHeld(shelf)) {
      throw new FabricError('STORE_CONFLICT', 'An agent is working on this conversation now; end it first.');
    }
    return this.#shelves.delete(conversationId);
  }

  async sweep(options: SweepOptions): Promise<SweepReport> {
    this.#mustBeOpen();
    const { expiredBefore, maxBytes = 0, limit = 500 } = options;
    const removed: { id: string; state: StoredState }[] = [];
    const oldest = [...this.#shelves.values()].sort((a, b) => oldestFirst(a.record, b.record));
    for (const shelf of oldest) {
      const { id, state, changedAt } = shelf.record;
      const isExpired = expiredBefore !== undefined && changedAt < expiredBefore;
      const isInTheWay = maxBytes > 0 && isEndedState(state) && this.#bytes() > maxBytes;
      if (removed.length >= limit || this.#isHeld(shelf) || !(isExpired || isInTheWay)) continue;
      this.#shelves.delete(id);
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
    for (const { record } of this.#shelves.values()) sum += record.chars;
    return sum;
  }

  #isHeld({ leaseUntil, holder }: Shelf): boolean {
    return leaseUntil > this.#clock.now() && this.#living.has(holder);
  }

  #mustBeOpen(): void {
    if (this.#isClosed) throw new FabricError('STORE_UNAVAILABLE', 'The store of conversations was closed.');
  }

  #isFull(): boolean {
    return this.#maxBytes > 0 && this.#bytes() >= this.#maxBytes;
  }

  #mustHaveRoom(): void {
    if (!this.#isFull()) return;
    throw new FabricError(
      'STORE_FULL',
      `The store of conversations holds the ${this.#maxBytes} bytes it may hold; remove conversations or raise FAME_STORE_MAX_BYTES.`,
    );
  }
}

const copy = (body: EventBody): EventBody => JSON.parse(JSON.stringify(body)) as EventBody;
const kept = ({ body, ...event }: NewEvent, seq: number): Kept => ({
  ...event,
  seq,
  json: JSON.stringify(body),
});
const given = ({ json, ...event }: Kept): JournalEvent => ({ ...event, body: JSON.parse(json) as EventBody });

const oldestFirst = (
  a: Pick<ConversationRecord, 'changedAt' | 'id'>,
  b: Pick<ConversationRecord, 'changedAt' | 'id'>,
): number => a.changedAt - b.changedAt || (a.id < b.id ? -1 : a.id > b.id ? 1 : 0);

const eventsOf = (shelf: Shelf, turnId: string): Kept[] => {
  const { acceptedSeq, endedSeq } = shelf.turns.get(turnId)!;
  return shelf.events
    .slice(acceptedSeq - 1, endedSeq || undefined)
    .filter((event) => event.turnId === turnId);
};

const history = (shelf: Shelf): JournalEvent[][] =>
  [...shelf.turns.values()]
    .filter((turn) => turn.inHistory)
    .sort((a, b) => a.endedSeq - b.endedSeq)
    .slice(-Math.max(1, shelf.historyTurns))
    .map((turn) =>
      eventsOf(shelf, turn.turnId)
        .filter((event) => event.kind !== 'text')
        .map(given),
    );
