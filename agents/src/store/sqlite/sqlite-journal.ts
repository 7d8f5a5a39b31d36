// The operations of the SQLite store, in SQL. They are synchronous and run inside a transaction of the caller. An operation that
// throws StoreFault has written nothing, so the other operations of its commit succeed. Bodies are JSON texts here.
import type { DatabaseSync, StatementSync } from 'node:sqlite';
import { charBoundary } from '@fame-fabric/shared/internal';
import { type Acquisition, acquisitionOf, fenceOf, NO_ACQUISITION, seqBefore } from '../cursor.ts';
import { type FindRow, find, type UserEvent } from '../find.ts';
import { joins, RETRY_MS } from '../retry.ts';
import {
  type EndedTurnState,
  type EventKind,
  endOfTurn,
  type Fence,
  type FindCursor,
  type FindOptions,
  type ForkPoint,
  type HistoryOptions,
  isEndedState,
  type ListOptions,
  MAX_LEASE_MS,
  type ReadOptions,
  type RetryRequest,
  type RoomReport,
  type StoredState,
  type SweepOptions,
  type SweepReport,
  type TurnPlace,
  type TurnState,
} from '../store.ts';
import { readTime, type StoreTime, timeOf } from '../store-time.ts';
import { freePages, StoreFault, usedBytes } from './sqlite-database.ts';
import { Statements } from './statements.ts';

/** Longest body that is stored in its row, in bytes. Longer rows would slow down scans. */
const MAX_ROW_BYTES = 65_536;
/** Length of the parts of longer bodies, in UTF-16 units: at most 48 KiB each. */
const PART_CHARS = 16_384;
/** Characters after which one sweep deletes no more, so that turns wait for milliseconds only. */
const MAX_DELETED_CHARS = 8_388_608;
/** Retry keys that one sweep deletes. */
const MAX_DELETED_RETRIES = 1_000;
/** Free pages that one sweep returns to the file system. */
const SHRINK_PAGES = 128;
/** Conversations that `makeRoom` moves to the trash, and those that it deletes, in one call. */
const MAX_ROOM = 128;
/** Share of a full store that is kept as trash. A removed conversation stays in the trash while that share fills. */
const TRASH_SHARE = 0.05;

export interface RawNewEvent {
  kind: EventKind;
  at: number;
  turnId?: string | undefined;
  /** JSON. */
  body: string;
}
export interface RawEvent extends RawNewEvent, Acquisition {
  seq: number;
}
export interface RawRecord {
  id: string;
  agent: string;
  principal: string;
  startCallId: string;
  state: StoredState;
  startedAt: number;
  changedAt: number;
  lastSeq: number;
  turns: number;
  chars: number;
  totals: string;
  trashedAt: number;
  forkedFrom?: ForkPoint;
  lastOutcome: EndedTurnState | undefined;
  isEphemeral: boolean;
}
export interface RawCreate {
  id: string;
  agent: string;
  principal?: string | undefined;
  startCallId: string;
  historyTurns: number;
  isEphemeral?: boolean | undefined;
  totals: string;
  state?: StoredState | undefined;
  forkedFrom?: ForkPoint | undefined;
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
  retry?: RetryRequest | undefined;
  isDormant?: boolean | undefined;
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
  dormant_fence: number;
  principal: string;
  trashed_at: number;
  forked_from: string;
  forked_at: string;
  is_ephemeral: number;
  last_outcome: EndedTurnState | '';
}
interface RetryRow {
  id: string;
  turn_id: string;
  at: number;
  is_by_retry: number;
  joined_by: string;
}
interface TimeRow {
  wall_at: number;
  running_ms: number;
  held_until_ms: number;
  keeper: string;
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
  readonly #sql: Statements;

  constructor(db: DatabaseSync, options: JournalOptions) {
    this.#db = db;
    this.#sql = new Statements(db);
    this.#options = options;
  }

  create(now: number, given: RawCreate): { created: boolean; record: RawRecord } {
    const existing = this.#row(given.id);
    if (existing) return { created: false, record: recordOf(existing) };
    this.#assertNotFull();
    this.#freeId(given.id);
    const { body, at } = given.started;
    const { lastInsertRowid } = this.#prepare(
      `INSERT INTO conversation (id, agent, start_call, state, history_turns, started_at, changed_at, last_seq, turns,
         chars, totals, holder, lease_until, fence, principal, forked_from, forked_at, is_ephemeral)
       VALUES (?, ?, ?, ?, ?, ?, ?, 1, 0, ?, ?, '', 0, 0, ?, ?, ?, ?)`,
    ).run(
      given.id,
      given.agent,
      given.startCallId,
      given.state ?? 'working',
      given.historyTurns,
      at,
      now,
      body.length,
      given.totals,
      given.principal ?? 'local',
      given.forkedFrom?.conversationId ?? '',
      given.forkedFrom?.turnId ?? '',
      given.isEphemeral ? 1 : 0,
    );
    this.#insertEvent(Number(lastInsertRowid), 1, given.started);
    return { created: true, record: recordOf(this.#row(given.id)!) };
  }

  acquire(now: number, id: string, leaseMs: number) {
    const { holder } = this.#options;
    const row = this.#row(id);
    if (!row) return undefined;
    if (row.holder !== holder && isLeased(row, now) && !this.#options.isDead(row.holder)) {
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
    this.#prepare('INSERT INTO acquisition VALUES (?, ?, ?)').run(row.key, epoch, row.last_seq + 1);
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
        NO_ACQUISITION,
      ),
      history: this.#history(row),
      open: open.map((turn) =>
        this.#events(row.key, this.#turnRows(row.key, turn, Number.MAX_SAFE_INTEGER, true)),
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
      isFull: this.isFull,
      isDormant: row.dormant_fence === row.fence,
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
    if (given.retry) this.#keepRetry(now, row.key, given.retry);
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
      `UPDATE conversation SET state = ?, changed_at = ?, last_seq = ?, turns = ?, chars = ?, totals = ?, lease_until = ?,
         dormant_fence = ? WHERE key = ?`,
    ).run(
      given.state ?? row.state,
      now,
      seq,
      turns,
      chars,
      given.totals ?? row.totals,
      given.leaseMs > 0 ? now + given.leaseMs : 0,
      given.isDormant ? epoch : row.dormant_fence,
      row.key,
    );
  }

  renew(now: number, ids: readonly string[], leaseMs: number): string[] {
    const { holder } = this.#options;
    const renew = this.#prepare('UPDATE conversation SET lease_until = ? WHERE id = ? AND holder = ?');
    return ids.filter((id) => renew.run(now + leaseMs, id, holder).changes === 1);
  }

  record(id: string, { inTrash = false }: Pick<ListOptions, 'inTrash'> = {}): RawRecord | undefined {
    const row = inTrash ? this.#trashedRow(id) : this.#row(id);
    return row && recordOf(row);
  }

  read(id: string, options: ReadOptions): RawEvent[] {
    const row = this.#row(id) ?? this.#trashedRow(id);
    if (!row) return [];
    const { afterCursor, until = Number.MAX_SAFE_INTEGER, limit = 500, turnId } = options;
    const { maxChars = Number.POSITIVE_INFINITY } = options;
    const after = afterCursor === undefined ? (options.after ?? 0) : this.#seqBefore(row, afterCursor);
    const ofTurn = turnId === undefined ? '' : 'AND turn_id = ?';
    const values = turnId === undefined ? [] : [turnId];
    // A reader at a cursor may have the whole first one already.
    const extra = afterCursor === undefined ? 0 : 1;
    const found = this.#sql.iterate<EventRow>(
      `SELECT ${EVENT_COLUMNS} FROM event WHERE conversation = ? AND seq > ? AND seq <= ? ${ofTurn} ORDER BY seq LIMIT ?`,
      row.key,
      after,
      until,
      ...values,
      limit + extra,
    );
    const rows: EventRow[] = [];
    let chars = 0;
    for (const event of found) {
      chars += event.parts > 0 ? event.parts * PART_CHARS : event.body.length;
      if (chars > maxChars && rows.length > extra) break;
      rows.push(event);
    }
    return this.#events(row.key, rows);
  }

  history(id: string, { until }: HistoryOptions = {}): RawEvent[][] {
    const row = this.#row(id);
    return row ? this.#history(row, until) : [];
  }

  turnOfApproval(id: string, callId: string): string | undefined {
    const row = this.#row(id);
    if (!row) return undefined;
    // Without statistics SQLite would read all events of the conversation.
    return this.#get<{ turn_id: string }>(
      `SELECT turn_id FROM event INDEXED BY event_approval
       WHERE conversation = ? AND json_extract(body, '$.call_id') = ? AND kind = 'approval_requested' AND parts = 0`,
      row.key,
      callId,
    )?.turn_id;
  }

  unfinished(now: number, agent: string, limit: number): string[] {
    const candidates = `FROM conversation WHERE agent = ? AND trashed_at = 0 AND dormant_fence <> fence
      AND key IN (SELECT conversation FROM turn WHERE state = 'open')`;
    // Few writers hold all of them, so check each writer once and filter in SQL.
    const holders = this.#all<{ holder: string }>(
      `SELECT DISTINCT holder ${candidates} AND lease_until > ? AND lease_until <= ?`,
      agent,
      now,
      now + MAX_LEASE_MS,
    );
    const living = holders.map(({ holder }) => holder).filter((holder) => !this.#options.isDead(holder));
    return this.#all<{ id: string }>(
      `SELECT id ${candidates} AND NOT (lease_until > ? AND lease_until <= ?
       AND holder IN (SELECT value FROM json_each(?))) ORDER BY changed_at LIMIT ?`,
      agent,
      now,
      now + MAX_LEASE_MS,
      JSON.stringify(living),
      limit,
    ).map(({ id }) => id);
  }

  retried(now: number, request: RetryRequest): TurnPlace | undefined {
    const { conversationId, turnId } = request;
    const row = this.#row(conversationId);
    if (row?.agent === request.agent && this.#turn(row.key, turnId)) return { conversationId, turnId };
    const turn = this.#retryRow(request);
    if (!turn || !joins(retriedTurnOf(turn), request, now)) return undefined;
    if (request.count === 0 && turn.joined_by === '') {
      const { agent, principal, key } = request;
      const sql = 'UPDATE retry SET joined_by = ? WHERE agent = ? AND principal = ? AND key = ?';
      this.#sql.run(sql, turnId, agent, principal, key);
    }
    return { conversationId: turn.id, turnId: turn.turn_id };
  }

  /** Makes a turn the latest one of its retry key. @throws {StoreFault} if the request joins another one */
  #keepRetry(now: number, conversation: number, request: RetryRequest): void {
    const { agent, principal, key, turnId, count } = request;
    const turn = this.#retryRow(request);
    if (turn && joins(retriedTurnOf(turn), request, now)) {
      throw new StoreFault('STORE_CONFLICT', 'There is a turn with that retry key.', { isRetry: true });
    }
    const sql = `INSERT OR REPLACE INTO retry VALUES (?, ?, ?, ?, ?, ?, ?, '')`;
    this.#sql.run(sql, agent, principal, key, conversation, turnId, now, count > 0 ? 1 : 0);
  }

  #retryRow({ agent, principal, key }: RetryRequest): RetryRow | undefined {
    return this.#sql.get<RetryRow>(
      `SELECT id, turn_id, at, is_by_retry, joined_by FROM retry
       JOIN conversation ON conversation.key = retry.conversation AND trashed_at = 0
       WHERE retry.agent = ? AND retry.principal = ? AND retry.key = ?`,
      agent,
      principal,
      key,
    );
  }

  find(options: FindOptions): { records: RawRecord[]; next: FindCursor | undefined } {
    const { from } = options;
    const { rows, next } = find<Row & FindRow>(options, {
      rows: (limit) => this.#findRows(from, limit),
      userEvents: (row, after) => this.#userEvents(row.key, after),
    });
    return { records: rows.map(recordOf), next };
  }

  *#findRows(from: FindCursor | undefined, limit: number): Iterable<Row & FindRow> {
    const isContinued = from?.turnId !== undefined;
    const rows = this.#sql.iterate<Row>(
      `SELECT * FROM conversation ${from ? `WHERE (changed_at, id) ${isContinued ? '<=' : '<'} (?, ?)` : ''}
       ORDER BY changed_at DESC, id DESC LIMIT ?`,
      ...(from ? [from.changedAt, from.id] : []),
      limit,
    );
    for (const row of rows) {
      yield {
        ...row,
        changedAt: row.changed_at,
        lastOutcome: row.last_outcome,
        isEphemeral: row.is_ephemeral === 1,
        isTrashed: row.trashed_at > 0,
      };
    }
  }

  *#userEvents(key: number, after: string | undefined): Iterable<UserEvent> {
    if (after === undefined) {
      const started = this.#sql.get<EventRow>(
        `SELECT ${EVENT_COLUMNS} FROM event WHERE conversation = ? AND seq = 1`,
        key,
      )!;
      yield { kind: started.kind, turnId: '', body: this.#body(key, started) };
    }
    const accepted = this.#sql.iterate<EventRow>(
      `SELECT ${EVENT_COLUMNS.replaceAll(/\w+/g, 'event.$&')} FROM turn
       CROSS JOIN event ON event.conversation = turn.conversation AND event.seq = turn.accepted_seq
       WHERE turn.conversation = ? AND turn.turn_id > ? ORDER BY turn.turn_id`,
      key,
      after ?? '',
    );
    for (const row of accepted) {
      yield { kind: row.kind, turnId: row.turn_id!, body: this.#body(key, row) };
    }
  }

  list({ agent, inTrash = false, limit = 100, before }: ListOptions): RawRecord[] {
    const nextPage = before ? 'AND (changed_at, id) < (?, ?)' : '';
    const ofAgent = agent === undefined ? '' : 'AND agent = ?';
    const rows = this.#all<Row>(
      `SELECT * FROM conversation WHERE ${inTrash ? 'trashed_at > 0' : 'trashed_at = 0 AND is_ephemeral = 0'} ${ofAgent} ${nextPage}
       ORDER BY changed_at DESC, id DESC LIMIT ?`,
      ...(agent === undefined ? [] : [agent]),
      ...(before ? [before.changedAt, before.id] : []),
      limit,
    );
    return rows.map(recordOf);
  }

  trash(now: number, id: string): boolean {
    const row = this.#row(id);
    if (!row) return false;
    this.#assertFree(row, now);
    this.#moveToTrash(row, now);
    return true;
  }

  restore(id: string): boolean {
    return (
      this.#prepare(
        'UPDATE conversation SET trashed_at = 0, trashed_running_ms = 0 WHERE id = ? AND trashed_at > 0',
      ).run(id).changes === 1
    );
  }

  remove(now: number, id: string): boolean {
    const row = this.#row(id) ?? this.#trashedRow(id);
    if (!row) return false;
    this.#assertFree(row, now);
    this.#remove(row.key);
    return true;
  }

  sweep(now: number, options: SweepOptions): SweepReport {
    const { expiredBefore, trashedBefore, ephemeralMs, maxBytes = 0, limit = 200 } = options;
    const trashed: { id: string; state: StoredState }[] = [];
    const isHeld = this.#heldAt(now);
    const trashUntil = (rows: Row[], isEnough: (row: Row) => boolean): void => {
      for (const row of rows) {
        if (trashed.length >= limit) return;
        if (isHeld(row)) continue;
        if (isEnough(row)) return;
        this.#moveToTrash(row, now);
        trashed.push({ id: row.id, state: row.state });
      }
    };
    if (expiredBefore !== undefined) {
      const rows = this.#all<Row>(
        'SELECT * FROM conversation WHERE changed_at < ? AND trashed_at = 0 ORDER BY changed_at LIMIT ?',
        expiredBefore,
        limit * 2,
      );
      trashUntil(rows, () => false);
    }
    if (maxBytes > 0 && usedBytes(this.#db) > maxBytes) {
      let excess = usedBytes(this.#db) - this.#trashChars() - maxBytes;
      trashUntil(this.#endedRows(limit * 2), ({ chars }) => {
        if (excess <= 0) return true;
        excess -= chars;
        return false;
      });
    }
    let deleted = 0;
    let deletedChars = 0;
    const remove = (rows: readonly Row[]): void => {
      for (const row of rows) {
        if (deletedChars >= MAX_DELETED_CHARS || deleted >= limit) break;
        this.#remove(row.key);
        deleted += 1;
        deletedChars += row.chars;
      }
    };
    if (ephemeralMs !== undefined) {
      remove(this.#ephemeralRows(now, ephemeralMs, limit * 2).filter((row) => !isHeld(row)));
    }
    if (trashedBefore) {
      const rows = this.#all<Row>(
        `SELECT * FROM conversation WHERE trashed_at > 0 AND trashed_at < ? AND trashed_running_ms < ?
         ORDER BY trashed_at LIMIT ?`,
        trashedBefore.at,
        trashedBefore.runningMs,
        limit,
      );
      remove(rows);
    }
    const deletedRetries = this.#sql.run(
      'DELETE FROM retry WHERE (agent, principal, key) IN (SELECT agent, principal, key FROM retry WHERE at <= ? LIMIT ?)',
      now - RETRY_MS,
      MAX_DELETED_RETRIES,
    );
    const isDone =
      trashed.length < limit &&
      deleted < limit &&
      deletedChars < MAX_DELETED_CHARS &&
      deletedRetries < MAX_DELETED_RETRIES;
    return { trashed, deleted, isDone, bytes: usedBytes(this.#db) };
  }

  /** Returns some free pages to the file system. Moving pages is slow and needs space in the log, so one call moves few. */
  shrink(): { isDone: boolean } {
    this.#db.exec(`PRAGMA incremental_vacuum(${SHRINK_PAGES})`);
    return { isDone: freePages(this.#db) === 0 };
  }

  keepTime(now: number, elapsedMs: number): StoreTime | undefined {
    const row = this.#timeRow();
    const { holder, isDead } = this.#options;
    if (row.keeper !== holder && row.keeper !== '' && !isDead(row.keeper)) return undefined;
    const last = recordOfTime(row);
    const { record, time } = readTime({ ...last, wallAt: last.wallAt || this.#lastChange() }, now, elapsedMs);
    this.#prepare('UPDATE store_time SET wall_at = ?, running_ms = ?, held_until_ms = ?, keeper = ?').run(
      record.wallAt,
      record.runningMs,
      record.heldUntilMs,
      holder,
    );
    return time;
  }

  time(): StoreTime {
    return timeOf(recordOfTime(this.#timeRow()));
  }

  endHold(): void {
    this.#prepare('UPDATE store_time SET held_until_ms = 0').run();
  }

  /** True if the store has reached its limit, so that new turns are refused. */
  get isFull(): boolean {
    const { maxBytes } = this.#options;
    return maxBytes > 0 && usedBytes(this.#db) >= maxBytes;
  }

  /** True if `makeRoom` would find a conversation. */
  hasRemovable(now: number, except: ReadonlySet<string>): boolean {
    return this.#oldestTrash(1).length > 0 || this.#victims(now, except, MAX_ROOM).length > 0;
  }

  /**
   * Deletes conversations until the store is below `targetBytes`, the oldest of the trash first. Before that it moves ended
   * conversations to the trash, then idle ones of `anonymous`, until the trash has its share of the store. So each conversation
   * spends a while in the trash, and the trash is deleted only as far as its space is needed.
   */
  makeRoom(now: number, targetBytes: number, except: ReadonlySet<string>): RoomReport {
    const moved = { ended: 0, idle: 0 };
    let deleted = 0;
    let trashChars = this.#trashChars();
    const share = Math.max(1, usedBytes(this.#db) * TRASH_SHARE);
    for (const row of trashChars < share ? this.#victims(now, except, MAX_ROOM) : []) {
      if (trashChars >= share) break;
      this.#moveToTrash(row, now);
      trashChars += row.chars;
      if (isEndedState(row.state)) moved.ended += 1;
      else moved.idle += 1;
    }
    for (const { key } of this.#oldestTrash(MAX_ROOM)) {
      if (usedBytes(this.#db) <= targetBytes) break;
      this.#remove(key);
      deleted += 1;
    }
    return { ...moved, deleted, bytes: usedBytes(this.#db) };
  }

  #history(row: Row, until: number = Number.MAX_SAFE_INTEGER): RawEvent[][] {
    const turns = this.#all<TurnRow>(
      `SELECT * FROM turn WHERE conversation = ? AND in_history = 1 AND ended_seq <= ?
       ORDER BY ended_seq DESC LIMIT ?`,
      row.key,
      until,
      Math.max(1, row.history_turns),
    );
    return turns
      .reverse()
      .map((turn) => this.#events(row.key, this.#turnRows(row.key, turn, turn.ended_seq, false)));
  }

  #turnRows(key: number, turn: TurnRow, to: number, withText: boolean): EventRow[] {
    return this.#all<EventRow>(
      `SELECT ${EVENT_COLUMNS} FROM event WHERE conversation = ? AND seq BETWEEN ? AND ? AND turn_id = ?
       ${withText ? '' : `AND kind <> 'text'`} ORDER BY seq`,
      key,
      turn.accepted_seq,
      to,
      turn.turn_id,
    );
  }

  /** Reads the bodies of rows, which are in order, and the acquisitions that wrote them. */
  #events(key: number, rows: readonly EventRow[]): RawEvent[] {
    const last = rows.at(-1);
    if (!last) return [];
    const acquisitions = this.#all<Acquisition>(
      `SELECT fence, first_seq AS firstSeq FROM acquisition WHERE conversation = ? AND first_seq <= ? AND first_seq >=
         (SELECT coalesce(max(first_seq), 0) FROM acquisition WHERE conversation = ? AND first_seq <= ?)
       ORDER BY first_seq, fence`,
      key,
      last.seq,
      key,
      rows[0]!.seq,
    );
    return rows.map((row) => this.#event(key, row, acquisitionOf(acquisitions, row.seq)));
  }

  /** Returns the seq after which a reader at `cursor` continues. */
  #seqBefore({ key, last_seq: lastSeq }: Row, cursor: number): number {
    const fence = fenceOf(cursor);
    const one = (sql: string): Acquisition | undefined =>
      this.#get<Acquisition>(
        `SELECT fence, first_seq AS firstSeq FROM acquisition WHERE conversation = ? AND ${sql}`,
        key,
        fence,
      );
    const next = one('fence > ? ORDER BY fence LIMIT 1');
    return seqBefore(cursor, one('fence = ?'), next ? next.firstSeq - 1 : lastSeq);
  }

  #event(key: number, row: EventRow, { fence, firstSeq }: Acquisition): RawEvent {
    const { seq, at, kind, turn_id: turnId } = row;
    return { seq, at, kind, body: this.#body(key, row), turnId: turnId ?? undefined, fence, firstSeq };
  }

  #body(key: number, { seq, parts, body }: EventRow): string {
    if (parts === 0) return body;
    const texts = this.#all<{ text: string }>(
      'SELECT text FROM part WHERE conversation = ? AND seq = ? ORDER BY n',
      key,
      seq,
    );
    return texts.map(({ text }) => text).join('');
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

  #moveToTrash(row: Row, now: number): void {
    this.#prepare(
      `UPDATE conversation SET trashed_at = ?, trashed_running_ms = (SELECT running_ms FROM store_time)
       WHERE key = ?`,
    ).run(Math.max(1, now), row.key);
  }

  /** Renames a conversation in the trash, so that another one can have its id. */
  #freeId(id: string): void {
    this.#prepare(
      `UPDATE conversation SET id = id || '~' || lower(hex(randomblob(6))) WHERE id = ? AND trashed_at > 0`,
    ).run(id);
  }

  #oldestTrash(limit: number): Row[] {
    return this.#all<Row>(
      'SELECT * FROM conversation WHERE trashed_at > 0 ORDER BY trashed_at LIMIT ?',
      limit,
    );
  }

  #trashChars(): number {
    const row = this.#get<{ chars: number | null }>(
      'SELECT sum(chars) AS chars FROM conversation WHERE trashed_at > 0',
    );
    return row?.chars ?? 0;
  }

  /** Ended conversations, those of `anonymous` first, each oldest first. The order is that of an index. */
  #endedRows(limit: number): Row[] {
    return this.#all<Row>(
      `SELECT * FROM conversation WHERE trashed_at = 0 AND state IN ('completed', 'canceled')
       ORDER BY principal <> 'anonymous', changed_at LIMIT ?`,
      limit,
    );
  }

  /** Ephemeral conversations that ended, or are in the trash, `ms` ago. After a backward step of the clock a change is in the future. */
  #ephemeralRows(now: number, ms: number, limit: number): Row[] {
    return this.#all<Row>(
      `SELECT * FROM conversation WHERE is_ephemeral = 1 AND (changed_at <= ? OR changed_at >= ?)
         AND (trashed_at > 0 OR state IN ('completed', 'canceled'))
       ORDER BY changed_at LIMIT ?`,
      now - ms,
      now + ms,
      limit,
    );
  }

  /** Conversations that a full store may remove, in order: ended ones, then idle and dormant ones of `anonymous`. */
  #victims(now: number, except: ReadonlySet<string>, limit: number): Row[] {
    const isHeld = this.#heldAt(now);
    const isFree = (row: Row): boolean => !except.has(row.id) && !isHeld(row);
    const ended = this.#endedRows(limit + except.size).filter(isFree);
    if (ended.length >= limit) return ended.slice(0, limit);
    const idle = this.#all<Row>(
      `SELECT * FROM conversation
       WHERE principal = 'anonymous' AND trashed_at = 0 AND state NOT IN ('completed', 'canceled')
         AND (dormant_fence = fence
           OR NOT EXISTS (SELECT 1 FROM turn WHERE turn.conversation = conversation.key AND turn.state = 'open'))
       ORDER BY changed_at LIMIT ?`,
      limit + except.size,
    );
    return [...ended, ...idle.filter(isFree)].slice(0, limit);
  }

  /** Stands in for the first record of the time. */
  #lastChange(): number {
    return this.#get<{ at: number | null }>('SELECT max(changed_at) AS at FROM conversation')?.at ?? 0;
  }

  #timeRow(): TimeRow {
    return this.#get<TimeRow>('SELECT * FROM store_time')!;
  }

  #hasOpenTurn({ key, lease_until }: Row): boolean {
    if (lease_until === 0) return false;
    const open = `SELECT 1 FROM turn WHERE conversation = ? AND state = 'open' LIMIT 1`;
    return this.#get(open, key) !== undefined;
  }

  /**
   * Returns a check: true if a live writer works on the conversation, so that it must not be removed. The lease alone does not tell:
   * after a forward jump of the wall clock it seems expired until the writer renews it. The check looks up each holder once, because
   * a look-up opens a file.
   */
  #heldAt(now: number): (row: Row) => boolean {
    const dead = new Map<string, boolean>();
    return (row) => {
      if (!isLeased(row, now) && !this.#hasOpenTurn(row)) return false;
      const isDead = dead.get(row.holder) ?? this.#options.isDead(row.holder);
      dead.set(row.holder, isDead);
      return !isDead;
    };
  }

  #assertFree(row: Row, now: number): void {
    if (!this.#heldAt(now)(row)) return;
    throw new StoreFault(
      'STORE_CONFLICT',
      'An agent holds this conversation. End the conversation first, or stop the agent.',
    );
  }

  #assertNotFull(): void {
    if (!this.isFull) return;
    throw new StoreFault(
      'STORE_FULL',
      `The conversation store has reached its limit of ${this.#options.maxBytes} bytes. Remove conversations (npx fame conversations rm ID --now) or raise FAME_STORE_MAX_BYTES.`,
    );
  }

  #row(id: string): Row | undefined {
    return this.#get<Row>('SELECT * FROM conversation WHERE id = ? AND trashed_at = 0', id);
  }

  #trashedRow(id: string): Row | undefined {
    return this.#get<Row>('SELECT * FROM conversation WHERE id = ? AND trashed_at > 0', id);
  }

  #turn(key: number, turnId: string): TurnRow | undefined {
    return this.#get<TurnRow>('SELECT * FROM turn WHERE conversation = ? AND turn_id = ?', key, turnId);
  }

  #get<T>(sql: string, ...values: (string | number)[]): T | undefined {
    return this.#sql.get<T>(sql, ...values);
  }

  #all<T>(sql: string, ...values: (string | number)[]): T[] {
    return this.#sql.all<T>(sql, ...values);
  }

  #prepare(sql: string): StatementSync {
    return this.#sql.prepare(sql);
  }
}

const recordOf = (row: Row): RawRecord => ({
  id: row.id,
  agent: row.agent,
  principal: row.principal,
  startCallId: row.start_call,
  state: row.state,
  startedAt: row.started_at,
  changedAt: row.changed_at,
  lastSeq: row.last_seq,
  turns: row.turns,
  chars: row.chars,
  totals: row.totals,
  trashedAt: row.trashed_at,
  ...(row.forked_from === ''
    ? {}
    : { forkedFrom: { conversationId: row.forked_from, turnId: row.forked_at } }),
  lastOutcome: row.last_outcome || undefined,
  isEphemeral: row.is_ephemeral === 1,
});

const retriedTurnOf = (row: RetryRow) => ({
  turnId: row.turn_id,
  at: row.at,
  isByRetry: row.is_by_retry === 1,
  joinedBy: row.joined_by,
});

const recordOfTime = (row: TimeRow) => ({
  wallAt: row.wall_at,
  runningMs: row.running_ms,
  heldUntilMs: row.held_until_ms,
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
