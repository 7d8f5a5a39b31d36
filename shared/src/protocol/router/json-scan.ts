// Walks over JSON in bytes without building it: enough to know where an object ends, that its brackets balance within the
// depth limit, and that its grammar holds. Texts are looked through four bytes at a time, and long ones by a native search, so
// what stands far behind in a text (control characters, escapes) is left to whoever parses the message.
// Takes half to two thirds of the time of JSON.parse, and next to none in long texts.
import { LIMITS } from '../limits.ts';

const QUOTE = 34;
const BACKSLASH = 92;
/**
 * So much of a text is looked through before a native search goes on. In large messages it is less: those are written by
 * programs, mistakes are made by hand.
 */
const LOOKED_THROUGH = 256;
const LOOKED_THROUGH_IN_LARGE = 32;
const LARGE_MESSAGE = 16_384;

/** Answers of `skipObject` that are no position. */
export const MALFORMED = -1;
export const TOO_DEEP = -2;

const COMMA = 44;
const COLON = 58;
const OPEN_ARRAY = 91;
const CLOSE_ARRAY = 93;
const OPEN_OBJECT = 123;
const CLOSE_OBJECT = 125;

const isObjectAt = new Uint8Array(LIMITS.maxDepth + 2);

/** 1 for bytes of a text that need a look: the quote, the backslash, control characters. */
const NEEDS_LOOK = new Uint8Array(256).fill(1, 0, 32);
NEEDS_LOOK[QUOTE] = 1;
NEEDS_LOOK[BACKSLASH] = 1;

/** 1 for what may not stand in plain ASCII: quote, backslash, control characters, all beyond. */
const ENDS_PLAIN = Uint8Array.from(NEEDS_LOOK).fill(1, 127);

const ESCAPES = new Set(Buffer.from('"\\\\/bfnrt'));
const isEscape = (byte: number | undefined): boolean => byte !== undefined && ESCAPES.has(byte);

const hasHexDigits = (bytes: Buffer, at: number): boolean => {
  for (let i = at; i < at + 4; i++) {
    const byte = bytes[i]!;
    const lower = byte | 32;
    if (!((byte >= 48 && byte <= 57) || (lower >= 97 && lower <= 102))) return false;
  }
  return true;
};

function behindBlanks(bytes: Buffer, at: number): number {
  let i = at;
  while (bytes[i]! <= 32 && isBlank(bytes[i]!)) i++;
  return i;
}

const isBlank = (byte: number): boolean => byte === 32 || byte === 10 || byte === 13 || byte === 9;

const LITERALS: Readonly<Record<number, Buffer>> = {
  116: Buffer.from('true'),
  102: Buffer.from('false'),
  110: Buffer.from('null'),
};

function endOfLiteral(bytes: Buffer, at: number): number {
  const literal = LITERALS[bytes[at]!];
  if (literal === undefined) return MALFORMED;
  for (let i = 1; i < literal.length; i++) if (bytes[at + i] !== literal[i]) return MALFORMED;
  return at + literal.length;
}

function endOfNumber(bytes: Buffer, at: number): number {
  let i = at;
  if (bytes[i] === 45) i++;
  const first = bytes[i]!;
  if (first === 48) i++;
  else if (first >= 49 && first <= 57) i = endOfDigits(bytes, i);
  else return MALFORMED;
  if (bytes[i] === 46) {
    const digits = endOfDigits(bytes, i + 1);
    if (digits === i + 1) return MALFORMED;
    i = digits;
  }
  if (bytes[i] === 101 || bytes[i] === 69) {
    i++;
    if (bytes[i] === 43 || bytes[i] === 45) i++;
    const digits = endOfDigits(bytes, i);
    if (digits === i) return MALFORMED;
    i = digits;
  }
  return i;
}

function endOfDigits(bytes: Buffer, at: number): number {
  let i = at;
  while (bytes[i]! >= 48 && bytes[i]! <= 57) i++;
  return i;
}

// Four bytes at once, as one 32-bit number. `x - n * ONES & ~x` has its top bits set where a byte of `x` is less than `n`; the
// lowest of them is exact, and only that one is used. Turning the second bit makes the quote the one byte between the control
// characters and all others that a text may hold, so one comparison finds both. `| 0` after every sum keeps V8 from looking for
// overflows, which doubles the speed.
const ONES = 0x01010101;
const TOPS = 0x80808080 | 0;
const TURNED = 2 * ONES;
const ABOVE_QUOTE = ((QUOTE ^ 2) + 1) * ONES;
const BACKSLASHES = BACKSLASH * ONES;

/** Which of four bytes is the first to have its top bit in `marks`. */
const firstOf = (marks: number): number => (31 - Math.clz32(marks & -marks)) >> 3;

/** Bytes as they are walked over: one by one, and four at a time. One object is used for one message after the other. */
export class Scan {
  bytes: Buffer = Buffer.alloc(0);
  #words: DataView = new DataView(new ArrayBuffer(0));
  #base = 0;
  #lookedThrough = LOOKED_THROUGH;

  /** Says which bytes are walked over next. */
  over(bytes: Buffer): this {
    const { buffer } = bytes;
    if (buffer !== this.#words.buffer) this.#words = new DataView(buffer);
    this.#base = bytes.byteOffset;
    this.bytes = bytes;
    this.#lookedThrough = bytes.length > LARGE_MESSAGE ? LOOKED_THROUGH_IN_LARGE : LOOKED_THROUGH;
    return this;
  }

  /** The four bytes at `at`, the first one lowest. They must lie within the bytes. */
  wordAt(at: number): number {
    return this.#words.getInt32(this.#base + at, true);
  }

  /**
   * Where plain ASCII from `at` ends, at `limit` at the latest: the position of the first quote, backslash, control character
   * or byte beyond ASCII.
   */
  endOfPlain(at: number, limit: number): number {
    return this.#endOf(at, limit, ENDS_PLAIN, TOPS);
  }

  // Where a byte of `table` comes, at `limit` at the latest. `beyond` is TOPS when the table has what lies beyond ASCII, else 0.
  #endOf(at: number, limit: number, table: Uint8Array, beyond: number): number {
    const words = this.#words;
    const base = this.#base | 0;
    let i = at | 0;
    for (; ((i + 4) | 0) <= limit; i = (i + 4) | 0) {
      const word = words.getInt32((base + i) | 0, true);
      const turned = word ^ TURNED;
      const slash = word ^ BACKSLASHES;
      const marks =
        ((((turned - ABOVE_QUOTE) | 0) & ~turned) |
          (((slash - ONES) | 0) & ~slash) |
          (((word + ONES) | 0 | word) & beyond)) &
        TOPS;
      if (marks !== 0) return i + firstOf(marks);
    }
    const { bytes } = this;
    while (i < limit && table[bytes[i]!] === 0) i++;
    return i;
  }

  /** Where the text that opens at `at` (behind its quote) closes: the position of the closing quote, or MALFORMED. */
  endOfText(at: number): number {
    const { bytes } = this;
    const limit = Math.min(bytes.length, at + this.#lookedThrough);
    let i = at;
    for (;;) {
      i = this.#endOf(i, limit, NEEDS_LOOK, 0);
      if (i >= limit) break;
      const byte = bytes[i]!;
      if (byte === QUOTE) return i;
      if (byte !== BACKSLASH) return MALFORMED;
      if (isEscape(bytes[i + 1])) i += 2;
      else if (bytes[i + 1] === 117 && hasHexDigits(bytes, i + 2)) i += 6;
      else return MALFORMED;
    }
    for (;;) {
      const quote = bytes.indexOf(QUOTE, i);
      if (quote < 0) return MALFORMED;
      // The quote closes the text unless an odd number of backslashes stands before it.
      let back = quote - 1;
      while (back >= i && bytes[back] === BACKSLASH) back--;
      if ((quote - 1 - back) % 2 === 0) return quote;
      i = quote + 1;
    }
  }

  /**
   * Where the object that opens at `at` ends: the position behind its closing bracket, or MALFORMED, or TOO_DEEP when it
   * holds more than `levels` nested levels. `onKey` sees where each key of the object itself stands, and ends the walk with
   * MALFORMED by answering `false`.
   */
  skipObject(
    at: number,
    levels: number,
    onKey?: (bytes: Buffer, from: number, to: number) => boolean,
  ): number {
    const { bytes } = this;
    let depth = 0;
    let i = at;
    for (;;) {
      // A value begins at `i`.
      const byte = bytes[i]!;
      if (byte === QUOTE) {
        i = this.endOfText(i + 1) + 1;
        if (i === 0) return MALFORMED;
      } else if (byte === OPEN_OBJECT || byte === OPEN_ARRAY) {
        if (++depth > levels) return TOO_DEEP;
        const isObject = byte === OPEN_OBJECT;
        isObjectAt[depth] = isObject ? 1 : 0;
        i = behindBlanks(bytes, i + 1);
        if (bytes[i] === (isObject ? CLOSE_OBJECT : CLOSE_ARRAY)) {
          i++;
          if (--depth === 0) return i;
        } else if (isObject) {
          i = this.#behindKey(i, depth === 1 ? onKey : undefined);
          if (i < 0) return MALFORMED;
          continue;
        } else continue;
      } else {
        i = byte === 45 || (byte >= 48 && byte <= 57) ? endOfNumber(bytes, i) : endOfLiteral(bytes, i);
        if (i < 0) return MALFORMED;
      }
      // The value is read. Behind it brackets close, or a comma leads to the next one.
      for (;;) {
        i = behindBlanks(bytes, i);
        const isObject = isObjectAt[depth] === 1;
        if (bytes[i] === COMMA) {
          i = behindBlanks(bytes, i + 1);
          if (!isObject) break;
          i = this.#behindKey(i, depth === 1 ? onKey : undefined);
          if (i < 0) return MALFORMED;
          break;
        }
        if (bytes[i] !== (isObject ? CLOSE_OBJECT : CLOSE_ARRAY)) return MALFORMED;
        i++;
        if (--depth === 0) return i;
      }
    }
  }

  // Where the value of the key at `at` begins, or MALFORMED.
  #behindKey(at: number, onKey: ((bytes: Buffer, from: number, to: number) => boolean) | undefined): number {
    const { bytes } = this;
    if (bytes[at] !== QUOTE) return MALFORMED;
    const close = this.endOfText(at + 1);
    if (close < 0) return MALFORMED;
    if (onKey !== undefined && !onKey(bytes, at + 1, close)) return MALFORMED;
    const colon = behindBlanks(bytes, close + 1);
    return bytes[colon] === COLON ? behindBlanks(bytes, colon + 1) : MALFORMED;
  }
}
