// Server-sent events: text in pieces of any size in, the data of each event out. The library parses them. This
// file adds the limit on an event and accepts a stream without a final blank line.
import { createParser } from 'eventsource-parser';

/** Longest event in characters. A server that sends a longer one is not a Chat Completions server. */
const MAX_EVENT_CHARS = 4_194_304;

export class EventParser {
  #events: string[] = [];
  readonly #parser = createParser({
    maxBufferSize: MAX_EVENT_CHARS,
    onEvent: ({ data }) => this.#events.push(data),
    onError: ({ type }) => {
      // Ignore unknown fields, as the standard requires.
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

  /** Returns the data of an event without a final blank line: some servers omit it after the last event. */
  end(): string[] {
    return this.push('\n\n\n');
  }
}
