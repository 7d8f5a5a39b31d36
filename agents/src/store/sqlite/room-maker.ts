// Makes room in a full store: below its own limit, or on a full disk, where even a deletion needs space first. Runs in the store's
// own thread, outside of any transaction.
import { statSync } from 'node:fs';
import type { DatabaseSync } from 'node:sqlite';
import type { RoomReport } from '../store.ts';
import type { DiskReserve } from './disk-reserve.ts';
import type { Removal } from './removal.ts';
import { usedBytes } from './sqlite-database.ts';

/** Space that is freed in one step, unless the store is small. */
const STEP_BYTES = 1_048_576;
const MIN_STEP_BYTES = 16_384;
/** Log size from which `reclaimLog` is worth its cost, and the shortest time between two attempts. */
const MIN_LOG_BYTES = 262_144;
const RECLAIM_MS = 1_000;

export interface RoomMakerDeps {
  /** Path of the database. */
  readonly path: string;
  readonly db: DatabaseSync;
  readonly removal: Removal;
  readonly reserve: DiskReserve;
  /** Size limit of the store, in bytes; 0 for no limit. */
  readonly maxBytes: number;
  /** Called after conversations were removed. */
  onRoom(report: RoomReport): void;
}

export class RoomMaker {
  readonly #deps: RoomMakerDeps;
  #reclaimedAt = Number.NEGATIVE_INFINITY;

  constructor(deps: RoomMakerDeps) {
    this.#deps = deps;
  }

  /** True if the store is one step below its limit or above: room is made before turns are refused. */
  get isNeeded(): boolean {
    const { db, maxBytes } = this.#deps;
    return maxBytes > 0 && usedBytes(db) >= maxBytes - stepOf(maxBytes);
  }

  /** Removes conversations until the store is two steps below its limit. Returns false if it found none to remove. */
  belowLimit(now: number, except: ReadonlySet<string>): boolean {
    const { maxBytes } = this.#deps;
    return this.#make(now, maxBytes - 2 * stepOf(maxBytes), except);
  }

  /**
   * Copies the log into the database with the reserve's space, so that the log can be used again: on a full disk the database
   * cannot grow otherwise. Returns false if it would gain little, or was tried lately.
   */
  reclaimLog(): boolean {
    const { path } = this.#deps;
    const now = performance.now();
    const bytes = statSync(`${path}-wal`, { throwIfNoEntry: false })?.size ?? 0;
    if (bytes < MIN_LOG_BYTES || now - this.#reclaimedAt < RECLAIM_MS) return false;
    this.#reclaimedAt = now;
    this.withReserve(() => undefined, 0);
    return true;
  }

  /** Removes conversations from a store on a full disk. Returns false if it found none to remove. */
  onDisk(now: number, except: ReadonlySet<string>): boolean {
    const { db, removal } = this.#deps;
    if (!removal.hasRemovable(now, except)) return false;
    const bytes = usedBytes(db);
    return this.withReserve(() => this.#make(now, bytes - stepOf(bytes), except), 1);
  }

  /**
   * Runs `free` with the reserve's space on the disk. Then shrinks the file in at most `maxSteps` steps, and takes the reserve
   * again.
   */
  withReserve<T>(free: () => T, maxSteps: number): T {
    const { removal, reserve } = this.#deps;
    reserve.release();
    this.#emptyLog();
    try {
      return free();
    } finally {
      this.#emptyLog();
      try {
        for (let step = 0; step < maxSteps; step++) {
          const { isDone } = removal.shrink();
          this.#emptyLog();
          if (isDone) break;
        }
      } catch {
        // SQLite uses the free pages for other conversations.
      }
      reserve.take();
    }
  }

  /** Closes the database, which removes its log, and then takes a released reserve again. */
  close(): void {
    const { db, reserve } = this.#deps;
    db.close();
    if (reserve.isReleased) reserve.take();
  }

  /** Copies the log into the database and truncates it, unless another process reads it. */
  #emptyLog(): void {
    try {
      this.#deps.db.exec('PRAGMA wal_checkpoint(TRUNCATE)');
    } catch {
      // The log stays, and the deletion needs more of the reserve.
    }
  }

  #make(now: number, targetBytes: number, except: ReadonlySet<string>): boolean {
    const { db, removal, onRoom } = this.#deps;
    let report: RoomReport;
    db.exec('BEGIN IMMEDIATE');
    try {
      report = removal.makeRoom(now, targetBytes, except);
      db.exec('COMMIT');
    } catch (error) {
      if (db.isTransaction) db.exec('ROLLBACK');
      throw error;
    }
    if (report.ended + report.idle + report.deleted === 0) return false;
    onRoom(report);
    // A move to the trash alone makes no room, but the next call deletes it.
    return true;
  }
}

const stepOf = (bytes: number): number => Math.max(MIN_STEP_BYTES, Math.min(STEP_BYTES, bytes >> 6));
