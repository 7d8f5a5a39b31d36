import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { ERRORS, type ErrorCode } from '../errors/codes.ts';
import { FabricError } from '../errors/error.ts';
import {
  errorOfReply,
  isRpcReply,
  isRpcRequest,
  readParams,
  rpcError,
  rpcRequest,
  rpcResult,
} from './rpc.ts';

describe('readParams', () => {
  it.each([
    ['nothing', undefined, [], {}],
    ['null', null, [], {}],
    ['one object', { a: 1 }, [], { a: 1 }],
    ['args', { args: [1, 2] }, [1, 2], {}],
    ['args with an object last', { args: [1, 2, { k: 3 }] }, [1, 2, { k: 3 }], {}],
    ['an array as the one argument', { args: [[1, 2]] }, [[1, 2]], {}],
    ['empty args: no arguments', { args: [] }, [], {}],
    ['args and kwargs', { args: [1], kwargs: { k: 2 } }, [1], { k: 2 }],
    ['kwargs alone', { kwargs: { k: 2 } }, [], { k: 2 }],
    ['a JSON-RPC array', [1, 2], [1, 2], {}],
    ['an empty object', {}, [], {}],
    ['an object that only looks like args', { args: 'text' }, [], { args: 'text' }],
    ['an object with args among others', { args: [1], other: 2 }, [], { args: [1], other: 2 }],
    ['kwargs of another type', { kwargs: [1] }, [], { kwargs: [1] }],
  ])('reads %s', (_form, params, args, named) => {
    expect(readParams(params)).toEqual({ args, named });
  });

  it('refuses values that are neither object nor array', () => {
    for (const params of [1, 'x', true]) {
      expect(() => readParams(params)).toThrow(expect.objectContaining({ code: 'PARAMS_INVALID' }));
    }
  });

  it('always returns a list and an object, or throws PARAMS_INVALID', () => {
    fc.assert(
      fc.property(fc.jsonValue(), (params) => {
        if (params !== null && typeof params !== 'object') {
          expect(() => readParams(params)).toThrow(FabricError);
          return;
        }
        const { args, named } = readParams(params);
        expect(Array.isArray(args)).toBe(true);
        expect(typeof named === 'object' && named !== null && !Array.isArray(named)).toBe(true);
      }),
    );
  });
});

describe('requests and replies', () => {
  it('differ by their method', () => {
    expect(isRpcRequest(rpcRequest('1', 'm', {}))).toBe(true);
    expect(isRpcReply(rpcRequest('1', 'm', {}))).toBe(false);
    for (const reply of [rpcResult('1', 1), rpcError('1', new Error('x')), { jsonrpc: '2.0', id: 1 }]) {
      expect(isRpcReply(reply)).toBe(true);
      expect(isRpcRequest(reply)).toBe(false);
    }
    for (const value of [
      null,
      undefined,
      1,
      'x',
      [],
      {},
      { jsonrpc: '1.0', method: 'm' },
      { jsonrpc: '2.0', method: 1 },
    ]) {
      expect(isRpcRequest(value)).toBe(false);
    }
  });

  it('NF1: have params, also for a call without any', () => {
    expect(rpcRequest('1', 'list', undefined)).toEqual({
      jsonrpc: '2.0',
      id: '1',
      method: 'list',
      params: {},
    });
    expect(rpcRequest('1', 'add', [1, 2]).params).toEqual([1, 2]);
  });

  it('represent a missing result as null', () => {
    expect(rpcResult(1, undefined)).toEqual({ jsonrpc: '2.0', id: 1, result: null });
  });
});

describe('an error', () => {
  it('keeps its code, message, details and retryable over the wire', () => {
    for (const code of Object.keys(ERRORS) as ErrorCode[]) {
      const sent = new FabricError(code, `about ${code}`, { retryable: true, details: { n: 1 } });
      const { error } = JSON.parse(JSON.stringify(rpcError('1', sent)));
      expect(error.code).toBeLessThanOrEqual(-32000);
      const got = errorOfReply(error);
      expect(got).toMatchObject({ code, message: `about ${code}`, retryable: true, details: { n: 1 } });
    }
  });

  it('NF3: includes the text that a Python node has in data', () => {
    const error = errorOfReply({ code: -32603, message: 'Internal error', data: 'no such city: Atlantis' });
    expect(error.message).toBe('Internal error: no such city: Atlantis');
    expect(errorOfReply({ code: -32603, message: 'Internal error', data: '' }).message).toBe(
      'Internal error',
    );
  });

  it('that is not a FabricError reveals only the id of its log entry', () => {
    const { error } = rpcError('1', new Error('the key is hunter2'), 'log-7');
    expect(JSON.stringify(error)).not.toContain('hunter2');
    expect(error).toMatchObject({ code: -32603, data: { code: 'INTERNAL' } });
    expect(error!.message).toContain('log-7');
    expect(rpcError('1', 'text').error!.message).toBe('The operation failed');
  });

  it.each([
    [-32700, 'REQUEST_INVALID'],
    [-32600, 'REQUEST_INVALID'],
    [-32601, 'METHOD_NOT_FOUND'],
    [-32602, 'PARAMS_INVALID'],
    [-32603, 'INTERNAL'],
    [-32001, 'TASK_UNKNOWN'],
    [-32002, 'TASK_NOT_CANCELABLE'],
    [-32003, 'OPERATION_UNSUPPORTED'],
    [-32004, 'OPERATION_UNSUPPORTED'],
    [-32099, 'INTERNAL'],
  ])('of another implementation with number %i becomes %s', (code, expected) => {
    expect(errorOfReply({ code, message: 'said so' })).toMatchObject({
      code: expected,
      message: 'said so',
      details: { rpcCode: code },
    });
  });

  it('of any shape becomes a FabricError', () => {
    fc.assert(
      fc.property(fc.jsonValue(), (error) => {
        if (error === null) return;
        expect(errorOfReply(error as never)).toBeInstanceOf(FabricError);
      }),
    );
    expect(errorOfReply({ code: 1, message: { toString: 1 } } as never)).toBeInstanceOf(FabricError);
  });
});
