// Reads the text of a Chat Completions body in pieces of any size. The standard form is server-sent events with one JSON value
// each. Servers and proxies depart from it: they drop the blank lines, send empty data as heartbeats, send JSON without `data:`,
// or write an error as a field. Therefore each line is parsed on its own: a line with a complete JSON value is an event.

/** Longest event in characters. A server that sends a longer one is not a Chat Completions server. */
const MAX_EVENT_CHARS = 4_194_304;

/** One event: a JSON value, the end of the answer (`[DONE]`), or text that is not JSON. */
export type WireEvent =
  | { readonly kind: 'data'; readonly value: unknown }
  | { readonly kind: 'done' }
  | { readonly kind: 'fault'; readonly error: SyntaxError };

export class EventParser {
  #events: WireEvent[] = [];
  /** Beginning of a line whose end has not arrived. */
  #line = '';
  /** True after a carriage return, which a line feed may complete. */
  #skipsLineFeed = false;
  #isFirstLine = true;
  /** Data lines of an event whose JSON value is incomplete. */
  #data: string[] = [];
  /** Lines of an incomplete JSON value that is sent without `data:`. */
  #bare: string[] = [];
  /** Characters of `#data` and `#bare`. */
  #heldChars = 0;
  /** True if the next data is an error. */
  #isError = false;
  /** First line that is not a field of an event stream. */
  #unknown: string | undefined;
  #hasEvents = false;

  /** Returns the events that `text` completes. @throws RangeError when an event is too long */
  push(text: string): WireEvent[] {
    let at = 0;
    if (this.#skipsLineFeed && text !== '') {
      this.#skipsLineFeed = false;
      if (text.startsWith('\n')) at = 1;
    }
    let feed = text.indexOf('\n', at);
    let carriage = text.indexOf('\r', at);
    while (feed >= 0 || carriage >= 0) {
      const isCarriage = carriage >= 0 && (feed < 0 || carriage < feed);
      const end = isCarriage ? carriage : feed;
      const line = this.#line + text.slice(at, end);
      this.#line = '';
      at = end + 1;
      if (isCarriage) {
        if (at === text.length) this.#skipsLineFeed = true;
        else if (feed === at) at += 1;
        carriage = text.indexOf('\r', at);
      }
      if (feed >= 0 && feed < at) feed = text.indexOf('\n', at);
      this.#readLine(line);
    }
    if (at < text.length) this.#line += text.slice(at);
    if (this.#line.length + this.#heldChars > MAX_EVENT_CHARS) {
      throw new RangeError(`An event is longer than ${MAX_EVENT_CHARS} characters.`);
    }
    return this.#take();
  }

  /** Returns the events that the end of the body completes: some servers omit the last blank line. */
  end(): WireEvent[] {
    const line = this.#line;
    this.#line = '';
    if (line !== '') this.#readLine(line);
    this.#endData();
    this.#endBare();
    if (!this.#hasEvents && this.#unknown !== undefined) this.#fault();
    return this.#take();
  }

  #take(): WireEvent[] {
    const events = this.#events;
    if (events.length > 0) this.#events = [];
    return events;
  }

  #readLine(given: string): void {
    let line = given;
    if (this.#isFirstLine) {
      this.#isFirstLine = false;
      if (line.startsWith('\ufeff')) line = line.slice(1);
    }
    if (line.startsWith('data:')) {
      this.#endBare();
      this.#readData(line.slice(line.charCodeAt(5) === 0x20 ? 6 : 5));
    } else if (line === '') {
      this.#endData();
      this.#isError = false;
    } else if (this.#bare.length > 0) this.#hold(this.#bare, line);
    else this.#readField(line);
  }

  #readField(line: string): void {
    const first = line.trimStart()[0];
    if (first === '{' || first === '[') {
      if (!this.#readWhole(line)) this.#hold(this.#bare, line);
    } else if (first === '<') this.#fault();
    else if (line.startsWith('error:')) {
      this.#isError = true;
      this.#readData(line.slice(6).trimStart());
    } else if (line.startsWith('event:')) this.#isError = line.slice(6).trim() === 'error';
    else if (!/^(?::|data$|id|retry)/.test(line)) this.#unknown ??= line;
  }

  #readData(data: string): void {
    if (this.#data.length > 0) this.#hold(this.#data, data);
    else if (data.trim() !== '' && !this.#readWhole(data)) this.#hold(this.#data, data);
  }

  #hold(lines: string[], line: string): void {
    lines.push(line);
    this.#heldChars += line.length;
  }

  /** Emits the event of a complete JSON value or of `[DONE]`. Returns false for any other text. */
  #readWhole(text: string): boolean {
    const first = text.trimStart()[0];
    if (first === '[' && text.trim() === '[DONE]') {
      this.#emit({ kind: 'done' });
      return true;
    }
    if (first !== '{' && first !== '[') return false;
    let value: unknown;
    try {
      value = JSON.parse(text);
    } catch {
      // The next lines may complete it.
      return false;
    }
    this.#emit({ kind: 'data', value: this.#isError ? asError(value) : value });
    return true;
  }

  #endData(): void {
    if (this.#data.length === 0) return;
    const text = this.#data.join('\n');
    this.#data = [];
    this.#heldChars = 0;
    if (this.#readWhole(text)) return;
    if (this.#isError) this.#emit({ kind: 'data', value: asError(text) });
    else this.#fault();
  }

  #endBare(): void {
    if (this.#bare.length === 0) return;
    const text = this.#bare.join('\n');
    this.#bare = [];
    this.#heldChars = 0;
    if (!this.#readWhole(text)) this.#fault();
  }

  #fault(): void {
    this.#emit({ kind: 'fault', error: new SyntaxError('The body is neither an event stream nor JSON.') });
  }

  #emit(event: WireEvent): void {
    this.#hasEvents = true;
    this.#events.push(event);
  }
}

/** Wraps a value as an error, unless it already has the form of an error or a chunk. */
const asError = (value: unknown): unknown =>
  typeof value === 'object' && value !== null && ('error' in value || 'choices' in value)
    ? value
    : { error: value };
