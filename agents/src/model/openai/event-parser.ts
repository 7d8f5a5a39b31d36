// Server-sent events: text in pieces of any size in, the data of each event out. The library parses; the limit on an event
// and the tolerant end are ours.
import { createParser } from 'eventsource-parser';

/** Longest event in characters. A server that sends a longer one is not a Chat Completions server. */
const MAX_EVENT_CHARS = 4 * 1024 * 1024;

export class EventParser {
  #events: string[] = [];
  readonly #parser = createParser({
    maxBufferSize: MAX_EVENT_CHARS,
    onEvent: ({ data }) => this.#events.push(data),
    onError: ({ type }) => {
      // Unknown fields are ignored, as the standard says.
      if (type !== 'max-buffer-size-exceeded') return;
      throw new RangeError(`An event is longer than ${MAX_EVENT_CHARS} characters.`);
    },
  });

  /** Returns the data of the events that `text` completes. @throws RangeError when an event is too long */
  push(text: string): string[] {
    this.#parser.feed(text);
    if (this.#events.length === 0) return [];
    const events = this.#events;
    this.#events = [];
    return events;
  }

  /** Returns the data of an event that no blank line ended: some servers omit it after the last event. */
  end(): string[] {
    return this.push('\n\n\n');
  }
}
