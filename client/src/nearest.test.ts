import { expect, test } from 'vitest';
import { nearest } from './nearest.ts';

const VERBS = ['sentinel', 'agent', 'chat', 'call', 'trace', 'doctor'];

test.each([
  ['sentinal', 'sentinel'],
  ['chta', 'chat'],
  ['doc', 'doctor'],
  ['TRACE', 'trace'],
  ['agnet', 'agent'],
])('%s suggests %s', (typed, meant) => {
  expect(nearest(typed, VERBS)).toBe(meant);
});

test.each(['kubernetes', 'x', ''])('"%s" suggests nothing', (typed) => {
  expect(nearest(typed, VERBS)).toBeUndefined();
});
