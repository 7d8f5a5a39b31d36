// Detects dead writers of a store. Each writer locks its own file, and the operating system releases the lock when the process
// ends for any reason. The conversations of a dead writer are then available at once, before its lease expires. A paused writer
// counts as alive.
import { existsSync, mkdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';

/** Locks of the writers of one store, in one directory. The files are SQLite databases, whose locks work on every system. */
export class WriterLocks {
  readonly #directory: string;
  #own: { holder: string; db: DatabaseSync } | undefined;

  constructor(directory: string) {
    this.#directory = directory;
  }

  /** Acquires the lock of `holder` until `release` or the end of the process. */
  acquire(holder: string): void {
    mkdirSync(this.#directory, { recursive: true, mode: 0o700 });
    const db = new DatabaseSync(this.#pathOf(holder), { timeout: 0 });
    db.exec('BEGIN EXCLUSIVE');
    this.#own = { holder, db };
  }

  /** True if the process of `holder` has ended. */
  isDead(holder: string): boolean {
    if (holder === this.#own?.holder) return false;
    const path = this.#pathOf(holder);
    if (!existsSync(path)) return true;
    let db: DatabaseSync | undefined;
    try {
      db = new DatabaseSync(path, { timeout: 0 });
      db.exec('BEGIN EXCLUSIVE');
      db.exec('ROLLBACK');
    } catch {
      // The file is locked or cannot be opened, so rely on the lease.
      return false;
    } finally {
      db?.close();
    }
    rmSync(path, { force: true });
    return true;
  }

  release(): void {
    if (!this.#own) return;
    const { holder, db } = this.#own;
    this.#own = undefined;
    db.close();
    rmSync(this.#pathOf(holder), { force: true });
  }

  // Holder ids are ours but are read from a file, so only letters and digits may reach the path.
  #pathOf(holder: string): string {
    return join(this.#directory, `${holder.replace(/[^0-9a-zA-Z]/g, '')}.lock`);
  }
}
