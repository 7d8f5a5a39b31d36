// Hooks around the reading of a stream, for whoever wants to know when an answer began and what it was when it ended.

export interface ReceivingStages<T> {
  /** Before the first item, or before the end of an empty source. */
  onStart?(): void | Promise<void>;
  /** After the last item, or when the reader leaves early; `complete` tells which. */
  onEnd?(all: readonly T[], complete: boolean): void | Promise<void>;
  /** When the source fails, instead of `onEnd`. */
  onError?(error: unknown): void | Promise<void>;
}

/** Passes `source` on and calls each stage once, awaited. An error of a hook reaches the reader. */
export async function* withReceivingStages<T>(
  source: AsyncIterable<T>,
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
  const iterator = source[Symbol.asyncIterator]();
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
