// Cursors: the positions of readers in a conversation. A cursor is an integer that rises from event to event and from one
// acquisition of the conversation to the next, so text can be shown before its row is written: if the writer dies, the next one
// continues at a higher cursor, and every reader can compare.
//
// A cursor is `fence * 2^32 + (seq - firstSeq) * 2^14 + chars`. `fence` and `firstSeq` belong to the acquisition that wrote the row
// `seq`. `chars` is a position inside a text, and 2^14 for the end of any other row. Rows of versions without acquisition records
// have the fence 0, and their cursor is their seq.
import type { JournalEvent } from './store.ts';

/** An acquisition of a conversation: its fence, and the seq of the first row that it may write. */
export interface Acquisition {
  readonly fence: number;
  readonly firstSeq: number;
}

const FENCE = 2 ** 32;
/** Longest text of one row, in characters. */
export const MAX_ROW_CHARS = 2 ** 14;
/** Number of rows that one acquisition may write. */
export const MAX_ACQUISITION_ROWS = FENCE / MAX_ROW_CHARS;

/** The acquisition of rows without a record of one. */
export const NO_ACQUISITION: Acquisition = Object.freeze({ fence: 0, firstSeq: 0 });

/** Returns the cursor after `chars` characters of the row `seq`, by default after the whole row, if it is not text. */
export const cursorAt = ({ fence, firstSeq }: Acquisition, seq: number, chars = MAX_ROW_CHARS): number =>
  fence === 0 ? seq : fence * FENCE + (seq - firstSeq) * MAX_ROW_CHARS + chars;

/** Returns the cursor after a whole event. */
export const cursorOf = (
  acquisition: Acquisition,
  { seq, kind, body }: Pick<JournalEvent, 'seq' | 'kind' | 'body'>,
): number =>
  cursorAt(
    acquisition,
    seq,
    kind === 'text' && typeof body.text === 'string'
      ? Math.min(body.text.length, MAX_ROW_CHARS)
      : MAX_ROW_CHARS,
  );

/** The fence of the acquisition that a cursor belongs to; 0 for a seq of an earlier version. */
export const fenceOf = (cursor: number): number => Math.floor(cursor / FENCE);

/** Returns the last acquisition up to `seq`. `acquisitions` are in order. */
export const acquisitionOf = (acquisitions: readonly Acquisition[], seq: number): Acquisition =>
  acquisitions.findLast(({ firstSeq }) => firstSeq <= seq) ?? NO_ACQUISITION;

/**
 * Returns the seq after which a reader at `cursor` continues. Its row may be a text that the reader has in part. `acquisition` is
 * the one with the fence of the cursor, and `end` the last seq that it wrote. Without such a record nothing of it survived: then the
 * reader continues after `end`, the last seq of earlier acquisitions.
 */
export function seqBefore(cursor: number, acquisition: Acquisition | undefined, end: number): number {
  if (fenceOf(cursor) === 0) return cursor;
  if (!acquisition) return end;
  const row = Math.floor((cursor % FENCE) / MAX_ROW_CHARS);
  return Math.min(acquisition.firstSeq + row - 1, end);
}

/** Returns the part of an event after `cursor`, the rest of a text if necessary. Returns `undefined` if there is none. */
export function eventAfter<T extends Pick<JournalEvent, 'seq' | 'cursor' | 'kind' | 'body'>>(
  event: T,
  cursor: number,
): T | undefined {
  if (fenceOf(cursor) === 0) return event.seq > cursor ? event : undefined;
  if (event.cursor <= cursor) return undefined;
  const { text, offset } = event.body;
  if (event.kind !== 'text' || typeof text !== 'string') return event;
  const missing = event.cursor - cursor;
  if (missing >= text.length) return event;
  const from = text.length - missing;
  const rest = { ...event.body, text: text.slice(from) };
  return { ...event, body: typeof offset === 'number' ? { ...rest, offset: offset + from } : rest };
}

/** Returns the first `limit` events after `cursor`. */
export const eventsAfter = (
  events: readonly JournalEvent[],
  cursor: number,
  limit: number,
): readonly JournalEvent[] => events.flatMap((event) => eventAfter(event, cursor) ?? []).slice(0, limit);
