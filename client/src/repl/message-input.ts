// One message for the prompt: the text of `-m`, the whole of a pipe or file, or both.
import { FabricError } from '@fame-fabric/shared';
import type { ReplInput } from './repl-input.ts';

export interface MessageInputOptions {
  /** @default the message is the text of `source` */
  text?: string | undefined;
  /** @default the message is `text` */
  source?: (AsyncIterable<Buffer | string> & { destroy(): unknown }) | undefined;
  writeNote: (text: string) => void;
}

/** More than agents accept. */
const MAX_BYTES = 4_194_304;

export class MessageInput implements ReplInput {
  onInterrupt: (() => void) | undefined;
  readonly #options: MessageInputOptions;
  readonly #closed = Promise.withResolvers<undefined>();
  #isRead = false;

  constructor(options: MessageInputOptions) {
    this.#options = options;
  }

  /** Returns the message at the first call. @throws {PARAMS_INVALID} if the source has more than 4 MiB */
  async read(): Promise<string | undefined> {
    if (this.#isRead) return undefined;
    this.#isRead = true;
    const { text, source } = this.#options;
    if (!source) return text === undefined ? undefined : withLineFeeds(text);
    const read = await Promise.race([readAll(source), this.#closed.promise]);
    if (read === undefined) return undefined;
    return withLineFeeds([text, read.replace(/^\ufeff/, '').trimEnd()].filter(Boolean).join('\n\n'));
  }

  /** Resolves to no reply, because the whole input is the message. */
  question(): Promise<undefined> {
    return Promise.resolve(undefined);
  }

  note(text: string): void {
    this.#options.writeNote(text);
  }

  close(): void {
    this.#closed.resolve(undefined);
    this.#options.source?.destroy();
  }
}

/** Programs of Windows end lines with CRLF. A pasted message has line feeds as well. */
const withLineFeeds = (text: string): string => text.replace(/\r\n?/g, '\n');

async function readAll(source: AsyncIterable<Buffer | string>): Promise<string> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of source) {
    chunks.push(Buffer.from(chunk));
    size += chunks.at(-1)!.length;
    if (size > MAX_BYTES) throw new FabricError('PARAMS_INVALID', 'The input is larger than 4 MiB');
  }
  return Buffer.concat(chunks).toString();
}
