import { expect, test } from 'vitest';
import { graphemes, textWidth } from './text-width.ts';

test.each([
  ['', 0],
  ['plain', 5],
  ['é and e\u0301', 7],
  ['你好', 4],
  ['한국어', 6],
  ['👋🏽', 2],
  ['👨‍👩‍👧', 2],
  ['❤️', 2],
  ['1', 1],
  ['a\u200bb', 2],
  ['␛ …', 3],
])('%j takes %i columns', (text, columns) => {
  expect(textWidth(text)).toBe(columns);
});

test('a family is one character', () => {
  expect(graphemes('a👨‍👩‍👧e\u0301')).toEqual(['a', '👨‍👩‍👧', 'e\u0301']);
});
