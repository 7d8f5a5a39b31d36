import { expect, test } from 'vitest';
import { timeText } from './time-text.ts';

test.each([
  [0, '0 ms'],
  [999.4, '999 ms'],
  [1_500, '1.5 s'],
  [60_000, '60 s'],
  [119_999, '120 s'],
  [600_000, '10 min'],
  [5_400_000, '90 min'],
  [86_400_000, '24 h'],
])('%d ms is %s', (ms, text) => {
  expect(timeText(ms)).toBe(text);
});
