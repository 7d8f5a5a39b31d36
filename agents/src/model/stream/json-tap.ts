// Scans the text of one JSON object in pieces of any size, and returns the decoded text of one of its own string members
// while the object is still arriving. It builds no object and never fails: `parse-arguments.ts` checks the complete text. Every
// character is read once.
import { isHighSurrogate } from '@fame-fabric/shared/internal';

const QUOTE = 0x22;
const COMMA = 0x2c;
const COLON = 0x3a;
const BACKSLASH = 0x5c;
const OPEN_BRACKET = 0x5b;
const CLOSE_BRACKET = 0x5d;
const OPEN_BRACE = 0x7b;
const CLOSE_BRACE = 0x7d;

const isSpace = (c: number): boolean => c === 0x20 || c === 0x0a || c === 0x0d || c === 0x09;

/** Decodes an escape letter. Unknown letters decode to themselves; the parser rejects them later. */
const escapedUnit = (c: number): number => {
  switch (c) {
    case 0x6e: // n
      return 0x0a;
    case 0x74: // t
      return 0x09;
    case 0x72: // r
      return 0x0d;
    case 0x62: // b
      return 0x08;
    case 0x66: // f
      return 0x0c;
    default:
      return c;
  }
};

const hexValue = (c: number): number => {
  if (c >= 0x30 && c <= 0x39) return c - 0x30;
  const lower = c | 0x20;
  return lower >= 0x61 && lower <= 0x66 ? lower - 0x57 : -1;
};

// The scanner's position: outside strings, or in a string that is skipped, compared (a key) or tapped.
const OUTSIDE = 0;
const SKIPPED = 1;
const KEY = 2;
const TAPPED = 3;
type Mode = typeof OUTSIDE | typeof SKIPPED | typeof KEY | typeof TAPPED;

// The next token of the outermost object.
const WANTS_KEY = 0;
const WANTS_COLON = 1;
const WANTS_VALUE = 2;
const WANTS_COMMA = 3;

export class JsonTap {
  /** True once the outermost object or array was closed. Text after it is not scanned. */
  closed = false;
  /** Greatest nesting depth so far. */
  deepest = 0;
  /** Number of characters of the last piece that belong to the object: all of them unless that piece closed it. */
  consumed = 0;
  /** True if a key at any depth has an escape. */
  hasEscapedKey = false;
  readonly #key: string | null;
  #depth = 0;
  /** True if the last string had an escape. */
  #escapedString = false;
  #inObject = false;
  #expects = WANTS_KEY;
  #mode: Mode = OUTSIDE;
  #keyText = '';
  /** 0 outside an escape, 5 after a backslash, 4 to 1 for the number of missing hex digits. */
  #escape = 0;
  #code = 0;
  /** A high surrogate whose low surrogate has not arrived. */
  #held = '';

  /** `key` is the member whose text is returned; null only finds the end of the object. */
  constructor(key: string | null) {
    this.#key = key;
  }

  /** True between the first and the last character of an object, an array or a string. */
  get isInside(): boolean {
    return this.#depth > 0 || this.#mode !== OUTSIDE;
  }

  /** Scans the next piece and returns the decoded text that it adds to the member, in whole characters. */
  feed(text: string): string {
    const end = text.length;
    let at = 0;
    let out = this.#held;
    if (out !== '') this.#held = '';
    while (at < end && !this.closed) {
      if (this.#mode === OUTSIDE) {
        this.#outside(text.charCodeAt(at));
        at += 1;
        continue;
      }
      if (this.#escape !== 0) {
        const code = this.#escaped(text.charCodeAt(at));
        at += 1;
        if (code >= 0) {
          if (this.#mode === TAPPED) out += String.fromCharCode(code);
          else if (this.#mode === KEY) this.#addToKey(String.fromCharCode(code));
        }
        continue;
      }
      const start = at;
      let c = 0;
      while (at < end) {
        c = text.charCodeAt(at);
        if (c === QUOTE || c === BACKSLASH) break;
        at += 1;
      }
      if (at > start) {
        if (this.#mode === TAPPED) out += text.slice(start, at);
        else if (this.#mode === KEY) this.#addToKey(text.slice(start, at));
      }
      if (at === end) break;
      at += 1;
      if (c === BACKSLASH) {
        this.#escape = 5;
        this.#escapedString = true;
        continue;
      }
      // Half a surrogate pair at the end of a string stays alone: the next string cannot complete it.
      if (this.#mode === TAPPED && out !== '') out = out.toWellFormed();
      else if (this.#mode === KEY) this.#expects = WANTS_COLON;
      this.#mode = OUTSIDE;
    }
    this.consumed = at;
    if (out === '') return out;
    if (this.#mode === TAPPED && isHighSurrogate(out.charCodeAt(out.length - 1))) {
      this.#held = out.slice(-1);
      out = out.slice(0, -1);
    }
    return out.toWellFormed();
  }

  #outside(c: number): void {
    switch (c) {
      case QUOTE:
        this.#openString();
        return;
      case OPEN_BRACE:
      case OPEN_BRACKET:
        if (this.#depth === 0) this.#inObject = c === OPEN_BRACE;
        else if (this.#depth === 1) this.#expects = WANTS_COMMA;
        this.#depth += 1;
        if (this.#depth > this.deepest) this.deepest = this.#depth;
        return;
      case CLOSE_BRACE:
      case CLOSE_BRACKET:
        if (this.#depth === 0) return;
        this.#depth -= 1;
        if (this.#depth === 0) this.closed = true;
        return;
      case COLON:
        if (this.#escapedString) this.hasEscapedKey = true;
        if (this.#depth === 1 && this.#expects === WANTS_COLON) this.#expects = WANTS_VALUE;
        return;
      case COMMA:
        if (this.#depth === 1) this.#expects = WANTS_KEY;
        return;
      default:
        if (this.#depth === 1 && this.#expects === WANTS_VALUE && !isSpace(c)) this.#expects = WANTS_COMMA;
    }
  }

  #openString(): void {
    this.#mode = SKIPPED;
    this.#escapedString = false;
    if (this.#depth !== 1 || !this.#inObject || this.#key === null) return;
    if (this.#expects === WANTS_KEY) {
      this.#mode = KEY;
      this.#keyText = '';
    } else if (this.#expects === WANTS_VALUE) {
      if (this.#keyText === this.#key) this.#mode = TAPPED;
      this.#expects = WANTS_COMMA;
    }
  }

  /** Reads one character of an escape. Returns the code unit once it is complete, else -1. */
  #escaped(c: number): number {
    if (this.#escape === 5) {
      if (c === 0x75) {
        this.#escape = 4;
        this.#code = 0;
        return -1;
      }
      this.#escape = 0;
      return escapedUnit(c);
    }
    const digit = hexValue(c);
    if (digit < 0) {
      this.#escape = 0;
      return 0xfffd;
    }
    this.#code = this.#code * 16 + digit;
    this.#escape -= 1;
    return this.#escape === 0 ? this.#code : -1;
  }

  /** Appends to the key. A key longer than the wanted one cannot match, so its rest is dropped. */
  #addToKey(text: string): void {
    if (this.#keyText.length <= this.#key!.length) this.#keyText += text.slice(0, this.#key!.length + 1);
  }
}
