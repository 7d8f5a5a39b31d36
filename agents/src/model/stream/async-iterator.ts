// Sources of chunks: streams of model servers are asynchronous; replies that a program has collected are synchronous.

/** Items that arrive over time, or that are already there. */
export type Source<T> = AsyncIterable<T> | Iterable<T>;

/** Returns an asynchronous iterator of `source`. Its `return()` closes the source. */
export const asyncIteratorOf = <T>(source: Source<T>): AsyncIterator<T> =>
  Symbol.asyncIterator in source ? source[Symbol.asyncIterator]() : itemsOf(source);

async function* itemsOf<T>(source: Iterable<T>): AsyncGenerator<T, void, undefined> {
  yield* source;
}
