import { expect, test } from 'vitest';
import { Scan } from './json-scan.ts';
import { textAt } from './text-cache.ts';

const scan = new Scan();
const read = (text: string): string => {
  const bytes = Buffer.from(`{"some":"${text}","more":"behind"}`);
  return textAt(scan.reset(bytes), 9, 9 + text.length);
};

test('returns the string of the bytes, at every length and after any other strings', () => {
  // Far more strings than slots, many of which differ in a single character.
  for (let round = 0; round < 3; round++) {
    for (let length = 0; length < 130; length++) {
      const text = 'abcdefghij'.repeat(13).slice(0, length);
      expect(read(text)).toBe(text);
      for (let at = 0; at < length; at++) {
        const other = `${text.slice(0, at)}${String.fromCharCode(65 + (at % 26))}${text.slice(at + 1)}`;
        if (read(other) !== other) expect.fail(`${other} was read as ${read(other)}`);
      }
      expect(read(text)).toBe(text);
    }
  }
});
