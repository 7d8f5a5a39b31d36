// A call of an operation through a typed handle. The caller awaits its result or iterates over its items. Only the compiler knows whether
// the operation streams, so the request is sent once the caller has done either.

/** Sends the request in one of two forms. */
export interface RequestForms {
  call(): Promise<unknown>;
  stream(): AsyncIterable<unknown>;
}

const ONCE = 'The result of this call is awaited already; call the operation again to read its items';

/**
 * A promise and an iterable at once; a caller uses one of the two. A call that is not used at once is sent as a stream, which can be
 * awaited or iterated later: every agent answers a stream request to an operation with one result by one item.
 */
export class OperationCall implements PromiseLike<unknown>, AsyncIterable<unknown> {
  readonly [Symbol.toStringTag] = 'Promise';
  readonly #forms: RequestForms;
  #result: Promise<unknown> | undefined;
  #items: AsyncIterator<unknown> | undefined;
  #first: Promise<IteratorResult<unknown>> | undefined;
  #isIterated = false;

  constructor(forms: RequestForms) {
    this.#forms = forms;
    // `await` reaches `then` one microtask later.
    queueMicrotask(() => queueMicrotask(() => this.#sendUnread()));
  }

  // biome-ignore lint/suspicious/noThenProperty: callers await the call.
  then<T = unknown, E = never>(
    onResult?: ((result: unknown) => T | PromiseLike<T>) | null,
    onError?: ((error: unknown) => E | PromiseLike<E>) | null,
  ): Promise<T | E> {
    this.#result ??= this.#readResult();
    return this.#result.then(onResult, onError);
  }

  catch<E = never>(onError?: ((error: unknown) => E | PromiseLike<E>) | null): Promise<unknown> {
    return this.then(undefined, onError);
  }

  finally(onSettled?: (() => void) | null): Promise<unknown> {
    return Promise.resolve(this).finally(onSettled);
  }

  [Symbol.asyncIterator](): AsyncIterator<unknown> {
    if (this.#result || this.#isIterated) throw new TypeError(ONCE);
    this.#isIterated = true;
    return this.#first ? this.#allItems() : this.#forms.stream()[Symbol.asyncIterator]();
  }

  #sendUnread(): void {
    if (this.#result || this.#isIterated) return;
    this.#items = this.#forms.stream()[Symbol.asyncIterator]();
    this.#first = this.#items.next();
    this.#first.catch(() => {}); // reported to the caller that reads it
  }

  async #readResult(): Promise<unknown> {
    if (this.#isIterated) throw new TypeError(ONCE);
    if (!this.#first) return this.#forms.call();
    const { done, value } = await this.#first;
    if (!done) await this.#items?.return?.();
    return done ? null : value;
  }

  async *#allItems(): AsyncGenerator<unknown, void> {
    try {
      let item = await this.#first!;
      while (!item.done) {
        yield item.value;
        item = await this.#items!.next();
      }
    } finally {
      await this.#items?.return?.();
    }
  }
}
