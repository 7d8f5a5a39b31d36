// The input history for the arrow keys, kept across runs: one message per line of the file, oldest first. Messages of several
// lines, and those that begin with a quotation mark, are JSON strings. Only the owner may read the file, because it contains
// messages to a model.
import { appendFileSync, chmodSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { makeDirectory } from '@fame-fabric/shared/node';
import { OptionalFile } from './optional-file.ts';

const MAX_MESSAGES = 1_000;
/** Size to which the file is cut at the start, in characters. */
const MAX_CHARS = 2_000_000;

export class HistoryFile {
  readonly #file: OptionalFile;

  /** @param onFault called once if the history cannot be kept; the conversation continues without it */
  constructor(dataDir: string, onFault: (reason: string) => void) {
    this.#file = new OptionalFile(join(dataDir, 'history'), onFault);
  }

  /** Returns the earlier messages, newest first. */
  load(): string[] {
    return this.#file.attempt(() => {
      const lines = (this.#file.read() ?? '').split('\n').filter(Boolean).reverse();
      const kept = newestWithin(lines);
      if (kept.length < lines.length) {
        const text = kept.toReversed().join('\n');
        writeFileSync(this.#file.path, `${text}\n`, { mode: 0o600 });
      }
      return kept.map(decode);
    }, []);
  }

  /** Appends a message. */
  add(message: string): void {
    const text = message.trim();
    const { path, hasFailed } = this.#file;
    if (text === '' || hasFailed) return;
    this.#file.attempt(() => {
      makeDirectory(dirname(path));
      appendFileSync(path, `${encode(text)}\n`, { mode: 0o600 });
      chmodSync(path, 0o600); // `mode` applies to a new file only
    }, undefined);
  }
}

const encode = (text: string): string => (/^"|[\n\r]/.test(text) ? JSON.stringify(text) : text);

function decode(line: string): string {
  if (!line.startsWith('"')) return line;
  try {
    return String(JSON.parse(line));
  } catch {
    return line; // written by an earlier version
  }
}

function newestWithin(lines: readonly string[]): string[] {
  let chars = 0;
  return lines.slice(0, MAX_MESSAGES).filter((line) => {
    chars += line.length + 1;
    return chars <= MAX_CHARS;
  });
}
