// How every model of ours hands out its stream. An async generator alone cannot be left while it waits for its next
// piece (`return()` queues behind the pending `next()`); here leaving aborts first, so that the request behind it closes
// at once. The listener on the caller's signal lives exactly as long as the iteration.
import type { Clock } from '@fame-fabric/shared';
import type { ModelChunk } from './model.ts';

const DONE: IteratorResult<ModelChunk> = { done: true, value: undefined };

/**
 * Makes the single-use stream of one request. `produce` starts at the first `next()`; its signal aborts with the reason
 * of `outer`, or when the consumer leaves. After an abort the pending `next()` rejects with that reason; after leaving, it
 * ends.
 */
export function modelStream(
  outer: AbortSignal | undefined,
  produce: (signal: AbortSignal) => AsyncGenerator<ModelChunk, void>,
): AsyncIterable<ModelChunk> {
  const inner = new AbortController();
  const onAbort = (): void => inner.abort(outer?.reason);
  let source: AsyncGenerator<ModelChunk, void> | undefined;
  let left = false;

  const start = (): AsyncGenerator<ModelChunk, void> => {
    if (outer?.aborted) inner.abort(outer.reason);
    else outer?.addEventListener('abort', onAbort, { once: true });
    return produce(inner.signal);
  };
  const end = (): IteratorResult<ModelChunk> => {
    left = true;
    outer?.removeEventListener('abort', onAbort);
    return DONE;
  };

  const iterator: AsyncIterator<ModelChunk> = {
    async next() {
      if (left) return DONE;
      source ??= start();
      try {
        const result = await source.next();
        return result.done ? end() : result;
      } catch (error) {
        if (left) return DONE;
        end();
        throw error;
      }
    },
    async return() {
      if (left) return DONE;
      end();
      inner.abort(new DOMException('The consumer left the stream.', 'AbortError'));
      // What the source throws while it is being closed is the abort itself: nobody is left to be told.
      await source?.return(undefined).catch(() => {});
      return DONE;
    },
  };
  return { [Symbol.asyncIterator]: () => iterator };
}

/** Waits for `promise`, or rejects with the signal's reason as soon as it aborts. Leaves no listener behind. */
export async function untilAborted<T>(promise: Promise<T>, signal: AbortSignal): Promise<T> {
  if (signal.aborted) {
    promise.catch(() => {});
    throw signal.reason;
  }
  const { promise: aborted, reject } = Promise.withResolvers<never>();
  const onAbort = (): void => reject(signal.reason);
  signal.addEventListener('abort', onAbort, { once: true });
  try {
    return await Promise.race([promise, aborted]);
  } finally {
    signal.removeEventListener('abort', onAbort);
  }
}

/** Waits `ms` milliseconds, or rejects with the signal's reason. */
export async function pause(clock: Clock, ms: number, signal: AbortSignal): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  // Somebody waits for what comes after the pause: it keeps the process alive.
  const timer = clock.after(ms, resolve, { keepAlive: true });
  try {
    await untilAborted(promise, signal);
  } finally {
    timer.stop();
  }
}
