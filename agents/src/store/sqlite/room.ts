// Makes room in a full store: below its own limit, or on a full disk, where even a deletion needs space first. Runs in the store's
// own thread, outside of any transaction.
import type { DatabaseSync } from 'node:sqlite';
import type { RoomReport } from '../store.ts';
import type { DiskReserve } from './disk-reserve.ts';
import { usedBytes } from './sqlite-database.ts';
import type { SqliteJournal } from './sqlite-journal.ts';

/** Space that is made at once, unless the store is small. */
const STEP_BYTES = 1_048_576;
const MIN_STEP_BYTES = 16_384;

export interface RoomMakerDeps {
  readonly db: DatabaseSync;
  readonly journal: SqliteJournal;
  readonly reserve: DiskReserve;
  /** Called after conversations were removed. */
  onRoom(report: RoomReport): void;
}

export class RoomMaker {
  readonly #deps: RoomMakerDeps;

  constructor(deps: RoomMakerDeps) {
    this.#deps = deps;
  }

  /** Removes conversations until the store is below its limit. Returns false if it found none to remove. */
  belowLimit(now: number, maxBytes: number, except: ReadonlySet<string>): boolean {
    return this.#make(now, maxBytes - stepOf(maxBytes), except);
  }

  /** Removes conversations from a store on a full disk. Returns false if it found none to remove. */
  onDisk(now: number, except: ReadonlySet<string>): boolean {
    const { db, journal } = this.#deps;
    if (!journal.hasRemovable(now, except)) return false;
    const bytes = usedBytes(db);
    return this.withReserve(() => this.#make(now, bytes - stepOf(bytes), except));
  }

  /** Runs `free` with the reserve's space on the disk, and takes the reserve again from the space that it freed. */
  withReserve<T>(free: () => T): T {
    const { reserve } = this.#deps;
    reserve.release();
    try {
      return free();
    } finally {
      this.#returnSpace();
      reserve.take();
    }
  }

  // The freed space is in the log, and in free pages at any place of the file.
  #returnSpace(): void {
    const { db, journal } = this.#deps;
    try {
      db.exec('PRAGMA wal_checkpoint(TRUNCATE)');
      journal.shrink();
      db.exec('PRAGMA wal_checkpoint(TRUNCATE)');
    } catch {
      // SQLite uses the space for other conversations.
    }
  }

  #make(now: number, targetBytes: number, except: ReadonlySet<string>): boolean {
    const { db, journal, onRoom } = this.#deps;
    let report: RoomReport;
    db.exec('BEGIN IMMEDIATE');
    try {
      report = journal.makeRoom(now, targetBytes, except);
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
