// A bounded queue between one writer and one reader, read as an async iterable. The writer never waits: unread items are
// kept up to a limit, and beyond it the channel fails for its reader. For many readers see `broadcast.ts`.
import { FabricError } from '../errors/error.ts';
import { Fifo } from './fifo.ts';

export interface ChannelOptions {
  /** Maximum total size of the unread items, in the unit of `push`'s `size`. @default unlimited */
  readonly limit?: number | undefined;
  /** Names the channel in its errors, such as "the text of the reply". */
  readonly name: string;
  /** Creates the error for an exceeded limit. @default BUFFER_OVERFLOW */
  readonly overflow?: ((limit: number) => FabricError) | undefined;
  /** Called once when the reader leaves before the end. */
  readonly onLeave?: (() => void) | undefined;
}

const DONE: IteratorResult<never, undefined> = Object.freeze({ value: undefined, done: true });

/** The writer's end (`push`, `end`, `fail`) and the reader's end (`for await`) of one queue. */
export class Channel<T> implements AsyncIterable<T>, AsyncIterator<T, undefined> {
  readonly #options: ChannelOptions;
  readonly #limit: number;
  readonly #items = new Fifo<T>();
  readonly #sizes = new Fifo<number>();
  #unread = 0;
  /** The read that waits for an item. Plain fields: a reader that keeps up waits for every item. */
  #read: Promise<IteratorResult<T, undefined>> | undefined;
  #resolve: ((result: IteratorResult<T, undefined>) => void) | undefined;
  #reject: ((error: unknown) => void) | undefined;
  /** `failed`: the error has not been read yet. `left`: the reader left before the end. */
  #state: 'open' | 'ended' | 'failed' | 'left' = 'open';
  #error: unknown;
  #hasReader = false;

  constructor(options: ChannelOptions) {
    this.#options = options;
    this.#limit = options.limit ?? Number.POSITIVE_INFINITY;
  }

  /** Number of unread items. */
  get length(): number {
    return this.#items.size;
  }

  /** Sum of the sizes of the unread items. */
  get unread(): number {
    return this.#unread;
  }

  /** True if the reader waits for an item. */
  get isAwaited(): boolean {
    return this.#read !== undefined;
  }

  /** True until the channel ends or fails, or its reader leaves. */
  get isOpen(): boolean {
    return this.#state === 'open';
  }

  /** True if the reader left before the end. */
  get hasLeft(): boolean {
    return this.#state === 'left';
  }

  /** Adds an item. Has no effect once the channel is no longer open. Fails the channel if the limit is exceeded. */
  push(item: T, size = 1): void {
    if (this.#state !== 'open') return;
    const resolve = this.#resolve;
    if (resolve) {
      this.#read = this.#resolve = this.#reject = undefined;
      resolve({ value: item, done: false });
      return;
    }
    if (this.#unread + size > this.#limit) {
      this.fail(this.#overflow());
      return;
    }
    this.#items.push(item);
    this.#sizes.push(size);
    this.#unread += size;
  }

  /** Ends the channel. The reader still receives the unread items. */
  end(): void {
    if (this.#state !== 'open') return;
    this.#state = 'ended';
    this.#finishRead();
  }

  /** Fails the channel. The reader still receives the unread items, then the error once. */
  fail(error: unknown): void {
    if (this.#state !== 'open') return;
    const reject = this.#reject;
    if (reject) {
      this.#state = 'ended';
      this.#read = this.#resolve = this.#reject = undefined;
      reject(error);
    } else {
      this.#state = 'failed';
      this.#error = error;
    }
  }

  next(): Promise<IteratorResult<T, undefined>> {
    if (this.#items.size > 0) {
      this.#unread -= this.#sizes.shift()!;
      return Promise.resolve({ value: this.#items.shift() as T, done: false });
    }
    switch (this.#state) {
      case 'open':
        // Reads that do not wait for each other are answered in order.
        if (this.#read) {
          const next = (): Promise<IteratorResult<T, undefined>> => this.next();
          return this.#read.then(next, next);
        }
        this.#read = new Promise((resolve, reject) => {
          this.#resolve = resolve;
          this.#reject = reject;
        });
        return this.#read;
      case 'failed':
        this.#state = 'ended';
        return Promise.reject(this.#error);
      default:
        return Promise.resolve(DONE);
    }
  }

  /** Leaves the channel. Drops the unread items and everything pushed later. */
  return(): Promise<IteratorResult<T, undefined>> {
    this.#items.clear();
    this.#sizes.clear();
    this.#unread = 0;
    if (this.#state === 'open') {
      this.#state = 'left';
      this.#finishRead();
      this.#options.onLeave?.();
    } else if (this.#state === 'failed') this.#state = 'ended';
    return Promise.resolve(DONE);
  }

  /** Makes the caller the reader. @throws {STREAM_LOCKED} when the channel already has one */
  [Symbol.asyncIterator](): AsyncIterator<T, undefined> {
    if (this.#hasReader) {
      throw new FabricError('STREAM_LOCKED', `Cannot read ${this.#options.name}: it already has a reader`);
    }
    this.#hasReader = true;
    return this;
  }

  #finishRead(): void {
    const resolve = this.#resolve;
    this.#read = this.#resolve = this.#reject = undefined;
    resolve?.(DONE);
  }

  #overflow(): FabricError {
    const { name, overflow } = this.#options;
    return (
      overflow?.(this.#limit) ??
      new FabricError('BUFFER_OVERFLOW', `The unread part of ${name} exceeds its limit (${this.#limit})`)
    );
  }
}
