// Messages from a pipe or a file, one per line, without prompts. Notes go to stderr, so that stdout contains only answers.
import { createInterface, type Interface } from 'node:readline';
import type { Readable } from 'node:stream';
import type { ReplInput } from './repl-input.ts';

export class PipedInput implements ReplInput {
  onInterrupt: (() => void) | undefined;
  readonly #lines: Interface;
  readonly #iterator: AsyncIterator<string>;
  readonly #writeNote: (text: string) => void;
  readonly #ended = Promise.withResolvers<undefined>();

  constructor(input: Readable, writeNote: (text: string) => void) {
    this.#lines = createInterface({ input, terminal: false, crlfDelay: Number.POSITIVE_INFINITY });
    this.#iterator = this.#lines[Symbol.asyncIterator](); // created now, so that it buffers the lines before the first read
    this.#writeNote = writeNote;
  }

  async read(): Promise<string | undefined> {
    const next = this.#iterator.next().then(({ done, value }) => (done ? undefined : value));
    return Promise.race([next, this.#ended.promise]);
  }

  note(text: string): void {
    this.#writeNote(text);
  }

  close(): void {
    this.#ended.resolve(undefined);
    this.#lines.close();
  }
}
