// A file beside the database that reserves disk space for the removal of conversations: SQLite needs space for its log even to
// delete. Runs in the store's own thread.
import { randomBytes } from 'node:crypto';
import { closeSync, openSync, rmSync, statfsSync, statSync, writeSync } from 'node:fs';
import { dirname } from 'node:path';

const BLOCK_BYTES = 1_048_576;
/**
 * SQLite copies a log of about 4 MB into the database before it uses the log again. Deleting a conversation of 60 MB adds
 * 550 KB to it.
 */
const RESERVE_BYTES = 6 * BLOCK_BYTES;
/** Free space that a disk must have beside the reserve when it is first taken. */
const MIN_FREE_BYTES = RESERVE_BYTES;

export class DiskReserve {
  readonly #path: string;
  /** True after this process released the reserve, until it takes the reserve again. */
  #isReleased = false;

  constructor(path: string) {
    this.#path = path;
  }

  get isReleased(): boolean {
    return this.#isReleased;
  }

  /** Takes the reserve, if the disk has enough space. A released one is taken again as far as the space suffices. */
  take(): void {
    let file: number | undefined;
    try {
      const size = statSync(this.#path, { throwIfNoEntry: false })?.size ?? 0;
      if (size >= RESERVE_BYTES) return;
      const { bavail, bsize } = statfsSync(dirname(this.#path));
      const free = bavail * bsize;
      if (!this.#isReleased && free < RESERVE_BYTES + MIN_FREE_BYTES) return;
      file = openSync(this.#path, 'a', 0o600);
      // Random bytes, because file systems may store zeros without using space.
      const block = randomBytes(BLOCK_BYTES);
      for (let rest = Math.min(RESERVE_BYTES - size, free); rest > 0; ) {
        rest -= writeSync(file, block, 0, Math.min(rest, BLOCK_BYTES));
      }
      this.#isReleased = false;
    } catch {
      // The written part serves as the reserve, and a later call takes the rest.
    } finally {
      if (file !== undefined) closeSync(file);
    }
  }

  /** Gives the space back to the disk. Returns false if there was no reserve. */
  release(): boolean {
    try {
      rmSync(this.#path);
      this.#isReleased = true;
      return true;
    } catch {
      return false;
    }
  }
}
