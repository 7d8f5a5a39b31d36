// Lines typed in earlier runs, for the arrow keys: one per line, oldest first. Only the owner may read the file, because it holds
// messages to a model.
import { appendFileSync, chmodSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { makeDirectory } from '@fame-fabric/shared/node';

const MAX_LINES = 1000;

export class HistoryFile {
  readonly #path: string;
  readonly #onFault: (reason: string) => void;
  #hasFailed = false;

  /** @param onFault called once if the history cannot be kept; the conversation continues without it */
  constructor(dataDir: string, onFault: (reason: string) => void) {
    this.#path = join(dataDir, 'history');
    this.#onFault = onFault;
  }

  /** Earlier lines, newest first. */
  load(): string[] {
    return this.#guard(() => {
      const lines = this.#read();
      if (lines.length > MAX_LINES) {
        lines.splice(0, lines.length - MAX_LINES);
        writeFileSync(this.#path, `${lines.join('\n')}\n`, { mode: 0o600 });
      }
      return lines.reverse();
    }, []);
  }

  add(line: string): void {
    const text = line.trim();
    if (text === '' || this.#hasFailed) return;
    this.#guard(() => {
      makeDirectory(dirname(this.#path));
      appendFileSync(this.#path, `${text}\n`, { mode: 0o600 });
      chmodSync(this.#path, 0o600); // `mode` applies to a new file only
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
      if (!this.#hasFailed) this.#onFault(error instanceof Error ? error.message : String(error));
      this.#hasFailed = true;
      return otherwise;
    }
  }
}
