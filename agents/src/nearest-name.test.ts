import { expect, it } from 'vitest';
import { nearestName } from './nearest-name.ts';

const NAMES = ['run_turn', 'run_turn_stream', 'end_conversation', 'math', 'echo'];

it.each([
  ['run_trun', 'run_turn'],
  ['runTurn', 'run_turn'],
  ['RUN_TURN', 'run_turn'],
  ['maht', 'math'],
  ['mat', 'math'],
  ['ecco', 'echo'],
  ['end_conversatoin', 'end_conversation'],
  ['start_task', undefined],
  ['x', undefined],
  ['', undefined],
  ['m'.repeat(100_000), undefined],
])('%s is near to %s', (wanted, name) => {
  expect(nearestName(wanted, NAMES)).toBe(name);
});
