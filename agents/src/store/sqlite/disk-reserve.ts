// A file beside the database that keeps some disk space for the removal of conversations: SQLite needs space for its log even to delete. Runs in the
// store's own thread.
import { randomBytes } from 'node:crypto';
import { closeSync, openSync, rmSync, statfsSync, statSync, writeSync } from 'node:fs';
import { dirname } from 'node:path';

/** The log of deleting a conversation of 60 MB has 550 KB. */
const RESERVE_BYTES = 1_048_576;
/** The reserve is not taken from a disk that would have less free space afterwards. */
const MIN_FREE_BYTES = 2 * RESERVE_BYTES;

export class DiskReserve {
  readonly #path: string;

  constructor(path: string) {
    this.#path = path;
  }

  /** Takes the reserve, if the disk has enough space. */
  take(): void {
    try {
      if ((statSync(this.#path, { throwIfNoEntry: false })?.size ?? 0) >= RESERVE_BYTES) return;
      const { bavail, bsize } = statfsSync(dirname(this.#path));
      if (bavail * bsize < RESERVE_BYTES + MIN_FREE_BYTES) return;
      const file = openSync(this.#path, 'w', 0o600);
      try {
        // Random bytes, because file systems may store zeros without using space.
        writeSync(file, randomBytes(RESERVE_BYTES));
      } finally {
        closeSync(file);
      }
    } catch {
      this.release();
    }
  }

  /** Gives the space back to the disk. Returns false if there was no reserve. */
  release(): boolean {
    try {
      rmSync(this.#path);
      return true;
    } catch {
      return false;
    }
  }
}
