// Lines typed in earlier runs, for the arrow keys. One line a line, oldest first, in a file that only its owner may read:
// it holds what a person wrote to a model.
import { appendFileSync, chmodSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { makeDirectory } from '@fame-fabric/shared/data-dir';

/** Most lines that are kept between runs. */
const LINES_KEPT = 1000;

export class HistoryFile {
  readonly #path: string;
  readonly #onFault: (reason: string) => void;
  #hasFault = false;

  /** `onFault` is told, once, why history cannot be kept; the conversation goes on without. */
  constructor(dataDir: string, onFault: (reason: string) => void) {
    this.#path = join(dataDir, 'history');
    this.#onFault = onFault;
  }

  /** Earlier lines, newest first. */
  load(): string[] {
    return this.#guard(() => {
      const lines = this.#read();
      if (lines.length > LINES_KEPT) {
        lines.splice(0, lines.length - LINES_KEPT);
        writeFileSync(this.#path, `${lines.join('\n')}\n`, { mode: 0o600 });
      }
      return lines.reverse();
    }, []);
  }

  add(line: string): void {
    const text = line.trim();
    if (text === '' || this.#hasFault) return;
    this.#guard(() => {
      makeDirectory(dirname(this.#path));
      appendFileSync(this.#path, `${text}\n`, { mode: 0o600 });
      chmodSync(this.#path, 0o600); // the mode above counts only for a new file
    }, undefined);
  }

  #read(): string[] {
    try {
      return readFileSync(this.#path, 'utf8').split('\n').filter(Boolean);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return [];
      throw error;
    }
  }

  #guard<T>(work: () => T, otherwise: T): T {
    try {
      return work();
    } catch (error) {
      if (!this.#hasFault) this.#onFault(error instanceof Error ? error.message : String(error));
      this.#hasFault = true;
      return otherwise;
    }
  }
}
