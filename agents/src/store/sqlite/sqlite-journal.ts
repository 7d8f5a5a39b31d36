// The operations of the SQLite store, in SQL. They are synchronous and run inside a transaction of the caller. An operation that
// throws StoreFault has written nothing, so the other operations of its commit succeed. Bodies are JSON texts here.
import type { DatabaseSync, StatementSync } from 'node:sqlite';
import { charBoundary } from '@fame-fabric/shared/internal';
import {
  type EventKind,
  endOfTurn,
  type Fence,
  type ListOptions,
  MAX_LEASE_MS,
  type ReadOptions,
  type StoredState,
  type SweepOptions,
  type TurnState,
} from '../store.ts';
import { StoreFault, usedBytes } from './sqlite-database.ts';

/** Longest body that is stored in its row, in bytes. Longer rows would slow down scans. */
const MAX_ROW_BYTES = 65_536;
/** Length of the parts of longer bodies, in UTF-16 units: at most 48 KiB each. */
const PART_CHARS = 16_384;

export interface RawNewEvent {
  kind: EventKind;
  at: number;
  turnId?: string | undefined;
  /** JSON. */
  body: string;
}
export interface RawEvent extends RawNewEvent {
  seq: number;
}
export interface RawRecord {
  id: string;
  agent: string;
  startCallId: string;
  state: StoredState;
  startedAt: number;
  changedAt: number;
  lastSeq: number;
  turns: number;
  chars: number;
  totals: string;
}
export interface RawCreate {
  id: string;
  agent: string;
  startCallId: string;
  historyTurns: number;
  totals: string;
  started: RawNewEvent;
}
export interface RawAppend {
  conversationId: string;
  fence: Fence;
  after: number;
  events: readonly RawNewEvent[];
  totals?: string | undefined;
  state?: StoredState | undefined;
  leaseMs: number;
}

interface Row {
  key: number;
  id: string;
  agent: string;
  start_call: string;
  state: StoredState;
  history_turns: number;
  started_at: number;
  changed_at: number;
  last_seq: number;
  turns: number;
  chars: number;
  totals: string;
  holder: string;
  lease_until: number;
  fence: number;
}
interface EventRow {
  seq: number;
  at: number;
  kind: EventKind;
  turn_id: string | null;
  body: string;
  parts: number;
}
interface TurnRow {
  turn_id: string;
  state: TurnState;
  accepted_seq: number;
  ended_seq: number;
  in_history: number;
}

interface JournalOptions {
  /** Id of this writer. */
  holder: string;
  /** Size at which new conversations and turns are refused, in bytes; 0 for no limit. */
  maxBytes: number;
  /** True if the process of a holder has ended. */
  isDead(holder: string): boolean;
}

const EVENT_COLUMNS = 'seq, at, kind, turn_id, body, parts';

export class SqliteJournal {
  readonly #db: DatabaseSync;
  readonly #options: JournalOptions;
  readonly #statements = new Map<string, StatementSync>();

  constructor(db: DatabaseSync, options: JournalOptions) {
    this.#db = db;
    this.#options = options;
  }

  create(now: number, given: RawCreate): { created: boolean; record: RawRecord } {
    const existing = this.#row(given.id);
    if (existing) return { created: false, record: recordOf(existing) };
    this.#assertNotFull();
    const { body, at } = given.started;
    const { lastInsertRowid } = this.#prepare(
      `INSERT INTO conversation (id, agent, start_call, state, history_turns, started_at, changed_at, last_seq, turns,
         chars, totals, holder, lease_until, fence)
       VALUES (?, ?, ?, 'working', ?, ?, ?, 1, 0, ?, ?, '', 0, 0)`,
    ).run(given.id, given.agent, given.startCallId, given.historyTurns, at, now, body.length, given.totals);
    this.#insertEvent(Number(lastInsertRowid), 1, given.started);
    return { created: true, record: recordOf(this.#row(given.id)!) };
  }

  acquire(now: number, id: string, leaseMs: number) {
    const { holder } = this.#options;
    const row = this.#row(id);
    if (!row) return undefined;
    if (row.holder !== holder && this.#isHeld(row, now)) {
      throw new StoreFault('STORE_CONFLICT', 'Another process is working on this conversation.', {
        retryAfterMs: row.lease_until - now,
      });
    }
    const epoch = row.fence + 1;
    this.#prepare('UPDATE conversation SET holder = ?, lease_until = ?, fence = ? WHERE key = ?').run(
      holder,
      now + leaseMs,
      epoch,
      row.key,
    );
    const open = this.#all<TurnRow>(
      `SELECT * FROM turn WHERE conversation = ? AND state = 'open' ORDER BY accepted_seq`,
      row.key,
    );
    return {
      record: recordOf(row),
      fence: { holder, epoch },
      started: this.#event(
        row.key,
        this.#get<EventRow>(
          `SELECT ${EVENT_COLUMNS} FROM event WHERE conversation = ? AND seq = 1`,
          row.key,
        )!,
      ),
      history: this.#history(row),
      open: open.map((turn) =>
        this.#events(row.key, turn.turn_id, turn.accepted_seq, Number.MAX_SAFE_INTEGER, true),
      ),
    };
  }

  peek(id: string, turnId: string | undefined) {
    const row = this.#row(id);
    if (!row) return undefined;
    const turn = turnId === undefined ? undefined : this.#turn(row.key, turnId);
    return {
      agent: row.agent,
      state: row.state,
      lastSeq: row.last_seq,
      epoch: row.fence,
      isFull: this.#isFull(),
      turn: turn && {
        turnId: turn.turn_id,
        state: turn.state,
        acceptedSeq: turn.accepted_seq,
        endedSeq: turn.ended_seq,
        inHistory: turn.in_history === 1,
      },
    };
  }

  append(now: number, given: RawAppend): void {
    const row = this.#row(given.conversationId);
    const { holder, epoch } = given.fence;
    if (!row || row.fence !== epoch || row.holder !== holder || row.last_seq !== given.after) {
      throw new StoreFault('STORE_CONFLICT', 'Another process has acquired the conversation.', {
        lastSeq: row?.last_seq ?? 0,
      });
    }
    for (const event of given.events) {
      if (event.kind !== 'turn_accepted') continue;
      this.#assertNotFull();
      if (this.#turn(row.key, event.turnId!)) {
        throw new StoreFault('STORE_CONFLICT', 'The conversation has a turn with that id already.');
      }
    }
    let seq = row.last_seq;
    let { turns, chars } = row;
    for (const event of given.events) {
      seq += 1;
      chars += event.body.length;
      this.#insertEvent(row.key, seq, event);
      if (event.kind === 'turn_accepted') {
        turns += 1;
        this.#prepare(`INSERT INTO turn VALUES (?, ?, 'open', ?, 0, 0)`).run(row.key, event.turnId!, seq);
      }
      const state = endOfTurn(event.kind);
      if (state) {
        this.#prepare(
          `UPDATE turn SET state = ?, ended_seq = ?, in_history = ?
           WHERE conversation = ? AND turn_id = ? AND state = 'open'`,
        ).run(state, seq, JSON.parse(event.body).in_history === true ? 1 : 0, row.key, event.turnId!);
      }
    }
    this.#prepare(
      `UPDATE conversation SET state = ?, changed_at = ?, last_seq = ?, turns = ?, chars = ?, totals = ?, lease_until = ?
       WHERE key = ?`,
    ).run(
      given.state ?? row.state,
      now,
      seq,
      turns,
      chars,
      given.totals ?? row.totals,
      given.leaseMs > 0 ? now + given.leaseMs : 0,
      row.key,
    );
  }

  renew(now: number, ids: readonly string[], leaseMs: number): string[] {
    const { holder } = this.#options;
    const renew = this.#prepare('UPDATE conversation SET lease_until = ? WHERE id = ? AND holder = ?');
    return ids.filter((id) => renew.run(now + leaseMs, id, holder).changes === 1);
  }

  record(id: string): RawRecord | undefined {
    const row = this.#row(id);
    return row && recordOf(row);
  }

  read(id: string, options: ReadOptions): RawEvent[] {
    const row = this.#row(id);
    if (!row) return [];
    const { after = 0, limit = 500, turnId } = options;
    const ofTurn = turnId === undefined ? '' : 'AND turn_id = ?';
    const values = turnId === undefined ? [] : [turnId];
    const rows = this.#all<EventRow>(
      `SELECT ${EVENT_COLUMNS} FROM event WHERE conversation = ? AND seq > ? ${ofTurn} ORDER BY seq LIMIT ?`,
      row.key,
      after,
      ...values,
      limit,
    );
    return rows.map((event) => this.#event(row.key, event));
  }

  history(id: string): RawEvent[][] {
    const row = this.#row(id);
    return row ? this.#history(row) : [];
  }

  unfinished(now: number, agent: string, limit: number): string[] {
    const rows = this.#all<Row>(
      `SELECT * FROM conversation WHERE agent = ? AND key IN (SELECT conversation FROM turn WHERE state = 'open')
       ORDER BY changed_at`,
      agent,
    );
    const isHeld = this.#heldAt(now);
    return rows
      .filter((row) => !isHeld(row))
      .slice(0, limit)
      .map((row) => row.id);
  }

  list({ agent, limit = 100, before }: ListOptions): RawRecord[] {
    const nextPage = before ? 'AND (changed_at, id) < (?, ?)' : '';
    const ofAgent = agent === undefined ? '' : 'AND agent = ?';
    const rows = this.#all<Row>(
      `SELECT * FROM conversation WHERE 1 ${ofAgent} ${nextPage} ORDER BY changed_at DESC, id DESC LIMIT ?`,
      ...(agent === undefined ? [] : [agent]),
      ...(before ? [before.changedAt, before.id] : []),
      limit,
    );
    return rows.map(recordOf);
  }

  remove(now: number, id: string): boolean {
    const row = this.#row(id);
    if (!row) return false;
    if (this.#isHeld(row, now)) {
      throw new StoreFault(
        'STORE_CONFLICT',
        'An agent holds this conversation. End the conversation first, or stop the agent.',
      );
    }
    this.#remove(row.key);
    this.#db.exec('PRAGMA incremental_vacuum');
    return true;
  }

  sweep(now: number, { expiredBefore, maxBytes = 0, limit = 500 }: SweepOptions) {
    const removed: { id: string; state: StoredState }[] = [];
    const isHeld = this.#heldAt(now);
    const removeUntil = (rows: Row[], isEnough: () => boolean): void => {
      for (const row of rows) {
        if (removed.length >= limit || isEnough()) return;
        if (isHeld(row)) continue;
        this.#remove(row.key);
        removed.push({ id: row.id, state: row.state });
      }
    };
    if (expiredBefore !== undefined) {
      const rows = this.#all<Row>(
        'SELECT * FROM conversation WHERE changed_at < ? ORDER BY changed_at LIMIT ?',
        expiredBefore,
        limit * 2,
      );
      removeUntil(rows, () => false);
    }
    if (maxBytes > 0 && usedBytes(this.#db) > maxBytes) {
      const rows = this.#all<Row>(
        `SELECT * FROM conversation WHERE state IN ('completed', 'canceled') ORDER BY changed_at LIMIT ?`,
        limit * 2,
      );
      removeUntil(rows, () => usedBytes(this.#db) <= maxBytes);
    }
    if (removed.length > 0) this.#db.exec('PRAGMA incremental_vacuum');
    return { removed, bytes: usedBytes(this.#db) };
  }

  #history(row: Row): RawEvent[][] {
    const turns = this.#all<TurnRow>(
      'SELECT * FROM turn WHERE conversation = ? AND in_history = 1 ORDER BY ended_seq DESC LIMIT ?',
      row.key,
      Math.max(1, row.history_turns),
    );
    return turns
      .reverse()
      .map((turn) => this.#events(row.key, turn.turn_id, turn.accepted_seq, turn.ended_seq, false));
  }

  #events(key: number, turnId: string, from: number, to: number, withText: boolean): RawEvent[] {
    const rows = this.#all<EventRow>(
      `SELECT ${EVENT_COLUMNS} FROM event WHERE conversation = ? AND seq BETWEEN ? AND ? AND turn_id = ?
       ${withText ? '' : `AND kind <> 'text'`} ORDER BY seq`,
      key,
      from,
      to,
      turnId,
    );
    return rows.map((event) => this.#event(key, event));
  }

  #event(key: number, row: EventRow): RawEvent {
    const { seq, at, kind, turn_id: turnId } = row;
    let { body } = row;
    if (row.parts > 0) {
      const parts = this.#all<{ text: string }>(
        'SELECT text FROM part WHERE conversation = ? AND seq = ? ORDER BY n',
        key,
        seq,
      );
      body = parts.map((part) => part.text).join('');
    }
    return { seq, at, kind, body, turnId: turnId ?? undefined };
  }

  #insertEvent(key: number, seq: number, event: RawNewEvent): void {
    const parts = isLong(event.body) ? cut(event.body) : [];
    for (const [n, part] of parts.entries()) {
      this.#prepare('INSERT INTO part VALUES (?, ?, ?, ?)').run(key, seq, n, part);
    }
    this.#prepare('INSERT INTO event VALUES (?, ?, ?, ?, ?, ?, ?)').run(
      key,
      seq,
      event.at,
      event.kind,
      event.turnId ?? null,
      parts.length > 0 ? '' : event.body,
      parts.length,
    );
  }

  #remove(key: number): void {
    for (const table of ['part', 'event', 'turn']) {
      this.#prepare(`DELETE FROM ${table} WHERE conversation = ?`).run(key);
    }
    this.#prepare('DELETE FROM conversation WHERE key = ?').run(key);
  }

  #isHeld(row: Row, now: number): boolean {
    return isLeased(row, now) && !this.#options.isDead(row.holder);
  }

  /** `isHeld` for many rows. Each holder is checked once, because a check opens a file. */
  #heldAt(now: number): (row: Row) => boolean {
    const held = new Map<string, boolean>();
    return (row) => {
      if (!isLeased(row, now)) return false;
      const known = held.get(row.holder) ?? this.#isHeld(row, now);
      held.set(row.holder, known);
      return known;
    };
  }

  #isFull(): boolean {
    const { maxBytes } = this.#options;
    return maxBytes > 0 && usedBytes(this.#db) >= maxBytes;
  }

  #assertNotFull(): void {
    if (!this.#isFull()) return;
    throw new StoreFault(
      'STORE_FULL',
      `The conversation store has reached its limit of ${this.#options.maxBytes} bytes. Remove conversations or raise FAME_STORE_MAX_BYTES.`,
    );
  }

  #row(id: string): Row | undefined {
    return this.#get<Row>('SELECT * FROM conversation WHERE id = ?', id);
  }

  #turn(key: number, turnId: string): TurnRow | undefined {
    return this.#get<TurnRow>('SELECT * FROM turn WHERE conversation = ? AND turn_id = ?', key, turnId);
  }

  #get<T>(sql: string, ...values: (string | number)[]): T | undefined {
    return this.#prepare(sql).get(...values) as T | undefined;
  }

  #all<T>(sql: string, ...values: (string | number)[]): T[] {
    return this.#prepare(sql).all(...values) as T[];
  }

  #prepare(sql: string): StatementSync {
    let statement = this.#statements.get(sql);
    if (!statement) {
      statement = this.#db.prepare(sql);
      this.#statements.set(sql, statement);
    }
    return statement;
  }
}

const recordOf = (row: Row): RawRecord => ({
  id: row.id,
  agent: row.agent,
  startCallId: row.start_call,
  state: row.state,
  startedAt: row.started_at,
  changedAt: row.changed_at,
  lastSeq: row.last_seq,
  turns: row.turns,
  chars: row.chars,
  totals: row.totals,
});

const isLong = (body: string): boolean =>
  body.length * 3 > MAX_ROW_BYTES && Buffer.byteLength(body) > MAX_ROW_BYTES;

// SQLite stores text as UTF-8, which has no lone surrogates, so a cut never splits a pair.
function cut(body: string): string[] {
  const parts: string[] = [];
  for (let from = 0; from < body.length; ) {
    const to = charBoundary(body, from + PART_CHARS);
    parts.push(body.slice(from, to));
    from = to;
  }
  return parts;
}

const isLeased = ({ lease_until: until }: Row, now: number): boolean =>
  until > now && until - now <= MAX_LEASE_MS;
