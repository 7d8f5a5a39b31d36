// Messages from a pipe or a file, one per line, without prompts. Notes go to stderr, so that stdout contains only answers.
import { createInterface, type Interface } from 'node:readline';
import type { Readable } from 'node:stream';
import { onAbort } from '@fame-fabric/shared/internal';
import type { QuestionOptions, ReplInput } from './repl-input.ts';

export class PipedInput implements ReplInput {
  onInterrupt: (() => void) | undefined;
  readonly #lines: Interface;
  readonly #iterator: AsyncIterator<string>;
  readonly #writeNote: (text: string) => void;
  /** The next line, once it was asked for. */
  #next: Promise<string | undefined> | undefined;
  readonly #ended = Promise.withResolvers<undefined>();

  constructor(input: Readable, writeNote: (text: string) => void) {
    this.#lines = createInterface({ input, terminal: false, crlfDelay: Number.POSITIVE_INFINITY });
    this.#iterator = this.#lines[Symbol.asyncIterator](); // created now, so that it buffers the lines before the first read
    this.#writeNote = writeNote;
  }

  async read(): Promise<string | undefined> {
    const line = await Promise.race([this.#peek(), this.#ended.promise]);
    this.#next = undefined;
    return line;
  }

  async question(_text: string, { isReply, signal }: QuestionOptions): Promise<string | undefined> {
    const withdrawn = Promise.withResolvers<undefined>();
    const stopListening = onAbort(signal, () => withdrawn.resolve(undefined));
    const line = await Promise.race([this.#peek(), this.#ended.promise, withdrawn.promise]);
    stopListening();
    return line !== undefined && isReply(line) ? this.read() : undefined;
  }

  #peek(): Promise<string | undefined> {
    this.#next ??= this.#iterator.next().then(({ done, value }) => (done ? undefined : value));
    return this.#next;
  }

  note(text: string): void {
    this.#writeNote(text);
  }

  close(): void {
    this.#ended.resolve(undefined);
    this.#lines.close();
  }
}
