import fc from 'fast-check';
import { expect, test } from 'vitest';
import { charBoundary, cutText, isHighSurrogate } from './cut-text.ts';

test('a short text is unchanged', () => {
  expect(cutText('abc', 3)).toBe('abc');
  expect(cutText('', 0)).toBe('');
});

test('a long text is cut and marked', () => {
  expect(cutText('abcdef', 3)).toBe('abc…');
  expect(cutText('abcdef', 3, '')).toBe('abc');
  expect(cutText('abcdef', 0)).toBe('…');
});

test('a surrogate pair at the cut is left out', () => {
  expect(cutText('ab😀c', 3)).toBe('ab…');
  expect(cutText('ab😀c', 4)).toBe('ab😀…');
  expect(charBoundary('😀', 1)).toBe(0);
  expect(charBoundary('ab', 9)).toBe(2);
  expect([...'a😀'].map((char) => isHighSurrogate(char.charCodeAt(0)))).toEqual([false, true]);
});

test('any well-formed text stays well-formed, and loses at most one character more than requested', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'grapheme' }), fc.nat(20), (text, maxChars) => {
      const cut = cutText(text, maxChars, '');
      expect(cut.isWellFormed()).toBe(text.isWellFormed());
      expect(text.startsWith(cut)).toBe(true);
      expect(cut.length).toBeGreaterThanOrEqual(Math.min(text.length, maxChars) - 1);
    }),
  );
});
