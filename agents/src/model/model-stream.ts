// The stream that all of our models return. A consumer cannot leave an async generator that waits for its next chunk, because
// `return()` queues behind the pending `next()`. This wrapper aborts first, so the request closes at once. It removes its
// listener from the caller's signal when the iteration ends.
import { onAbort } from '@fame-fabric/shared/internal';
import type { ModelChunk } from './model.ts';

const DONE: IteratorResult<ModelChunk> = { done: true, value: undefined };

/**
 * Makes the single-use stream of one request. `produce` starts at the first `next()`; its signal aborts with the reason of
 * `outer`, or when the consumer leaves. A pending `next()` then rejects with that reason, or ends for a consumer that left.
 */
export function modelStream(
  outer: AbortSignal | undefined,
  produce: (signal: AbortSignal) => AsyncIterator<ModelChunk, void>,
): AsyncIterable<ModelChunk> {
  const inner = new AbortController();
  let source: AsyncIterator<ModelChunk, void> | undefined;
  let stopListening = (): void => {};
  let isOver = false;
  /** Calls of `next()` that have not settled, and the last call. A call waits for the one before it. */
  let openReads = 0;
  let lastRead: Promise<IteratorResult<ModelChunk>> | undefined;

  const start = (): AsyncIterator<ModelChunk, void> => {
    stopListening = onAbort(outer, () => inner.abort(outer?.reason));
    return produce(inner.signal);
  };
  const end = (): IteratorResult<ModelChunk> => {
    isOver = true;
    stopListening();
    return DONE;
  };

  const read = async (): Promise<IteratorResult<ModelChunk>> => {
    try {
      if (isOver) return DONE;
      source ??= start();
      const result = await source.next();
      return result.done ? end() : result;
    } catch (error) {
      if (isOver) return DONE;
      end();
      throw error;
    } finally {
      openReads -= 1;
    }
  };

  const iterator: AsyncIterator<ModelChunk> = {
    next() {
      openReads += 1;
      lastRead = openReads > 1 && lastRead ? lastRead.then(read, read) : read();
      return lastRead;
    },
    async return() {
      if (isOver) return DONE;
      end();
      inner.abort(new DOMException('The consumer left the stream.', 'AbortError'));
      // The source rejects with this abort, which the consumer caused itself.
      await source?.return?.().catch(() => {});
      return DONE;
    },
  };
  return { [Symbol.asyncIterator]: () => iterator };
}
