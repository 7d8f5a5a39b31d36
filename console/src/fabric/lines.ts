// NDJSON of the sentinel, line by line, and a stream of it that reconnects.
import { isUnauthorized, requestPath } from './api.ts';
import { pause } from './connection.ts';

/** Longest line that is accepted, in characters. A longer one ends the stream. */
const MAX_LINE = 32 * 1_048_576;

/** Parses the lines of a response. Empty lines are skipped. Each item is the batch of one network read. */
async function* readLines<T>(response: Response): AsyncGenerator<T[]> {
  const reader = response.body!.pipeThrough(new TextDecoderStream()).getReader();
  let rest = '';
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      const lines = (rest + value).split('\n');
      rest = lines.pop()!;
      if (rest.length > MAX_LINE)
        throw new Error(`A line of the stream is longer than ${MAX_LINE} characters`);
      const batch = lines.filter((line) => line !== '').map((line) => JSON.parse(line) as T);
      if (batch.length > 0) yield batch;
    }
  } finally {
    await reader.cancel().catch(() => undefined);
  }
}

export interface FollowOptions<T> {
  /** Called with the lines of each network read. */
  onLines: (lines: T[]) => void;
  /** Called when the stream opens, with `undefined`, and when it ends, with its error. */
  onState: (error: unknown | undefined, isOpen: boolean) => void;
}

const RETRY_MS = 1_000;

/** Follows the stream at `path` and opens it anew after an error. Returns a function that ends it. */
export function followLines<T>(path: string, { onLines, onState }: FollowOptions<T>): () => void {
  const controller = new AbortController();
  const { signal } = controller;
  const run = async (): Promise<void> => {
    while (!signal.aborted) {
      try {
        const response = await requestPath(path, { signal });
        onState(undefined, true);
        for await (const batch of readLines<T>(response)) {
          if (signal.aborted) return;
          onLines(batch);
        }
        if (!signal.aborted) onState(undefined, false);
      } catch (error) {
        if (signal.aborted) return;
        onState(error, false);
        // A new sign-in mounts the screens anew.
        if (isUnauthorized(error)) return;
      }
      await pause(RETRY_MS, signal);
    }
  };
  void run();
  return () => controller.abort();
}
