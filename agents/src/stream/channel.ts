// A queue between one writer and one reader, read as an async iterable. The writer never waits: what is not read yet is
// kept up to a limit, and past it the channel fails for its reader alone. The splitter's branches and a commander's events
// are channels.
import { FabricError } from '@fame-fabric/shared';

interface Waiter<T> {
  resolve(result: IteratorResult<T, undefined>): void;
  reject(error: unknown): void;
}

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
  #waiters: Waiter<T>[] = [];
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
    if (this.#waiters.length > 0) {
      this.#waiters.shift()!.resolve({ value: item, done: false });
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
    for (const waiter of this.#waiters.splice(0)) waiter.resolve({ value: undefined, done: true });
  }

  /** Fails the channel; the reader still gets what waits, then the error once. */
  fail(error: unknown): void {
    if (this.#state !== 'open') return;
    const [first, ...others] = this.#waiters.splice(0);
    if (first) {
      this.#state = 'ended';
      first.reject(error);
      for (const waiter of others) waiter.resolve({ value: undefined, done: true });
      return;
    }
    this.#state = 'failed';
    this.#error = error;
  }

  next(): Promise<IteratorResult<T, undefined>> {
    if (this.#head < this.#items.length) return Promise.resolve({ value: this.#shift(), done: false });
    if (this.#state === 'open') {
      return new Promise((resolve, reject) => {
        this.#waiters.push({ resolve, reject });
      });
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
      for (const waiter of this.#waiters.splice(0)) waiter.resolve({ value: undefined, done: true });
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
