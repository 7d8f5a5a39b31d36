// Sends the result of an operation to the caller: one reply, or the items of a stream, in the mode that the caller requested.
import { FabricError, type IncomingCall } from '@fame-fabric/shared';
import { onAbort } from '@fame-fabric/shared/internal';

/**
 * A stream that hands its items over without an iterator, which costs several promises for each item. `deliver` calls `take` for each
 * item in the step in which it is produced; the next item waits for a promise that `take` returns. It resolves after the last item, or
 * when `signal` aborts.
 */
export interface ItemSource<T> extends AsyncIterable<T> {
  deliver(take: (item: T) => Promise<unknown> | undefined, signal: AbortSignal): Promise<void>;
}

const isItemSource = (items: AsyncIterable<unknown>): items is ItemSource<unknown> => 'deliver' in items;

const isAsyncIterable = (value: unknown): value is AsyncIterable<unknown> =>
  typeof value === 'object' && value !== null && Symbol.asyncIterator in value;

/**
 * Sends `returned`, the return value of the operation's `run`. Reads `scope.signal` only for streams. Resolves when the caller has
 * room for its next answer, so that unread answers keep the places of running calls.
 */
export async function answer(
  call: IncomingCall,
  returned: unknown,
  scope: { readonly signal: AbortSignal },
): Promise<void> {
  const result = await returned;
  if (isAsyncIterable(result)) {
    if (call.isStream && isItemSource(result)) {
      await result.deliver((item) => call.pushNow(item), scope.signal);
      if (scope.signal.aborted) throw cancelled();
      call.end();
      return;
    }
    await answerItems(call, result[Symbol.asyncIterator](), scope.signal);
  } else if (!call.isStream) {
    await call.reply(result ?? null);
  } else {
    if (result !== undefined && result !== null) await call.push(result);
    call.end();
  }
}

async function answerItems(
  call: IncomingCall,
  items: AsyncIterator<unknown>,
  signal: AbortSignal,
): Promise<void> {
  // `return` is queued behind a pending `next`, so a generator ends at its next yield. One that observes the signal ends at once.
  let returned: Promise<unknown> | undefined;
  const endIteration = (): void => {
    if (returned) return;
    returned = (async () => items.return?.())();
    returned.catch(() => {}); // awaited below, where an error of its cleanup is thrown
  };
  const stopListening = onAbort(signal, endIteration);
  try {
    for (;;) {
      const { done, value } = await items.next();
      if (signal.aborted) throw cancelled();
      if (done) {
        if (call.isStream) call.end();
        else await call.reply(null);
        return;
      }
      if (value === undefined || value === null) {
        throw new Error('An operation yielded null, which ends a stream on the wire');
      }
      if (!call.isStream) {
        await call.reply(value);
        return;
      }
      await call.push(value);
    }
  } finally {
    stopListening();
    endIteration();
    await returned;
  }
}

const cancelled = (): FabricError => new FabricError('CALL_CANCELLED', 'The call was cancelled');
