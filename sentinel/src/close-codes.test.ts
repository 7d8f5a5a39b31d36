import { expect, test } from 'vitest';
import { closeReason } from './close-codes.ts';

test('a reason that fits into a close frame is kept', () => {
  expect(closeReason('')).toBe('');
  expect(closeReason('x'.repeat(123))).toBe('x'.repeat(123));
});

test.each([
  ['x', 123],
  ['é', 61],
  ['€', 41],
  ['😀', 30],
])('a reason of many %s is cut between characters, at 123 bytes', (character, kept) => {
  expect(closeReason(character.repeat(200))).toBe(character.repeat(kept));
});
