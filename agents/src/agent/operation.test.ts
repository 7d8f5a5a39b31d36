import { isFabricError } from '@fame-fabric/shared';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { z } from 'zod';
import { operation } from './operation.ts';

const run = (): null => null;
const add = operation({ params: z.object({ a: z.number(), b: z.number() }), run });

const faultOf = (read: () => unknown): string => {
  try {
    read();
  } catch (error) {
    if (isFabricError(error, 'PARAMS_INVALID')) return error.message;
    throw error;
  }
  throw new Error('expected PARAMS_INVALID');
};

describe('reading parameters', () => {
  it.each([
    ['one object', { a: 1, b: 2 }],
    ['args', { args: [1, 2] }],
    ['kwargs', { kwargs: { a: 1, b: 2 } }],
    ['args and empty kwargs, as Python sends', { args: [1, 2], kwargs: {} }],
    ['empty args and kwargs, as Python sends', { args: [], kwargs: { a: 1, b: 2 } }],
    ['args and kwargs', { args: [1], kwargs: { b: 2 } }],
    ['a JSON-RPC array', [1, 2]],
    ['a last object of named arguments', { args: [1, { b: 2 }] }],
    ['one object inside args', { args: [{ a: 1, b: 2 }] }],
    ['one object inside args, as Python sends', { args: [{ a: 1, b: 2 }], kwargs: {} }],
    ['one object inside an array', [{ a: 1, b: 2 }]],
  ])('accepts %s', (_, params) => {
    expect(add.read(params)).toEqual({ a: 1, b: 2 });
  });

  it('reads any split of arguments into positions and names alike', () => {
    const shape = { a: z.number(), b: z.string(), c: z.array(z.number()), d: z.boolean() };
    const all = operation({ params: z.object(shape), run });
    const values = fc.record({ a: fc.integer(), b: fc.string(), c: fc.array(fc.integer()), d: fc.boolean() });
    fc.assert(
      fc.property(values, fc.integer({ min: 0, max: 4 }), (value, split) => {
        const entries = Object.entries(value);
        const args = entries.slice(0, split).map(([, v]) => v);
        const kwargs = Object.fromEntries(entries.slice(split));
        expect(all.read({ args, kwargs })).toEqual(value);
      }),
    );
  });

  it.each([
    ['nothing', undefined],
    ['null', null],
    ['an empty object', {}],
    ['empty args', { args: [] }],
    ['empty args and kwargs', { args: [], kwargs: {} }],
    ['an empty array', []],
  ])('treats %s as no arguments', (_, params) => {
    const hello = operation({ params: z.object({ name: z.string().default('you') }), run });
    expect(hello.read(params)).toEqual({ name: 'you' });
    expect(operation({ run }).read(params)).toEqual({});
  });

  it('keeps an array that is one argument', () => {
    const echo = operation({ params: z.object({ value: z.unknown() }), run });
    expect(echo.read({ args: [[1, 2]] })).toEqual({ value: [1, 2] });
  });

  it('passes an object with unknown keys to the parameter that accepts any value', () => {
    const echo = operation({ params: z.object({ value: z.unknown() }), run });
    expect(echo.read({ greeting: 'hi' })).toEqual({ value: { greeting: 'hi' } });
    expect(echo.read({ args: [{ greeting: 'hi' }] })).toEqual({ value: { greeting: 'hi' } });
    expect(echo.read({ args: [9] })).toEqual({ value: 9 });
  });

  it('reads parameters that are called args and kwargs', () => {
    const spawn = operation({
      params: z.object({ command: z.string().optional(), args: z.array(z.string()) }),
      run,
    });
    expect(spawn.read({ args: ['-v', '-x'] })).toEqual({ args: ['-v', '-x'] });
    expect(spawn.read({ command: 'ls', args: ['-l'] })).toEqual({ command: 'ls', args: ['-l'] });
  });

  it('treats null as an omitted parameter, unless the parameter accepts null', () => {
    const find = operation({
      params: z.object({ limit: z.int().default(10), after: z.string().nullable() }),
      run,
    });
    expect(find.read({ limit: null, after: null })).toEqual({ limit: 10, after: null });
  });

  it('fills a tuple by position, named arguments last', () => {
    const pair = operation({ params: z.tuple([z.string(), z.looseObject({ k: z.number() })]), run });
    expect(pair.read({ args: ['x'], kwargs: { k: 1 } })).toEqual(['x', { k: 1 }]);
    expect(pair.read(['x', { k: 1 }])).toEqual(['x', { k: 1 }]);
    expect(faultOf(() => pair.read(['x', { k: 'no' }]))).toMatch(/^params\.1\.k: /);
  });

  it.each([
    ['a wrong type', { a: 1, b: 'two' }, /^b: .*number/],
    ['a missing one', { a: 1 }, /^b: /],
    ['an unknown name', { a: 1, b: 2, c: 3 }, /^c: no such parameter; expected a, b$/],
    ['too many', { args: [1, 2, 3] }, /^params: 3 arguments for 2 parameters; expected a, b$/],
    ['one given twice', { args: [1, 2], kwargs: { a: 3 } }, /^a: given by position and by name$/],
    ['a number', 7, /^params must be/],
    ['a string', 'a=1', /^params must be/],
  ])('names the path of the fault: %s', (_, params, fault) => {
    expect(faultOf(() => add.read(params))).toMatch(fault);
  });

  it('names a nested path', () => {
    const send = operation({
      params: z.object({ message: z.object({ parts: z.array(z.object({ text: z.string() })) }) }),
      run,
    });
    expect(faultOf(() => send.read({ message: { parts: [{ text: 'a' }, { text: 5 }] } }))).toMatch(
      /^message\.parts\.1\.text: /,
    );
  });

  it('returns arguments or PARAMS_INVALID for any JSON, and changes no prototype', () => {
    fc.assert(
      fc.property(fc.jsonValue({ maxDepth: 4 }), (params) => {
        try {
          expect(Object.keys(add.read(params) as object).sort()).toEqual(['a', 'b']);
        } catch (error) {
          expect(isFabricError(error, 'PARAMS_INVALID')).toBe(true);
        }
      }),
      { numRuns: 500 },
    );
    const loose = operation({ params: z.looseObject({}), run });
    loose.read(JSON.parse('{"__proto__": {"polluted": true}, "constructor": 1}'));
    expect(({} as { polluted?: boolean }).polluted).toBeUndefined();
  });

  it('distinguishes an async generator from a plain function', () => {
    expect(operation({ async *run() {} }).streams).toBe(true);
    expect(operation({ run }).streams).toBe(false);
  });
});
