import { FabricError } from '@fame-fabric/shared';
import { expect, test } from 'vitest';
import { reportFault } from './report-fault.ts';

test.each([
  ['a wrong configuration', 'CONFIG_INVALID', 2, 'no ␛[2J'],
  ['another fault', 'REQUEST_INVALID', 1, 'no ␛[2J (REQUEST_INVALID)'],
] as const)('%s has its exit code and an escaped message', (_name, code, exitCode, message) => {
  const written: string[] = [];
  expect(reportFault(new FabricError(code, 'no \u001b[2J'), (text) => written.push(text))).toBe(exitCode);
  expect(written).toEqual([message]);
});

test('an error of the program is thrown, not reported', () => {
  const written: string[] = [];
  const error = new TypeError('undefined is not a function');
  expect(() => reportFault(error, (text) => written.push(text))).toThrow(error);
  expect(written).toEqual([]);
});
