import { expect, test } from 'vitest';
import { bytesText, countText, durationText, moneyText, rateText, timeText } from './format.ts';

test.each([
  [0, '0 ms'],
  [0.126, '0.13 ms'],
  [9.94, '9.9 ms'],
  [12.4, '12 ms'],
  [999.4, '999 ms'],
  [999.6, '1 s'],
  [3_210, '3.21 s'],
  [59_949, '59.9 s'],
  [59_960, '1 min'],
  [245_000, '4 min 5 s'],
  [3_599_600, '1 h'],
  [7_380_000, '2 h 3 min'],
  [273_600_000, '3 d 4 h'],
  [-12, '-12 ms'],
  [Number.NaN, '–'],
])('a duration of %d ms is %s', (ms, text) => {
  expect(durationText(ms)).toBe(text);
});

test.each([
  [0, '0 B'],
  [1_023, '1023 B'],
  [1_024, '1 KiB'],
  [1_536, '1.5 KiB'],
  [1_048_575, '1 MiB'],
  [20 * 1_048_576, '20 MiB'],
])('a size of %d bytes is %s', (bytes, text) => {
  expect(bytesText(bytes)).toBe(text);
});

test('numbers and amounts keep the digits that matter', () => {
  expect([0, 1_234, 99_999, 1_250_000].map(countText)).toEqual(['0', '1,234', '99,999', '1.3M']);
  expect([0, 12.5, 0.0042, 0.00000123].map((amount) => moneyText(amount, 'USD'))).toEqual([
    '0.00 USD',
    '12.50 USD',
    '0.0042 USD',
    '0.0000012 USD',
  ]);
});

test('a time has milliseconds and two digits for each other part', () => {
  expect(timeText(new Date(2026, 0, 2, 3, 4, 5, 6).getTime())).toBe('03:04:05.006');
});

test.each([
  [0, '0/s'],
  [0.254, '0.25/s'],
  [9.96, '10/s'],
  [123.4, '123/s'],
  [999.7, '1k/s'],
  [1_540, '1.5k/s'],
  [2_000_000, '2M/s'],
])('the rate %s is written %s', (value, text) => {
  expect(rateText(value)).toBe(text);
});

test('a rate names its unit', () => {
  expect(rateText(1_540, 'messages')).toBe('1.5k messages/s');
});
