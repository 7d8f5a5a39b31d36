import { expect, test } from 'vitest';
import { FabricError } from '../errors/error.ts';
import { exitCodeOf } from './exit-codes.ts';

test.each([
  ['CONFIG_INVALID', 2],
  ['ADDRESS_INVALID', 2],
  ['LINK_TIMEOUT', 69],
  ['LINK_REFUSED', 69],
  ['NO_ROUTE', 69],
  ['CALL_TIMEOUT', 124],
  ['CALL_CANCELLED', 130],
  ['METHOD_NOT_FOUND', 1],
  ['INTERNAL', 1],
] as const)('%s exits with %i', (code, exitCode) => {
  expect(exitCodeOf(new FabricError(code, 'x'))).toBe(exitCode);
});

test('an error that is not a FabricError exits with 1', () => {
  expect(exitCodeOf(new TypeError('boom'))).toBe(1);
  expect(exitCodeOf('text')).toBe(1);
});
