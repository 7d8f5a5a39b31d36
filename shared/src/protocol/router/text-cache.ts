// Texts that come again and again: addresses, mailboxes, flow ids, the corrId of a request and its answer. A text made anew
// from bytes costs an object, and then a hash and a comparison in every table that is asked; one that is remembered is the
// same object with the hash known. It is found by its length and some of its bytes, and then all of them are compared.
import type { Scan } from './json-scan.ts';

/** Node's direct form of `toString('latin1', start, end)`: a third faster, and not in its types. */
export type Bytes = Buffer & { latin1Slice(start: number, end: number): string };

/** A power of two. Two texts of one slot drive each other out, which costs time and nothing else. */
const SLOTS = 1_024;
/** Longer texts, and those of less than a word, are made anew each time. */
const LONGEST = 96;
const SHORTEST = 4;

const kept = Buffer.alloc(SLOTS * LONGEST);
const keptWords = new DataView(kept.buffer, kept.byteOffset, kept.length);
const lengths = new Uint8Array(SLOTS);
const texts: string[] = new Array<string>(SLOTS).fill('');

/** The text of ASCII bytes from `from` up to `to`; at least four bytes stand before it. */
export function textAt(scan: Scan, from: number, to: number): string {
  const length = to - from;
  if (length < SHORTEST || length > LONGEST)
    return length === 0 ? '' : (scan.bytes as Bytes).latin1Slice(from, to);
  // What tells texts of one kind apart stands at their end, or in the middle.
  const last = scan.wordAt(to - 4);
  let mix = Math.imul(scan.wordAt(to - 8), 0x9e3779b1) ^ Math.imul(last, 0x85ebca6b) ^ length;
  mix = Math.imul(mix ^ (mix >>> 15) ^ scan.wordAt(from + (length >> 1) - 2), 0xc2b2ae35);
  const slot = (mix ^ (mix >>> 15)) & (SLOTS - 1);
  const at = slot * LONGEST;
  if (lengths[slot] === length && keptWords.getInt32(at + length - 4, true) === last) {
    let i = 0;
    const end = length - 4;
    while (i < end && keptWords.getInt32(at + i, true) === scan.wordAt(from + i)) i += 4;
    if (i >= end) return texts[slot]!;
  }
  const text = (scan.bytes as Bytes).latin1Slice(from, to);
  scan.bytes.copy(kept, at, from, to);
  lengths[slot] = length;
  texts[slot] = text;
  return text;
}
