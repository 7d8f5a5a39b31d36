import { expect, test } from 'vitest';
import { configInvalid } from '../env/read-env.ts';
import { ERRORS, type ErrorCode } from '../errors/codes.ts';
import { FabricError } from '../errors/error.ts';
import { explainError } from './explain-error.ts';

test('an error that is not a FabricError is its message, without a stack', () => {
  expect(explainError(new TypeError('boom'))).toBe('boom');
  expect(explainError('text')).toBe('text');
});

test.each(Object.keys(ERRORS) as ErrorCode[])('%s is explained in one line, with its code', (code) => {
  const text = explainError(new FabricError(code, 'It happened'));
  expect(text).not.toContain('\n');
  expect(text).not.toMatch(/Nothing to do|names the reason/);
  if (code !== 'CONFIG_INVALID') expect(text).toMatch(new RegExp(`^It happened\\. .*\\(${code}\\)$`));
});

test('a fix that is already in the message is not repeated', () => {
  const text = explainError(new FabricError('NODE_BUSY', `Full. ${ERRORS.NODE_BUSY.fix}`));
  expect(text.split(ERRORS.NODE_BUSY.fix)).toHaveLength(2);
});

test('an error with its own fix keeps it', () => {
  const own = new FabricError('METHOD_NOT_FOUND', 'No describe', { details: { fix: 'Call it by name\n.' } });
  expect(explainError(own)).toBe('No describe. Call it by name . (METHOD_NOT_FOUND)');
});

test('each fault of a configuration is on a separate line', () => {
  expect(explainError(configInvalid(['A is "x"', 'B is "y\u202e\n"']))).toBe(
    'The configuration has 2 faults:\n  A is "x"\n  B is "y\\u202e "',
  );
});

test('the message of a peer can neither control the terminal nor add a line', () => {
  const text = explainError(new FabricError('NO_ROUTE', 'gone\u001b[2J\nA> forged\u2028\u202e'));
  expect(text).toMatch(/^gone␛\[2J A> forged \\u202e\./);
});
