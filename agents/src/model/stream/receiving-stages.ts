// Hooks at the start and the end of a stream, for code that records when a reply began and its full content.

import { asyncIteratorOf, type Source } from './async-iterator.ts';

export interface ReceivingStages<T> {
  /** Before the first item, or before the end of an empty source. */
  onStart?(): void | Promise<void>;
  /** After the last item, or when the reader leaves early; `complete` is false then. */
  onEnd?(all: readonly T[], complete: boolean): void | Promise<void>;
  /** When the source fails, instead of `onEnd`. */
  onError?(error: unknown): void | Promise<void>;
}

/** Yields the items of `source` and awaits each hook once. An error of a hook reaches the reader. */
export async function* withReceivingStages<T>(
  source: Source<T>,
  stages: ReceivingStages<T>,
): AsyncGenerator<T, void, undefined> {
  const all: T[] = [];
  let outcome = 'left' as 'left' | 'complete' | 'failed';
  let started = false;
  const start = async (): Promise<void> => {
    if (started) return;
    started = true;
    await stages.onStart?.();
  };
  const iterator = asyncIteratorOf(source);
  try {
    for (;;) {
      let step: IteratorResult<T>;
      try {
        step = await iterator.next();
      } catch (error) {
        outcome = 'failed';
        await stages.onError?.(error);
        throw error;
      }
      await start();
      if (step.done) break;
      all.push(step.value);
      yield step.value;
    }
    outcome = 'complete';
  } finally {
    if (outcome === 'left') await iterator.return?.();
    if (outcome !== 'failed') await stages.onEnd?.(all, outcome === 'complete');
  }
}
