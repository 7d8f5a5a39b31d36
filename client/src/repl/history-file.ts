// The input history for the arrow keys, kept across runs: one entry per line, oldest first. Only the owner may read the file,
// because it contains messages to a model.
import { appendFileSync, chmodSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { makeDirectory } from '@fame-fabric/shared/node';
import { OptionalFile } from './optional-file.ts';

const MAX_LINES = 1_000;

export class HistoryFile {
  readonly #file: OptionalFile;

  /** @param onFault called once if the history cannot be kept; the conversation continues without it */
  constructor(dataDir: string, onFault: (reason: string) => void) {
    this.#file = new OptionalFile(join(dataDir, 'history'), onFault);
  }

  /** Returns the earlier lines, newest first. */
  load(): string[] {
    return this.#file.attempt(() => {
      const lines = (this.#file.read() ?? '').split('\n').filter(Boolean);
      if (lines.length > MAX_LINES) {
        lines.splice(0, lines.length - MAX_LINES);
        writeFileSync(this.#file.path, `${lines.join('\n')}\n`, { mode: 0o600 });
      }
      return lines.reverse();
    }, []);
  }

  /** Appends a line. */
  add(line: string): void {
    const text = line.trim();
    const { path, hasFailed } = this.#file;
    if (text === '' || hasFailed) return;
    this.#file.attempt(() => {
      makeDirectory(dirname(path));
      appendFileSync(path, `${text}\n`, { mode: 0o600 });
      chmodSync(path, 0o600); // `mode` applies to a new file only
    }, undefined);
  }
}
