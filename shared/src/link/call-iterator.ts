// What `link.stream()` hands out: the call begins with the first `next`, and leaving the loop ends it.
import type { StreamCall } from './stream-call.ts';

export class CallIterator implements AsyncIterableIterator<unknown> {
  readonly #begin: () => StreamCall;
  #call: StreamCall | undefined;
  #isOver = false;

  constructor(begin: () => StreamCall) {
    this.#begin = begin;
  }

  async next(): Promise<IteratorResult<unknown>> {
    if (this.#isOver) return { value: undefined, done: true };
    try {
      this.#call ??= this.#begin();
    } catch (error) {
      this.#isOver = true;
      throw error;
    }
    return this.#call.next();
  }

  async return(): Promise<IteratorResult<unknown>> {
    this.#isOver = true;
    this.#call?.leave();
    return { value: undefined, done: true };
  }

  async throw(error?: unknown): Promise<IteratorResult<unknown>> {
    await this.return();
    throw error;
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.return();
  }
}
