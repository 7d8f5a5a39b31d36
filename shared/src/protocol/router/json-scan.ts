// Scans JSON in bytes without building values: finds the end of an object and checks its grammar and depth. Strings are scanned
// four bytes at a time, and the rest of long ones by a native search. Faults deep inside a string (control characters, bad
// escapes) are therefore left to the receiver's parser. A scan takes half to two thirds of the time of JSON.parse, and almost
// no time in long strings.
import { LIMITS } from '../limits.ts';

const QUOTE = 34;
const BACKSLASH = 92;
/**
 * Number of bytes of a string that are checked before a native search takes over. Lower in large messages, which are written
 * by programs and rarely have faults.
 */
const CHECKED_BYTES = 256;
const CHECKED_BYTES_IN_LARGE = 32;
const LARGE_MESSAGE_BYTES = 16_384;

/** Results of `skipObject` that are not positions. */
export const MALFORMED = -1;
export const TOO_DEEP = -2;

const COMMA = 44;
const COLON = 58;
const OPEN_ARRAY = 91;
const CLOSE_ARRAY = 93;
const OPEN_OBJECT = 123;
const CLOSE_OBJECT = 125;

const isObjectAt = new Uint8Array(LIMITS.maxDepth + 2);

/** 1 for the bytes that end a run of ordinary bytes in a string: quote, backslash, control characters. */
const IS_SPECIAL = new Uint8Array(256).fill(1, 0, 32);
IS_SPECIAL[QUOTE] = 1;
IS_SPECIAL[BACKSLASH] = 1;

/** 1 for the bytes that end a run of plain ASCII: special bytes, DEL and everything above. */
const ENDS_PLAIN = Uint8Array.from(IS_SPECIAL).fill(1, 127);

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

function skipBlanks(bytes: Buffer, at: number): number {
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

// Four bytes at once, as one 32-bit number. `x - n * ONES & ~x` sets the top bit of each byte of `x` that is less than `n`; only
// the lowest of these bits is exact, and only that one is used. Flipping the second bit moves the quote (34) to 32, next to the
// control characters and below all other bytes of a string, so one comparison finds both. `| 0` after every sum saves V8 its
// overflow checks, which doubles the speed.
const ONES = 0x01010101;
const TOPS = 0x80808080 | 0;
const FLIP = 2 * ONES;
const ABOVE_QUOTE = ((QUOTE ^ 2) + 1) * ONES;
const BACKSLASHES = BACKSLASH * ONES;

/** Returns the index of the first of four bytes whose top bit is set in `marks`. */
const firstOf = (marks: number): number => (31 - Math.clz32(marks & -marks)) >> 3;

/** A scanner over the bytes of one message. Reused for every message. */
export class Scan {
  bytes: Buffer = Buffer.alloc(0);
  #words: DataView = new DataView(new ArrayBuffer(0));
  #base = 0;
  #checkedBytes = CHECKED_BYTES;

  /** Sets the bytes to scan. */
  reset(bytes: Buffer): this {
    const { buffer } = bytes;
    if (buffer !== this.#words.buffer) this.#words = new DataView(buffer);
    this.#base = bytes.byteOffset;
    this.bytes = bytes;
    this.#checkedBytes = bytes.length > LARGE_MESSAGE_BYTES ? CHECKED_BYTES_IN_LARGE : CHECKED_BYTES;
    return this;
  }

  /** Returns the four bytes at `at`, little-endian. They must lie within the message. */
  wordAt(at: number): number {
    return this.#words.getInt32(this.#base + at, true);
  }

  /**
   * Returns the end of the plain ASCII that begins at `at`: the position of the first quote, backslash, control character or
   * non-ASCII byte, or `limit`.
   */
  endOfPlain(at: number, limit: number): number {
    return this.#endOf(at, limit, ENDS_PLAIN, TOPS);
  }

  // Returns the position of the first byte whose entry in `table` is 1, or `limit`. `nonAscii` is TOPS if the table contains
  // the non-ASCII bytes, else 0.
  #endOf(at: number, limit: number, table: Uint8Array, nonAscii: number): number {
    const words = this.#words;
    const base = this.#base | 0;
    let i = at | 0;
    for (; ((i + 4) | 0) <= limit; i = (i + 4) | 0) {
      const word = words.getInt32((base + i) | 0, true);
      const flipped = word ^ FLIP;
      const slash = word ^ BACKSLASHES;
      const marks =
        ((((flipped - ABOVE_QUOTE) | 0) & ~flipped) |
          (((slash - ONES) | 0) & ~slash) |
          (((word + ONES) | 0 | word) & nonAscii)) &
        TOPS;
      if (marks !== 0) return i + firstOf(marks);
    }
    const { bytes } = this;
    while (i < limit && table[bytes[i]!] === 0) i++;
    return i;
  }

  /** Returns the position of the closing quote of the string whose content begins at `at`, or MALFORMED. */
  endOfString(at: number): number {
    const { bytes } = this;
    const words = this.#words;
    const base = this.#base | 0;
    const limit = Math.min(bytes.length, (at + this.#checkedBytes) | 0);
    let i = at | 0;
    for (; ((i + 4) | 0) <= limit; i = (i + 4) | 0) {
      const word = words.getInt32((base + i) | 0, true);
      const flipped = word ^ FLIP;
      const slash = word ^ BACKSLASHES;
      const marks = ((((flipped - ABOVE_QUOTE) | 0) & ~flipped) | (((slash - ONES) | 0) & ~slash)) & TOPS;
      if (marks === 0) continue;
      i = (i + firstOf(marks)) | 0;
      if (bytes[i] === QUOTE) return i;
      break;
    }
    return this.#endOfLong(i, limit);
  }

  // The rest of `endOfString`, for strings with escapes or faults and for long ones.
  #endOfLong(at: number, limit: number): number {
    const { bytes } = this;
    let i = at;
    for (;;) {
      i = this.#endOf(i, limit, IS_SPECIAL, 0);
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
      // An odd number of backslashes before a quote escapes it.
      let back = quote - 1;
      while (back >= i && bytes[back] === BACKSLASH) back--;
      if ((quote - 1 - back) % 2 === 0) return quote;
      i = quote + 1;
    }
  }

  /**
   * Returns the position after the object that opens at `at`, or MALFORMED, or TOO_DEEP if it nests deeper than `levels`.
   * `onKey` receives the position of each key of the outermost object; if it returns false, the result is MALFORMED.
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
      // Invariant: a value begins at `i`.
      const byte = bytes[i]!;
      if (byte === QUOTE) {
        i = this.endOfString(i + 1) + 1;
        if (i === 0) return MALFORMED;
      } else if (byte === OPEN_OBJECT || byte === OPEN_ARRAY) {
        if (++depth > levels) return TOO_DEEP;
        const isObject = byte === OPEN_OBJECT;
        isObjectAt[depth] = isObject ? 1 : 0;
        i = skipBlanks(bytes, i + 1);
        if (bytes[i] === (isObject ? CLOSE_OBJECT : CLOSE_ARRAY)) {
          i++;
          if (--depth === 0) return i;
        } else if (isObject) {
          i = this.#skipKey(i, depth === 1 ? onKey : undefined);
          if (i < 0) return MALFORMED;
          continue;
        } else continue;
      } else {
        i = byte === 45 || (byte >= 48 && byte <= 57) ? endOfNumber(bytes, i) : endOfLiteral(bytes, i);
        if (i < 0) return MALFORMED;
      }
      // After a value, brackets close or a comma leads to the next value.
      for (;;) {
        i = skipBlanks(bytes, i);
        const isObject = isObjectAt[depth] === 1;
        if (bytes[i] === COMMA) {
          i = skipBlanks(bytes, i + 1);
          if (!isObject) break;
          i = this.#skipKey(i, depth === 1 ? onKey : undefined);
          if (i < 0) return MALFORMED;
          break;
        }
        if (bytes[i] !== (isObject ? CLOSE_OBJECT : CLOSE_ARRAY)) return MALFORMED;
        i++;
        if (--depth === 0) return i;
      }
    }
  }

  // Returns the position of the value whose key is at `at`, or MALFORMED.
  #skipKey(at: number, onKey: ((bytes: Buffer, from: number, to: number) => boolean) | undefined): number {
    const { bytes } = this;
    if (bytes[at] !== QUOTE) return MALFORMED;
    const close = this.endOfString(at + 1);
    if (close < 0) return MALFORMED;
    if (onKey !== undefined && !onKey(bytes, at + 1, close)) return MALFORMED;
    // The compact form needs no search for blanks.
    if (bytes[close + 1] === COLON && bytes[close + 2]! > 32) return close + 2;
    const colon = skipBlanks(bytes, close + 1);
    return bytes[colon] === COLON ? skipBlanks(bytes, colon + 1) : MALFORMED;
  }
}
