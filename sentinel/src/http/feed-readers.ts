// Sends state changes to the readers of a feed. A reader whose stream has no room misses lines, and then receives the whole state.
import type { LineStream } from './line-streams.ts';

export interface FeedReader {
  readonly stream: LineStream;
  /** True while the reader needs the whole state, because it missed a line or has not received one yet. */
  isBehind: boolean;
}

/**
 * Sends a line to the readers that have all lines before it, and the whole state to the others.
 * @param line the changes; undefined if nothing has changed
 * @param whole creates the line with the whole state; called at most once
 */
export function sendToReaders(
  readers: Iterable<FeedReader>,
  line: string | undefined,
  whole: () => string,
): void {
  let state: string | undefined;
  for (const reader of readers) {
    const { isBehind, stream } = reader;
    if (!isBehind && line === undefined) continue;
    reader.isBehind = !stream.hasRoom;
    if (reader.isBehind) continue;
    if (isBehind) {
      state ??= whole();
      stream.push(state);
    } else stream.push(line!);
  }
}
