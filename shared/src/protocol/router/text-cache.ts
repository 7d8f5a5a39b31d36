// A cache of strings that recur: addresses, mailboxes, flow ids, the corrId of a request and its answer. A new string costs an
// allocation, and a hash and a comparison in every map lookup. A cached one is the same object with its hash computed. The
// cache looks up a string by its length and some of its bytes, then compares all of them.
import type { Scan } from './json-scan.ts';

/** Adds Node's direct form of `toString('latin1', start, end)`, which is a third faster and missing from the type. */
export type Bytes = Buffer & { latin1Slice(start: number, end: number): string };

/** Number of slots, a power of two. Strings that share a slot evict each other, which costs only time. */
const SLOTS = 1_024;
/** Strings outside of these lengths are not cached. */
const MAX_BYTES = 96;
const MIN_BYTES = 4;

const kept = Buffer.alloc(SLOTS * MAX_BYTES);
const keptWords = new DataView(kept.buffer, kept.byteOffset, kept.length);
const lengths = new Uint8Array(SLOTS);
const texts: string[] = new Array<string>(SLOTS).fill('');

/** Returns the string of the ASCII bytes from `from` up to `to`. At least four bytes must precede it in the message. */
export function textAt(scan: Scan, from: number, to: number): string {
  const length = to - from;
  if (length < MIN_BYTES || length > MAX_BYTES) {
    return length === 0 ? '' : (scan.bytes as Bytes).latin1Slice(from, to);
  }
  // Hash the end and the middle, where similar strings differ.
  const last = scan.wordAt(to - 4);
  let mix = Math.imul(scan.wordAt(to - 8), 0x9e3779b1) ^ Math.imul(last, 0x85ebca6b) ^ length;
  mix = Math.imul(mix ^ (mix >>> 15) ^ scan.wordAt(from + (length >> 1) - 2), 0xc2b2ae35);
  const slot = (mix ^ (mix >>> 15)) & (SLOTS - 1);
  const at = slot * MAX_BYTES;
  if (lengths[slot] === length && keptWords.getInt32(at + length - 4, true) === last) {
    let i = 0;
    const end = length - 4;
    while (i < end && keptWords.getInt32(at + i, true) === scan.wordAt(from + i)) i += 4;
    if (i >= end) return texts[slot]!;
  }
  const text = (scan.bytes as Bytes).latin1Slice(from, to);
  for (let i = 0; i < length - 4; i += 4) keptWords.setInt32(at + i, scan.wordAt(from + i), true);
  keptWords.setInt32(at + length - 4, last, true);
  lengths[slot] = length;
  texts[slot] = text;
  return text;
}
