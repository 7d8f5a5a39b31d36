// Removes conversations: to the trash and back, by age, by size, and to make room in a full store. The operations are synchronous
// and run inside a transaction of the caller, like those in `sqlite-journal.ts`.
import type { DatabaseSync } from 'node:sqlite';
import { RETRY_MS } from '../retry.ts';
import {
  isEndedState,
  type OwnerLimits,
  type RoomReport,
  type StoredState,
  type SweepOptions,
  type SweepReport,
} from '../store.ts';
import { isLeased, ownedRowOf, type Row, rowOf, trashedRowOf } from './conversation-row.ts';
import { freePages, StoreFault, usedBytes } from './sqlite-database.ts';
import type { Statements } from './statements.ts';

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

/** Owner whose open conversations are never removed to make room. */
const OPERATOR = 'local';

export class Removal {
  readonly #db: DatabaseSync;
  readonly #sql: Statements;
  readonly #isDead: (holder: string) => boolean;

  /** `isDead` is true if the process of a holder has ended. */
  constructor(db: DatabaseSync, sql: Statements, isDead: (holder: string) => boolean) {
    this.#db = db;
    this.#sql = sql;
    this.#isDead = isDead;
  }

  trash(now: number, id: string): boolean {
    const row = rowOf(this.#sql, id);
    if (!row) return false;
    this.#assertFree(row, now);
    this.#moveToTrash(row, now);
    return true;
  }

  restore(id: string): boolean {
    const row = trashedRowOf(this.#sql, id);
    if (row && ownedRowOf(this.#sql, row.agent, row.principal, row.public_id))
      this.#sql.run('UPDATE conversation SET public_id = id WHERE key = ?', row.key);
    return (
      this.#sql.run(
        'UPDATE conversation SET trashed_at = 0, trashed_running_ms = 0 WHERE id = ? AND trashed_at > 0',
        id,
      ) === 1
    );
  }

  remove(now: number, id: string): boolean {
    const row = rowOf(this.#sql, id) ?? trashedRowOf(this.#sql, id);
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
      const rows = this.#sql.all<Row>(
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
      const rows = this.#sql.all<Row>(
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

  /** Renames a conversation in the trash, so that another one can have its id. */
  freeId(id: string): void {
    this.#sql.run(
      `UPDATE conversation SET id = id || '~' || lower(hex(randomblob(6))) WHERE id = ? AND trashed_at > 0`,
      id,
    );
  }

  /** True if `makeRoom` would find a conversation. */
  hasRemovable(now: number, except: ReadonlySet<string>): boolean {
    return this.#oldestTrash(1).length > 0 || this.#victims(now, except, MAX_ROOM).length > 0;
  }

  /**
   * Deletes conversations until the store is below `targetBytes`, the oldest of the trash first. Before that it moves ended
   * conversations to the trash, then idle ones of owners except `local`, until the trash has its share of the store. So each conversation
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

  #remove(key: number): void {
    for (const table of ['part', 'event', 'turn']) {
      this.#sql.run(`DELETE FROM ${table} WHERE conversation = ?`, key);
    }
    this.#sql.run('DELETE FROM conversation WHERE key = ?', key);
  }

  #moveToTrash(row: Row, now: number): void {
    this.#sql.run(
      `UPDATE conversation SET trashed_at = ?, trashed_running_ms = (SELECT running_ms FROM store_time)
       WHERE key = ?`,
      Math.max(1, now),
      row.key,
    );
  }

  #oldestTrash(limit: number): Row[] {
    return this.#sql.all<Row>(
      'SELECT * FROM conversation WHERE trashed_at > 0 ORDER BY trashed_at LIMIT ?',
      limit,
    );
  }

  #trashChars(): number {
    const row = this.#sql.get<{ chars: number | null }>(
      'SELECT sum(chars) AS chars FROM conversation WHERE trashed_at > 0',
    );
    return row?.chars ?? 0;
  }

  /** Ended conversations, those of `anonymous` first, each oldest first. The order is that of an index. */
  #endedRows(limit: number): Row[] {
    return this.#sql.all<Row>(
      `SELECT * FROM conversation WHERE trashed_at = 0 AND state IN ('completed', 'canceled')
       ORDER BY principal <> 'anonymous', changed_at LIMIT ?`,
      limit,
    );
  }

  /** Ephemeral conversations that ended, or are in the trash, `ms` ago. After a backward step of the clock a change is in the future. */
  #ephemeralRows(now: number, ms: number, limit: number): Row[] {
    return this.#sql.all<Row>(
      `SELECT * FROM conversation WHERE is_ephemeral = 1 AND (changed_at <= ? OR changed_at >= ?)
         AND (trashed_at > 0 OR state IN ('completed', 'canceled'))
       ORDER BY changed_at LIMIT ?`,
      now - ms,
      now + ms,
      limit,
    );
  }

  /**
   * Conversations that a full store may remove, in order: ended ones, then idle and dormant ones of owners except `local`. Those of the
   * largest owner come first, and those of `local` last.
   */
  #victims(now: number, except: ReadonlySet<string>, limit: number): Row[] {
    const isHeld = this.#heldAt(now);
    const isFree = (row: Row): boolean => !except.has(row.id) && !isHeld(row);
    const others = this.#sql.all<{ principal: string }>(
      'SELECT principal FROM owner ORDER BY chars DESC LIMIT ?',
      limit,
    );
    const owners = [...others.map(({ principal }) => principal), OPERATOR];
    const victims: Row[] = [];
    for (const principal of owners) {
      if (victims.length >= limit) break;
      victims.push(...this.#endedOf(principal, limit + except.size).filter(isFree));
    }
    for (const principal of owners) {
      if (victims.length >= limit) break;
      if (principal !== OPERATOR)
        victims.push(...this.#idleOf(principal, limit + except.size).filter(isFree));
    }
    return victims.slice(0, limit);
  }

  /**
   * Moves conversations of an owner to the trash until it is below its limits, for one more conversation if `isNew`: ended ones for its
   * size, then idle ones. Returns false if it is still above. `except` is the conversation that needs the room.
   */
  makeOwnerRoom(
    now: number,
    principal: string,
    limits: OwnerLimits,
    except: string,
    isNew: boolean,
  ): boolean {
    if (principal === OPERATOR) return true;
    const { maxBytes, maxConversations } = limits;
    const isFull = (): boolean => maxBytes > 0 && this.#charsOf(principal) >= maxBytes;
    const isCrowded = (): boolean =>
      isNew && maxConversations > 0 && this.#openOf(principal, maxConversations) >= maxConversations;
    // Counting an owner's open conversations takes time, so check once in the usual case.
    if (!isFull() && !isCrowded()) return true;
    const isHeld = this.#heldAt(now);
    const move = (rows: readonly Row[], isAbove: () => boolean): void => {
      for (const row of rows) {
        if (!isAbove()) return;
        if (row.id !== except && !isHeld(row)) this.#moveToTrash(row, now);
      }
    };
    if (isFull()) move(this.#endedOf(principal, MAX_ROOM), isFull);
    if (isFull() || isCrowded()) move(this.#idleOf(principal, MAX_ROOM), () => isFull() || isCrowded());
    return !isFull() && !isCrowded();
  }

  #charsOf(principal: string): number {
    const row = this.#sql.get<{ chars: number }>('SELECT chars FROM owner WHERE principal = ?', principal);
    return row?.chars ?? 0;
  }

  #openOf(principal: string, limit: number): number {
    const row = this.#sql.get<{ open: number }>(
      `SELECT count(*) AS open FROM (SELECT 1 FROM conversation INDEXED BY conversation_open_of_owner
       WHERE principal = ? AND trashed_at = 0 AND state IN ('working', 'input-required') LIMIT ?)`,
      principal,
      limit,
    );
    return row?.open ?? 0;
  }

  #endedOf(principal: string, limit: number): Row[] {
    return this.#sql.all<Row>(
      `SELECT * FROM conversation WHERE principal = ? AND trashed_at = 0 AND state IN ('completed', 'canceled')
       ORDER BY changed_at LIMIT ?`,
      principal,
      limit,
    );
  }

  /** Idle and dormant conversations of an owner, oldest first. */
  #idleOf(principal: string, limit: number): Row[] {
    return this.#sql.all<Row>(
      `SELECT * FROM conversation
       WHERE principal = ? AND trashed_at = 0 AND state NOT IN ('completed', 'canceled')
         AND (dormant_fence = fence
           OR NOT EXISTS (SELECT 1 FROM turn WHERE turn.conversation = conversation.key AND turn.state = 'open'))
       ORDER BY changed_at LIMIT ?`,
      principal,
      limit,
    );
  }

  #hasOpenTurn({ key, lease_until }: Row): boolean {
    if (lease_until === 0) return false;
    const open = `SELECT 1 FROM turn WHERE conversation = ? AND state = 'open' LIMIT 1`;
    return this.#sql.get(open, key) !== undefined;
  }

  /**
   * Returns a check: true if a live writer works on the conversation, so that it must not be removed. The lease alone does not show
   * it: after a forward jump of the wall clock it seems expired until the writer renews it. The check looks up each holder once, because
   * a look-up opens a file.
   */
  #heldAt(now: number): (row: Row) => boolean {
    const dead = new Map<string, boolean>();
    return (row) => {
      if (!isLeased(row, now) && !this.#hasOpenTurn(row)) return false;
      const isDead = dead.get(row.holder) ?? this.#isDead(row.holder);
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
}
