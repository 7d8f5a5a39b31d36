// Server-sent events, from text in any pieces to the data of each event. Knows nothing of models or of HTTP.

/** Longest event; a server that sends more is not one. */
const MAX_EVENT_CHARS = 4 * 1024 * 1024;

export class EventParser {
  #rest = '';
  #data: string[] = [];
  #size = 0;

  /** The data of the events that are complete now. @throws RangeError when an event does not end */
  push(text: string): string[] {
    const found: string[] = [];
    const all = this.#rest + text;
    let at = 0;
    for (const match of all.matchAll(/\r\n|\n|\r/g)) {
      // A CR at the very end may be the first half of a CRLF.
      if (match[0] === '\r' && match.index === all.length - 1) break;
      this.#line(all.slice(at, match.index), found);
      at = match.index + match[0].length;
    }
    this.#rest = all.slice(at);
    if (this.#size + this.#rest.length > MAX_EVENT_CHARS) {
      throw new RangeError(`An event is longer than ${MAX_EVENT_CHARS} characters.`);
    }
    return found;
  }

  /** The data of what has no blank line behind it: some servers leave the last one out. */
  end(): string[] {
    return this.push('\n\n\n');
  }

  #line(line: string, found: string[]): void {
    if (line === '') {
      if (this.#data.length > 0) found.push(this.#data.join('\n'));
      this.#data = [];
      this.#size = 0;
    } else if (line.startsWith('data:')) {
      const value = line.slice(line[5] === ' ' ? 6 : 5);
      this.#data.push(value);
      this.#size += value.length;
    }
    // Comments and other fields (event, id, retry) carry nothing that Chat Completions uses.
  }
}
