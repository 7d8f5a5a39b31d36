// A queue between one writer and one reader, read as an async iterable. The writer never waits: what is not read yet is
// kept up to a limit, and past it the channel fails for its reader alone. The splitter's branches and a commander's events
// are channels.
import { FabricError } from '@fame-fabric/shared';

export interface ChannelOptions {
  /** Most of what may wait, in the unit of `push`'s `size`. */
  limit: number;
  /** Names the channel in its errors. */
  name: string;
  /** Called once when the reader leaves before the end. */
  onLeave?: () => void;
}

/** One reader's end and one writer's end of a queue. A second reader is refused with STREAM_LOCKED. */
export class Channel<T> implements AsyncIterable<T>, AsyncIterator<T, undefined> {
  #items: T[] = [];
  #sizes: number[] = [];
  #head = 0;
  #waiting = 0;
  /** The read that waits for the next item, and how it is answered. */
  #pending: Promise<IteratorResult<T, undefined>> | undefined;
  #resolve: ((result: IteratorResult<T, undefined>) => void) | undefined;
  #reject: ((error: unknown) => void) | undefined;
  #state: 'open' | 'ended' | 'failed' | 'left' = 'open';
  #error: unknown;
  #locked = false;
  readonly #options: ChannelOptions;

  constructor(options: ChannelOptions) {
    this.#options = options;
  }

  /** Whether the reader left before the end. */
  get left(): boolean {
    return this.#state === 'left';
  }

  /** Adds an item; after the end, a failure or the reader's leaving it is dropped. */
  push(item: T, size = 1): void {
    if (this.#state !== 'open') return;
    if (this.#resolve !== undefined) {
      const resolve = this.#resolve;
      this.#pending = this.#resolve = this.#reject = undefined;
      resolve({ value: item, done: false });
      return;
    }
    if (this.#waiting + size > this.#options.limit) {
      const { name, limit } = this.#options;
      this.fail(new FabricError('BUFFER_OVERFLOW', `More than ${limit} wait unread in ${name}`));
      return;
    }
    this.#items.push(item);
    this.#sizes.push(size);
    this.#waiting += size;
  }

  /** Ends the channel; the reader still gets what waits. */
  end(): void {
    if (this.#state !== 'open') return;
    this.#state = 'ended';
    this.#answerEnd();
  }

  /** Fails the channel; the reader still gets what waits, then the error once. */
  fail(error: unknown): void {
    if (this.#state !== 'open') return;
    if (this.#reject === undefined) {
      this.#state = 'failed';
      this.#error = error;
      return;
    }
    const reject = this.#reject;
    this.#state = 'ended';
    this.#pending = this.#resolve = this.#reject = undefined;
    reject(error);
  }

  next(): Promise<IteratorResult<T, undefined>> {
    if (this.#head < this.#items.length) return Promise.resolve({ value: this.#shift(), done: false });
    if (this.#state === 'open') {
      // One reader reads one item after the other; should it not, its reads are answered in turn.
      if (this.#pending !== undefined) {
        const next = (): Promise<IteratorResult<T, undefined>> => this.next();
        return this.#pending.then(next, next);
      }
      this.#pending = new Promise((resolve, reject) => {
        this.#resolve = resolve;
        this.#reject = reject;
      });
      return this.#pending;
    }
    if (this.#state === 'failed') {
      this.#state = 'ended';
      return Promise.reject(this.#error);
    }
    return Promise.resolve({ value: undefined, done: true });
  }

  return(): Promise<IteratorResult<T, undefined>> {
    this.#items = [];
    this.#sizes = [];
    this.#head = 0;
    this.#waiting = 0;
    if (this.#state === 'open') {
      this.#state = 'left';
      this.#answerEnd();
      this.#options.onLeave?.();
    } else if (this.#state === 'failed') {
      this.#state = 'ended';
    }
    return Promise.resolve({ value: undefined, done: true });
  }

  [Symbol.asyncIterator](): AsyncIterator<T, undefined> {
    if (this.#locked) throw new FabricError('STREAM_LOCKED', `${this.#options.name} has a reader already`);
    this.#locked = true;
    return this;
  }

  #answerEnd(): void {
    const resolve = this.#resolve;
    this.#pending = this.#resolve = this.#reject = undefined;
    resolve?.({ value: undefined, done: true });
  }

  #shift(): T {
    const item = this.#items[this.#head]!;
    this.#waiting -= this.#sizes[this.#head]!;
    this.#head += 1;
    if (this.#head === this.#items.length) {
      this.#items.length = 0;
      this.#sizes.length = 0;
      this.#head = 0;
    } else if (this.#head >= 1024) {
      // Keeps what was read from staying in memory while a reader lags behind for long.
      this.#items.splice(0, this.#head);
      this.#sizes.splice(0, this.#head);
      this.#head = 0;
    }
    return item;
  }
}
