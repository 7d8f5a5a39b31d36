// One producer, any number of followers. Every follower receives all items in order, including those published before it
// started, and reads at its own pace. The broadcast keeps all items, so the producer must bound their number.
import { onAbort } from './abort.ts';

export interface FollowOptions {
  /** Index of the first item to deliver. @default 0 */
  readonly from?: number | undefined;
  /** Ends the iteration without an error when it aborts. */
  readonly signal?: AbortSignal | undefined;
}

/** Receives one item. The next item waits for a promise that it returns. */
export type TakeItem<T> = (item: T) => Promise<unknown> | undefined;

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
  readonly #takers = new Set<() => void>();

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
    this.#changed();
  }

  /** Ends the iteration of every follower once it has received all items. */
  end(): void {
    this.#end ??= { hasFailed: false };
    this.#changed();
  }

  /** As `end`, but followers receive the error after the last item. */
  fail(error: unknown): void {
    this.#end ??= { error, hasFailed: true };
    this.#changed();
  }

  #changed(): void {
    this.#change.notify();
    for (const take of this.#takers) take();
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

  /**
   * Hands past and future items to `take`, each in the step in which it is published. An iterator costs several promises for each
   * item. Resolves when `take` has received the last item, or `signal` aborts; rejects with the error of `fail` or of `take`.
   */
  deliver(take: TakeItem<T>, { from = 0, signal }: FollowOptions = {}): Promise<void> {
    return new Promise((resolve, reject) => {
      let next = from;
      let isBusy = false;
      const stop = (): void => {
        this.#takers.delete(pump);
        stopListening();
      };
      const failed = (error: unknown): void => {
        stop();
        reject(error);
      };
      const taken = (): void => {
        isBusy = false;
        pump();
      };
      const pump = (): void => {
        if (isBusy) return;
        isBusy = true;
        try {
          while (next < this.#items.length) {
            const pending = take(this.#items[next++]!);
            if (!pending) continue;
            pending.then(taken, failed);
            return;
          }
        } catch (error) {
          failed(error);
          return;
        }
        isBusy = false;
        if (!this.#end && !signal?.aborted) return;
        stop();
        if (this.#end?.hasFailed) reject(this.#end.error);
        else resolve();
      };
      let stopListening = (): void => {};
      this.#takers.add(pump);
      if (!signal?.aborted) stopListening = onAbort(signal, pump);
      pump();
    });
  }

  [Symbol.asyncIterator](): AsyncGenerator<T, void, void> {
    return this.follow();
  }
}
