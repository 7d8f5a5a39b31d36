import { describe, expect, test } from 'vitest';
import { closestMatch } from './closest-match.ts';

const VERBS = ['sentinel', 'agent', 'chat', 'call', 'trace', 'doctor'];
const OPERATIONS = ['run_turn', 'run_turn_stream', 'end_conversation', 'math', 'echo'];

describe('closestMatch', () => {
  test.each([
    ['sentinal', 'sentinel'],
    ['chta', 'chat'],
    ['doc', 'doctor'],
    ['TRACE', 'trace'],
    ['agnet', 'agent'],
  ])('finds the verb of "%s"', (input, name) => {
    expect(closestMatch(input, VERBS)).toBe(name);
  });

  test.each([
    ['run_trun', 'run_turn'],
    ['runTurn', 'run_turn'],
    ['RUN_TURN', 'run_turn'],
    ['maht', 'math'],
    ['mat', 'math'],
    ['ecco', 'echo'],
    ['end_conversatoin', 'end_conversation'],
  ])('finds the operation of "%s"', (input, name) => {
    expect(closestMatch(input, OPERATIONS)).toBe(name);
  });

  test.each(['kubernetes', 'start_task', 'x', '', 'm'.repeat(100_000)])(
    'finds nothing for "%.20s"',
    (input) => {
      expect(closestMatch(input, [...VERBS, ...OPERATIONS])).toBeUndefined();
    },
  );

  test('prefers the same name to a longer one, and a longer one to an edit', () => {
    expect(closestMatch('RUN', ['run_turn', 'ruin', 'run'])).toBe('run');
    expect(closestMatch('run', ['ruin', 'run_turn'])).toBe('run_turn');
  });

  test('allows at most the given number of edits', () => {
    expect(closestMatch('FAME_NODE', ['FAME_MODEL_X'], 1)).toBeUndefined();
    expect(closestMatch('FAME_NODD', ['FAME_NODE'], 1)).toBe('FAME_NODE');
  });
});
