// Finds blocks between two tags in a text that arrives in pieces. Inside a block the closing tag counts only outside of JSON
// strings; outside, text is passed on at once, except for an ending that may begin the opening tag.

export interface TagPart {
  kind: 'text' | 'block';
  text: string;
}

export class TagScanner {
  /** Text that cannot be classified yet; inside a block, all of the block so far. */
  #rest = '';
  /** Position in `#rest` at which the scan of the block continues. */
  #at = 0;
  #inBlock = false;
  #inString = false;
  readonly #open: string;
  readonly #close: string;

  constructor(open: string, close: string) {
    this.#open = open;
    this.#close = close;
  }

  /** Adds the next piece. Returns the texts and the whole blocks that are complete now. */
  feed(piece: string): TagPart[] {
    const parts: TagPart[] = [];
    this.#rest += piece;
    for (;;) {
      const part = this.#inBlock ? this.#block() : this.#text();
      if (!part) return parts;
      if (part.text !== '' || part.kind === 'block') parts.push(part);
    }
  }

  /** Returns the rest at the end of the input: text, or a block that was not closed. */
  end(): TagPart {
    const text = this.#rest;
    this.#rest = '';
    return { kind: this.#inBlock ? 'block' : 'text', text };
  }

  #text(): TagPart | undefined {
    const start = this.#rest.indexOf(this.#open);
    if (start >= 0) {
      const text = this.#rest.slice(0, start);
      this.#rest = this.#rest.slice(start + this.#open.length);
      this.#inBlock = true;
      this.#inString = false;
      this.#at = 0;
      return { kind: 'text', text };
    }
    const held = this.#heldBack();
    if (held === this.#rest.length) return undefined;
    const text = this.#rest.slice(0, this.#rest.length - held);
    this.#rest = this.#rest.slice(this.#rest.length - held);
    return { kind: 'text', text };
  }

  /** Counts the characters at the end that may begin the opening tag. */
  #heldBack(): number {
    for (let length = Math.min(this.#open.length - 1, this.#rest.length); length > 0; length -= 1) {
      if (this.#rest.endsWith(this.#open.slice(0, length))) return length;
    }
    return 0;
  }

  #block(): TagPart | undefined {
    while (this.#at < this.#rest.length) {
      const c = this.#rest[this.#at]!;
      if (this.#inString) {
        if (c === '\\') {
          if (this.#at + 1 === this.#rest.length) return undefined;
          this.#at += 2;
          continue;
        }
        if (c === '"') this.#inString = false;
      } else if (c === '"') {
        this.#inString = true;
      } else if (c === this.#close[0]) {
        if (this.#rest.startsWith(this.#close, this.#at)) {
          const text = this.#rest.slice(0, this.#at);
          this.#rest = this.#rest.slice(this.#at + this.#close.length);
          this.#inBlock = false;
          return { kind: 'block', text };
        }
        if (this.#close.startsWith(this.#rest.slice(this.#at))) return undefined;
      }
      this.#at += 1;
    }
    return undefined;
  }
}
