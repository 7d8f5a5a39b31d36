// One producer, any number of followers. Every follower receives all items in order, including those published before it
// started, and reads at its own pace. The broadcast keeps all items, so the producer must bound their number.
import { onAbort } from './abort.ts';

export interface FollowOptions {
  /** Index of the first item to deliver. @default 0 */
  readonly from?: number | undefined;
  /** Ends the iteration without an error when it aborts. */
  readonly signal?: AbortSignal | undefined;
}

/** Lets any number of followers wait for the next change. */
export class ChangeSignal {
  /** Shared by all waiting followers, and created by the first of them. */
  #change: PromiseWithResolvers<void> | undefined;

  /** True if a follower waits. */
  get isAwaited(): boolean {
    return this.#change !== undefined;
  }

  /** Resolves at the next `notify`. */
  next(): Promise<void> {
    this.#change ??= Promise.withResolvers();
    return this.#change.promise;
  }

  notify(): void {
    const change = this.#change;
    this.#change = undefined;
    change?.resolve();
  }
}

/** A sequence of items that any number of followers read. */
export class Broadcast<T> implements AsyncIterable<T> {
  readonly #items: T[];
  #end: { readonly error?: unknown; readonly hasFailed: boolean } | undefined;
  readonly #change = new ChangeSignal();

  /** `items` are delivered before everything that is published. */
  constructor(items: Iterable<T> = []) {
    this.#items = [...items];
  }

  /** All items so far. */
  get items(): readonly T[] {
    return this.#items;
  }

  /** True after `end` or `fail`. */
  get isOver(): boolean {
    return this.#end !== undefined;
  }

  /** Adds an item. Has no effect after the end. */
  publish(item: T): void {
    if (this.#end) return;
    this.#items.push(item);
    this.#change.notify();
  }

  /** Ends the iteration of every follower once it has received all items. */
  end(): void {
    this.#end ??= { hasFailed: false };
    this.#change.notify();
  }

  /** As `end`, but followers receive the error after the last item. */
  fail(error: unknown): void {
    this.#end ??= { error, hasFailed: true };
    this.#change.notify();
  }

  /** Iterates over past and future items. Leaving the loop does not affect the producer or other followers. */
  async *follow({ from = 0, signal }: FollowOptions = {}): AsyncGenerator<T, void, void> {
    const stopListening = onAbort(signal, () => this.#change.notify());
    try {
      for (let next = from; ; ) {
        while (next < this.#items.length) yield this.#items[next++]!;
        if (this.#end?.hasFailed) throw this.#end.error;
        if (this.#end || signal?.aborted) return;
        await this.#change.next();
      }
    } finally {
      stopListening();
    }
  }

  [Symbol.asyncIterator](): AsyncGenerator<T, void, void> {
    return this.follow();
  }
}
