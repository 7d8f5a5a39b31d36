import { ERRORS, type ErrorCode, FabricError } from '@fame-fabric/shared';
import { expect, test } from 'vitest';
import { exitCodeOf, explain } from './exit-codes.ts';

test.each([
  ['CONFIG_INVALID', 2],
  ['LINK_TIMEOUT', 69],
  ['NO_ROUTE', 69],
  ['CALL_TIMEOUT', 124],
  ['CALL_CANCELLED', 130],
  ['METHOD_NOT_FOUND', 1],
  ['MODEL_AUTH', 1],
] as const)('%s exits with %i', (code, exit) => {
  expect(exitCodeOf(new FabricError(code, 'x'))).toBe(exit);
});

test('what is not ours is a failure, told by its message and never by its stack', () => {
  const error = new TypeError('boom');
  expect(exitCodeOf(error)).toBe(1);
  expect(explain(error)).toBe('boom');
  expect(explain('text')).toBe('text');
});

test.each(Object.keys(ERRORS) as ErrorCode[])('%s is told in one line, with its code', (code) => {
  const text = explain(new FabricError(code, 'It happened'));
  expect(text).not.toContain('\n');
  expect(text).not.toMatch(/Nothing to do|says why/);
  if (code !== 'CONFIG_INVALID') expect(text).toMatch(new RegExp(`^It happened\\. .*\\(${code}\\)$`));
});

test('a fix that the message holds already is not said twice', () => {
  const text = explain(new FabricError('NODE_BUSY', `Full. ${ERRORS.NODE_BUSY.fix}`));
  expect(text.split(ERRORS.NODE_BUSY.fix)).toHaveLength(2);
});
