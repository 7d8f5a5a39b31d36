// Abortable waiting.
import type { Clock } from './clock.ts';

/**
 * Calls `listener` once when `signal` aborts, and at once if it already has. Returns a function that removes the listener;
 * call it as soon as the abort no longer matters, because a signal may live much longer than the work it guards.
 */
export function onAbort(signal: AbortSignal | undefined, listener: () => void): () => void {
  if (!signal) return () => {};
  if (signal.aborted) {
    listener();
    return () => {};
  }
  signal.addEventListener('abort', listener, { once: true });
  return () => signal.removeEventListener('abort', listener);
}

/**
 * Settles as `promise` does, or rejects with the signal's reason as soon as it aborts. The work behind
 * the promise continues; its later rejection is ignored. Leaves no listener behind.
 */
export async function untilAborted<T>(promise: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  if (!signal) return promise;
  const { promise: aborted, reject } = Promise.withResolvers<never>();
  const stopListening = onAbort(signal, () => reject(signal.reason));
  try {
    // `aborted` comes first, so that an abort wins over a promise that has settled already.
    return await Promise.race([aborted, promise]);
  } finally {
    stopListening();
  }
}

/**
 * Waits `ms` milliseconds, or rejects with the signal's reason as soon as it aborts. Keeps the process alive meanwhile: the
 * caller has work to do after the pause.
 */
export async function pause(clock: Clock, ms: number, signal?: AbortSignal | undefined): Promise<void> {
  signal?.throwIfAborted();
  const { promise, resolve } = Promise.withResolvers<void>();
  const timer = clock.after(ms, resolve, { keepAlive: true });
  try {
    await untilAborted(promise, signal);
  } finally {
    timer.stop();
  }
}
