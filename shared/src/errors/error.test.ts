import { describe, expect, it } from 'vitest';
import { ERRORS, type ErrorCode, isErrorCode } from './codes.ts';
import { FabricError, isFabricError } from './error.ts';

describe('the table of errors', () => {
  it('has a sentence on the cause and a sentence of advice for every code', () => {
    for (const [code, { when, fix }] of Object.entries(ERRORS)) {
      expect(code).toMatch(/^[A-Z][A-Z0-9_]+$/);
      expect(when, code).toMatch(/^\S.+\.$/s);
      expect(fix, code).toMatch(/^\S.+\.$/s);
    }
  });

  it('cannot be changed', () => {
    expect(Object.isFrozen(ERRORS)).toBe(true);
    for (const entry of Object.values(ERRORS)) expect(Object.isFrozen(entry)).toBe(true);
  });
});

describe('FabricError', () => {
  it('takes retryable from the table unless an option overrides it', () => {
    for (const code of Object.keys(ERRORS) as ErrorCode[]) {
      expect(new FabricError(code, 'x').retryable).toBe(ERRORS[code].retryable);
    }
    expect(new FabricError('INTERNAL', 'x', { retryable: true }).retryable).toBe(true);
  });

  it('is an Error with a name, a code, a cause and details', () => {
    const cause = new Error('below');
    const error = new FabricError('NODE_GONE', 'left', { cause, details: { n: 1 } });
    expect(error).toBeInstanceOf(Error);
    expect(error).toMatchObject({
      name: 'FabricError',
      code: 'NODE_GONE',
      message: 'left',
      cause,
      details: { n: 1 },
    });
    expect('details' in JSON.parse(JSON.stringify(new FabricError('NODE_GONE', 'x')))).toBe(false);
  });
});

describe('isFabricError and isErrorCode', () => {
  it('distinguish our errors and codes from others', () => {
    const error = new FabricError('NODE_GONE', 'left');
    expect(isFabricError(error)).toBe(true);
    expect(isFabricError(error, 'NODE_GONE')).toBe(true);
    expect(isFabricError(error, 'NO_ROUTE')).toBe(false);
    expect(isFabricError(Object.assign(new Error('x'), { code: 'NODE_GONE' }))).toBe(false);
    for (const code of ['toString', '__proto__', 'node_gone', '', 1, null, undefined])
      expect(isErrorCode(code)).toBe(false);
    expect(isErrorCode('NODE_GONE')).toBe(true);
  });
});
