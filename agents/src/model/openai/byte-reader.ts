// Reads of a byte stream. The async iterator of a Node stream costs several promises and ticks for each read. This reader costs one
// promise, and the pieces that arrived together are one read: a read of the socket may contain several chunks of HTTP.
import type { Readable } from 'node:stream';

/** Unread bytes beyond which a stream is paused. */
const MAX_UNREAD_BYTES = 65_536;

/** Reads a byte stream once, from its beginning. */
export interface ByteReader {
  /**
   * Returns the pieces that have arrived since the last call, at least one, or undefined at the end. Call it again after it settled.
   * @throws the error of the stream
   */
  next(): Promise<readonly Uint8Array[] | undefined>;
}

/** Returns a reader of a Node stream, or of the web stream of a platform's `Response`. */
export const byteReader = (bytes: Readable | AsyncIterable<Uint8Array>): ByteReader =>
  'pause' in bytes ? new NodeReader(bytes) : new IteratorReader(bytes[Symbol.asyncIterator]());

class IteratorReader implements ByteReader {
  readonly #iterator: AsyncIterator<Uint8Array>;

  constructor(iterator: AsyncIterator<Uint8Array>) {
    this.#iterator = iterator;
  }

  async next(): Promise<readonly Uint8Array[] | undefined> {
    const { done, value } = await this.#iterator.next();
    return done ? undefined : [value];
  }
}

class NodeReader implements ByteReader {
  readonly #stream: Readable;
  #unread: Uint8Array[] = [];
  #unreadBytes = 0;
  #isPaused = false;
  #end: { readonly error: Error | undefined } | undefined;
  /** Settles at the next piece, or at the end. Set while a reader waits. */
  #arrival: PromiseWithResolvers<void> | undefined;

  constructor(stream: Readable) {
    this.#stream = stream;
    stream.on('data', (piece: Uint8Array) => this.#add(piece));
    stream.on('end', () => this.#finish(undefined));
    stream.on('error', (error) => this.#finish(error));
    stream.on('close', () => {
      // Most streams have already ended. Creating an unused error with its stack would cost CPU time.
      if (!this.#end) this.#finish(closedEarly());
    });
    if (stream.errored) this.#finish(stream.errored);
  }

  async next(): Promise<readonly Uint8Array[] | undefined> {
    while (this.#unread.length === 0 && !this.#end) {
      this.#resume();
      this.#arrival = Promise.withResolvers();
      await this.#arrival.promise;
    }
    const pieces = this.#unread;
    if (pieces.length > 0) {
      this.#unread = [];
      this.#unreadBytes = 0;
      this.#resume();
      return pieces;
    }
    if (this.#end?.error) throw this.#end.error;
    return undefined;
  }

  #resume(): void {
    if (!this.#isPaused) return;
    this.#isPaused = false;
    this.#stream.resume();
  }

  #add(piece: Uint8Array): void {
    this.#unread.push(piece);
    this.#unreadBytes += piece.length;
    if (this.#unreadBytes > MAX_UNREAD_BYTES && !this.#isPaused) {
      this.#isPaused = true;
      this.#stream.pause();
    }
    this.#notify();
  }

  #finish(error: Error | undefined): void {
    this.#end ??= { error };
    this.#notify();
  }

  #notify(): void {
    const arrival = this.#arrival;
    this.#arrival = undefined;
    arrival?.resolve();
  }
}

const closedEarly = (): Error =>
  Object.assign(new Error('The connection was closed.'), { code: 'ECONNRESET' });
