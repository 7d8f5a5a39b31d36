// Cursors of the events of a conversation: the field `seq`. It rises from event to event. From 2^32 on, the cursor of a text is
// that of its last character, and the characters of one text are one apart. Smaller cursors come from agents of version 0.1, which
// never split an event.
const FIRST_CURSOR = 2 ** 32;

/** True if the agent's cursors start again: it does not know the cursor of the reader, and sends all events from the beginning. */
export const isReset = ({ type, seq }: { type?: unknown; seq?: unknown }): boolean =>
  type === 'restart' && seq === 0;

/** Returns the part of an event that a reader at `cursor` does not have, or `undefined` if it has all of it. */
export function eventAfter<
  E extends { readonly seq: number; readonly text?: unknown; readonly type?: unknown },
>(event: E, cursor: number): E | undefined {
  const missing = event.seq - cursor;
  if (missing <= 0) return undefined;
  const { type, text } = event;
  if (type !== 'text' || typeof text !== 'string' || cursor < FIRST_CURSOR || missing >= text.length)
    return event;
  return { ...event, text: text.slice(-missing) };
}
