// The iterator that `link.stream()` returns. The first `next` starts the call, and leaving the loop ends it.
import type { StreamCall } from './stream-call.ts';

export class CallIterator implements AsyncIterableIterator<unknown> {
  readonly #start: () => StreamCall;
  #call: StreamCall | undefined;
  #isOver = false;

  constructor(start: () => StreamCall) {
    this.#start = start;
  }

  async next(): Promise<IteratorResult<unknown>> {
    if (this.#isOver) return { value: undefined, done: true };
    try {
      this.#call ??= this.#start();
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
