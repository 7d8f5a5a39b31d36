// Tells the living writers of a store from the dead. Each writer holds a lock on a file of its own as long as its process
// lives; the system takes the lock away when the process dies, however it dies. So what a dead writer held can be taken
// over at once, without waiting for its lease. A writer that is only paused still counts as alive.
import { existsSync, mkdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';

/** The locks of the writers of one store, in one directory. SQLite brings the locking: it works on every system. */
export class WriterLocks {
  readonly #directory: string;
  #own: { holder: string; db: DatabaseSync } | undefined;

  constructor(directory: string) {
    this.#directory = directory;
  }

  /** Holds the lock of `holder` until `release` or the end of the process. */
  hold(holder: string): void {
    mkdirSync(this.#directory, { recursive: true, mode: 0o700 });
    const db = new DatabaseSync(this.#pathOf(holder), { timeout: 0 });
    db.exec('BEGIN EXCLUSIVE');
    this.#own = { holder, db };
  }

  /** Whether the process behind `holder` has ended. */
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
      // Locked, or not to be opened: then its lease decides.
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

  // Holders are ids of ours, but they come back from a file: nothing but their letters reaches a path.
  #pathOf(holder: string): string {
    return join(this.#directory, `${holder.replace(/[^0-9a-zA-Z]/g, '')}.lock`);
  }
}
