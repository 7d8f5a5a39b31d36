// The operations of the SQLite store, in SQL. They are synchronous and run inside a transaction of the caller. An operation that
// throws StoreFault has written nothing, so the other operations of its commit succeed. Bodies are JSON texts here.
import type { DatabaseSync } from 'node:sqlite';
import { charBoundary } from '@fame-fabric/shared/internal';
import { type Acquisition, acquisitionOf, fenceOf, NO_ACQUISITION, seqBefore } from '../cursor.ts';
import { type FindRow, find, type UserEvent } from '../find.ts';
import { ownerLimitText } from '../owner-limits.ts';
import type { QuotaChange, QuotaRefusal } from '../quota.ts';
import { joins, MAX_RETRIES } from '../retry.ts';
import {
  type EventKind,
  endOfTurn,
  type Fence,
  FIRST_EPOCH,
  type FindCursor,
  type FindOptions,
  type ForkPoint,
  type HistoryOptions,
  type ListOptions,
  MAX_LEASE_MS,
  marksChange,
  NO_OWNER_LIMITS,
  type OwnerLimits,
  type ReachRequest,
  type ReadOptions,
  type RetryRequest,
  type StoredState,
  type TurnPlace,
  type TurnState,
} from '../store.ts';
import { readTime, type StoreTime, timeOf } from '../store-time.ts';
import { suffixedId } from '../stored-id.ts';
import {
  isLeased,
  ownedRowOf,
  type RawRecord,
  type Row,
  recordOf,
  rowOf,
  trashedRowOf,
} from './conversation-row.ts';
import { Removal } from './removal.ts';
import { StoreFault, usedBytes } from './sqlite-database.ts';
import { changeQuota } from './sqlite-quotas.ts';
import { Statements } from './statements.ts';

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
export interface RawEvent extends RawNewEvent, Acquisition {
  seq: number;
}
export interface RawCreate {
  id: string;
  agent: string;
  principal?: string | undefined;
  sharedWith?: readonly string[] | undefined;
  startCallId: string;
  historyTurns: number;
  isEphemeral?: boolean | undefined;
  totals: string;
  state?: StoredState | undefined;
  forkedFrom?: ForkPoint | undefined;
  started: RawNewEvent;
  isAcquired?: boolean | undefined;
}
/** A `CreatedConversation` with its record in raw form. */
export interface RawCreated {
  created: boolean;
  record: RawRecord;
  fence?: Fence | undefined;
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

/** The columns of a conversation that an append reads. Reading all columns takes 2.5 times as long. */
type AppendRow = Pick<Row, 'key' | 'principal' | 'state' | 'fence' | 'holder' | 'last_seq'>;

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
  /** @default no limits */
  ownerLimits?: OwnerLimits | undefined;
  /** True if the process of a holder has ended. */
  isDead(holder: string): boolean;
}

/** Retry keys that are kept between two checks of their number. */
const RETRIES_PER_CHECK = 64;
const EVENT_COLUMNS = 'seq, at, kind, turn_id, body, parts';

export class SqliteJournal {
  readonly #db: DatabaseSync;
  readonly #options: JournalOptions;
  readonly #sql: Statements;
  /** The operations that remove conversations. */
  readonly removal: Removal;
  #keptRetries = 0;

  constructor(db: DatabaseSync, options: JournalOptions) {
    this.#db = db;
    this.#sql = new Statements(db);
    this.#options = options;
    this.removal = new Removal(db, this.#sql, options.isDead);
  }

  create(now: number, given: RawCreate): RawCreated {
    const { id: publicId, agent, principal = 'local', sharedWith = [], isAcquired = false } = given;
    const existing = ownedRowOf(this.#sql, agent, principal, publicId);
    if (existing) return { created: false, record: recordOf(existing) };
    this.assertNotFull();
    this.#assertOwnerRoom(now, principal, '', true);
    let id = publicId;
    // Another owner may have chosen the suffixed id as its public one.
    while (rowOf(this.#sql, id)) id = suffixedId(id, agent, principal);
    this.removal.freeId(id);
    const { body, at } = given.started;
    const { lastInsertRowid } = this.#sql
      .prepare(
        `INSERT INTO conversation (id, agent, start_call, state, history_turns, started_at, changed_at, last_seq, turns,
         chars, totals, holder, lease_until, fence, principal, public_id, shared_with, forked_from, forked_at, is_ephemeral)
       VALUES (?, ?, ?, ?, ?, ?, ?, 1, 0, ?, ?, ?, 0, ?, ?, ?, ?, ?, ?, ?)`,
      )
      .run(
        id,
        agent,
        given.startCallId,
        given.state ?? 'working',
        given.historyTurns,
        at,
        now,
        body.length,
        given.totals,
        isAcquired ? this.#options.holder : '',
        isAcquired ? FIRST_EPOCH : 0,
        principal,
        publicId,
        JSON.stringify(sharedWith),
        given.forkedFrom?.conversationId ?? '',
        given.forkedFrom?.turnId ?? '',
        given.isEphemeral ? 1 : 0,
      );
    const key = Number(lastInsertRowid);
    this.#insertEvent(key, 1, given.started);
    const record = recordOf(rowOf(this.#sql, id)!);
    if (!isAcquired) return { created: true, record };
    this.#sql.run('INSERT INTO acquisition VALUES (?, ?, 2)', key, FIRST_EPOCH);
    return { created: true, record, fence: { holder: this.#options.holder, epoch: FIRST_EPOCH } };
  }

  reach({ agent, publicId, principal, mayUseAny, owner }: ReachRequest): string | undefined {
    // One query for every caller and every id, so that its time does not depend on conversations that are not shared.
    return this.#sql.get<{ id: string }>(
      `SELECT id, principal <> ? AS is_foreign,
         NOT EXISTS (SELECT 1 FROM json_each(shared_with) WHERE value IN (?, '*')) AS is_unshared
       FROM conversation WHERE public_id = ? AND agent = ? AND trashed_at = 0 AND coalesce(?, principal) = principal
         AND (NOT is_foreign OR NOT is_unshared OR ?)
       ORDER BY is_foreign, is_unshared, key LIMIT 1`,
      principal,
      principal,
      publicId,
      agent,
      owner ?? null,
      mayUseAny ? 1 : 0,
    )?.id;
  }

  acquire(now: number, id: string, leaseMs: number) {
    const { holder } = this.#options;
    const row = rowOf(this.#sql, id);
    if (!row) return undefined;
    if (row.holder !== holder && isLeased(row, now) && !this.#options.isDead(row.holder)) {
      throw new StoreFault('STORE_CONFLICT', 'Another process is working on this conversation.', {
        retryAfterMs: row.lease_until - now,
        holder: row.holder,
      });
    }
    const epoch = row.fence + 1;
    this.#sql.run(
      'UPDATE conversation SET holder = ?, lease_until = ?, fence = ? WHERE key = ?',
      holder,
      now + leaseMs,
      epoch,
      row.key,
    );
    this.#sql.run('INSERT INTO acquisition VALUES (?, ?, ?)', row.key, epoch, row.last_seq + 1);
    const open = this.#sql.all<TurnRow>(
      `SELECT * FROM turn WHERE conversation = ? AND state = 'open' ORDER BY accepted_seq`,
      row.key,
    );
    return {
      record: recordOf(row),
      fence: { holder, epoch },
      started: this.#event(
        row.key,
        this.#sql.get<EventRow>(
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

  peek(now: number, id: string, turnId: string | undefined) {
    const row = rowOf(this.#sql, id);
    if (!row) return undefined;
    const { isDead } = this.#options;
    const turn = turnId === undefined ? undefined : this.#turn(row.key, turnId);
    return {
      publicId: row.public_id,
      agent: row.agent,
      state: row.state,
      lastSeq: row.last_seq,
      epoch: row.fence,
      isFull: this.isFull,
      isDormant: row.dormant_fence === row.fence,
      holder: isLeased(row, now) && !isDead(row.holder) ? row.holder : undefined,
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
    const { conversationId: id } = given;
    const row = this.#sql.get<AppendRow>(
      'SELECT key, principal, state, fence, holder, last_seq FROM conversation WHERE id = ? AND trashed_at = 0',
      id,
    );
    const { holder, epoch } = given.fence;
    if (!row || row.fence !== epoch || row.holder !== holder || row.last_seq !== given.after) {
      throw new StoreFault('STORE_CONFLICT', 'Another process has acquired the conversation.', {
        lastSeq: row?.last_seq ?? 0,
      });
    }
    for (const event of given.events) {
      if (event.kind !== 'turn_accepted') continue;
      this.assertNotFull();
      this.#assertOwnerRoom(now, row.principal, id, false);
      if (this.#turn(row.key, event.turnId!)) {
        throw new StoreFault('STORE_CONFLICT', 'The conversation has a turn with that id already.');
      }
    }
    if (given.retry) this.#keepRetry(now, row.key, given.retry);
    let seq = row.last_seq;
    let turns = 0;
    let chars = 0;
    for (const event of given.events) {
      seq += 1;
      chars += event.body.length;
      this.#insertEvent(row.key, seq, event);
      if (event.kind === 'turn_accepted') {
        turns += 1;
        this.#sql.run(`INSERT INTO turn VALUES (?, ?, 'open', ?, 0, 0)`, row.key, event.turnId!, seq);
      }
      const state = endOfTurn(event.kind);
      if (state) {
        this.#sql.run(
          `UPDATE turn SET state = ?, ended_seq = ?, in_history = ?
           WHERE conversation = ? AND turn_id = ? AND state = 'open'`,
          state,
          seq,
          JSON.parse(event.body).in_history === true ? 1 : 0,
          row.key,
          event.turnId!,
        );
      }
    }
    const state = given.state ?? row.state;
    const isMarked = marksChange(given, row.state);
    // A statement that names an indexed column rewrites its entry in the index, also with an equal value.
    this.#sql.run(
      `UPDATE conversation SET ${state === row.state ? '' : 'state = ?, '}${isMarked ? 'changed_at = ?, ' : ''}
         ${given.isDormant ? 'dormant_fence = fence, ' : ''}last_seq = ?, turns = turns + ?, chars = chars + ?,
         totals = coalesce(?, totals), lease_until = ? WHERE key = ?`,
      ...(state === row.state ? [] : [state]),
      ...(isMarked ? [now] : []),
      seq,
      turns,
      chars,
      given.totals ?? null,
      given.leaseMs > 0 ? now + given.leaseMs : 0,
      row.key,
    );
  }

  renew(now: number, ids: readonly string[], leaseMs: number): string[] {
    const { holder } = this.#options;
    const renew = this.#sql.prepare('UPDATE conversation SET lease_until = ? WHERE id = ? AND holder = ?');
    return ids.filter((id) => renew.run(now + leaseMs, id, holder).changes === 1);
  }

  replicaKey(candidate: string): string {
    this.#sql.run('INSERT INTO store_secret VALUES (1, ?) ON CONFLICT DO NOTHING', candidate);
    return this.#sql.get<{ secret: string }>('SELECT secret FROM store_secret')!.secret;
  }

  record(id: string, { inTrash = false }: Pick<ListOptions, 'inTrash'> = {}): RawRecord | undefined {
    const row = inTrash ? trashedRowOf(this.#sql, id) : rowOf(this.#sql, id);
    return row && recordOf(row);
  }

  read(id: string, options: ReadOptions): RawEvent[] {
    const row = rowOf(this.#sql, id) ?? trashedRowOf(this.#sql, id);
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
    const row = rowOf(this.#sql, id);
    return row ? this.#history(row, until) : [];
  }

  turnOfApproval(id: string, callId: string): string | undefined {
    const row = rowOf(this.#sql, id);
    if (!row) return undefined;
    // Without statistics SQLite would read all events of the conversation.
    return this.#sql.get<{ turn_id: string }>(
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
    const holders = this.#sql.all<{ holder: string }>(
      `SELECT DISTINCT holder ${candidates} AND lease_until > ? AND lease_until <= ?`,
      agent,
      now,
      now + MAX_LEASE_MS,
    );
    const living = holders.map(({ holder }) => holder).filter((holder) => !this.#options.isDead(holder));
    return this.#sql
      .all<{ id: string }>(
        `SELECT id ${candidates} AND NOT (lease_until > ? AND lease_until <= ?
       AND holder IN (SELECT value FROM json_each(?))) ORDER BY changed_at LIMIT ?`,
        agent,
        now,
        now + MAX_LEASE_MS,
        JSON.stringify(living),
        limit,
      )
      .map(({ id }) => id);
  }

  retried(now: number, request: RetryRequest): TurnPlace | undefined {
    const { conversationId, turnId } = request;
    const row = rowOf(this.#sql, conversationId);
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
    // Checked now and then, because the check reads all keys of the owner.
    this.#keptRetries += 1;
    if (this.#keptRetries % RETRIES_PER_CHECK !== 0) return;
    this.#sql.run(
      `DELETE FROM retry WHERE agent = ? AND principal = ? AND at <= (
         SELECT at FROM retry WHERE agent = ? AND principal = ? ORDER BY at DESC LIMIT 1 OFFSET ?)`,
      agent,
      principal,
      agent,
      principal,
      MAX_RETRIES,
    );
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
    const { from, principal } = options;
    const { rows, next } = find<Row & FindRow>(options, {
      rows: (limit) => this.#findRows(from, principal, limit),
      userEvents: (row, after) => this.#userEvents(row.key, after),
    });
    return { records: rows.map(recordOf), next };
  }

  // The cursor of a page names the last row that was read, so the query has no rows of other owners.
  *#findRows(
    from: FindCursor | undefined,
    principal: string | undefined,
    limit: number,
  ): Iterable<Row & FindRow> {
    const isContinued = from?.turnId !== undefined;
    const rows = this.#sql.iterate<Row>(
      `SELECT * FROM conversation WHERE ${from ? `(changed_at, id) ${isContinued ? '<=' : '<'} (?, ?)` : 'true'}
       ${principal === undefined ? '' : 'AND principal = ? AND trashed_at = 0'}
       ORDER BY changed_at DESC, id DESC LIMIT ?`,
      ...(from ? [from.changedAt, from.id] : []),
      ...(principal === undefined ? [] : [principal]),
      limit,
    );
    for (const row of rows) {
      yield {
        ...row,
        publicId: row.public_id,
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
    const rows = this.#sql.all<Row>(
      `SELECT * FROM conversation WHERE ${inTrash ? 'trashed_at > 0' : 'trashed_at = 0 AND is_ephemeral = 0'} ${ofAgent} ${nextPage}
       ORDER BY changed_at DESC, id DESC LIMIT ?`,
      ...(agent === undefined ? [] : [agent]),
      ...(before ? [before.changedAt, before.id] : []),
      limit,
    );
    return rows.map(recordOf);
  }

  changeQuota(now: number, principal: string, changes: readonly QuotaChange[]): QuotaRefusal | undefined {
    return changeQuota(this.#sql, now, principal, changes);
  }

  keepTime(now: number, elapsedMs: number): StoreTime | undefined {
    const row = this.#timeRow();
    const { holder, isDead } = this.#options;
    if (row.keeper !== holder && row.keeper !== '' && !isDead(row.keeper)) return undefined;
    const last = recordOfTime(row);
    const { record, time } = readTime({ ...last, wallAt: last.wallAt || this.#lastChange() }, now, elapsedMs);
    this.#sql.run(
      'UPDATE store_time SET wall_at = ?, running_ms = ?, held_until_ms = ?, keeper = ?',
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
    this.#sql.run('UPDATE store_time SET held_until_ms = 0');
  }

  /** True if the store has reached its limit, so that new turns are refused. */
  get isFull(): boolean {
    const { maxBytes } = this.#options;
    return maxBytes > 0 && usedBytes(this.#db) >= maxBytes;
  }

  #history(row: Row, until: number = Number.MAX_SAFE_INTEGER): RawEvent[][] {
    const turns = this.#sql.all<TurnRow>(
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
    return this.#sql.all<EventRow>(
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
    const acquisitions = this.#sql.all<Acquisition>(
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
      this.#sql.get<Acquisition>(
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
    const texts = this.#sql.all<{ text: string }>(
      'SELECT text FROM part WHERE conversation = ? AND seq = ? ORDER BY n',
      key,
      seq,
    );
    return texts.map(({ text }) => text).join('');
  }

  #insertEvent(key: number, seq: number, event: RawNewEvent): void {
    const parts = isLong(event.body) ? cut(event.body) : [];
    for (const [n, part] of parts.entries()) {
      this.#sql.run('INSERT INTO part VALUES (?, ?, ?, ?)', key, seq, n, part);
    }
    this.#sql.run(
      'INSERT INTO event VALUES (?, ?, ?, ?, ?, ?, ?)',
      key,
      seq,
      event.at,
      event.kind,
      event.turnId ?? null,
      parts.length > 0 ? '' : event.body,
      parts.length,
    );
  }

  /** Stands in for the first record of the time. */
  #lastChange(): number {
    return this.#sql.get<{ at: number | null }>('SELECT max(changed_at) AS at FROM conversation')?.at ?? 0;
  }

  #timeRow(): TimeRow {
    return this.#sql.get<TimeRow>('SELECT * FROM store_time')!;
  }

  /** @throws {StoreFault} STORE_FULL */
  assertNotFull(): void {
    if (!this.isFull) return;
    throw new StoreFault(
      'STORE_FULL',
      `The conversation store has reached its limit of ${this.#options.maxBytes} bytes. Remove conversations (npx fame-fabric conversations rm ID --now) or raise FAME_STORE_MAX_BYTES.`,
    );
  }

  #assertOwnerRoom(now: number, principal: string, except: string, isNew: boolean): void {
    const { ownerLimits = NO_OWNER_LIMITS } = this.#options;
    if (this.removal.makeOwnerRoom(now, principal, ownerLimits, except, isNew)) return;
    throw ownerFault(principal, ownerLimits);
  }

  #turn(key: number, turnId: string): TurnRow | undefined {
    return this.#sql.get<TurnRow>('SELECT * FROM turn WHERE conversation = ? AND turn_id = ?', key, turnId);
  }
}

const ownerFault = (principal: string, limits: OwnerLimits): StoreFault =>
  new StoreFault('QUOTA_EXCEEDED', ownerLimitText(principal, limits));

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
