import { describe, expect, it } from 'vitest';
import { parseArguments, readJson } from './parse-arguments.ts';

describe('parseArguments', () => {
  const faults: [string, number, string][] = [
    ['{"x": }', 6, 'a value'],
    ['{"x": ', 6, 'a value'],
    ['{"x"', 4, '":"'],
    ['{"x":1,}', 7, 'a key in quotes'],
    ["{'x':1}", 1, 'a key in quotes or "}"'],
    ['{"x":1 "y":2}', 7, '"," or "}"'],
    ['{"x":[1,]}', 8, 'a value'],
    ['{"x":[1 2]}', 8, '"," or "]"'],
    ['{"x":[}', 6, 'a value or "]"'],
    ['{"x":"a', 7, 'the end of the string'],
    ['{"x":"a\\q"}', 7, 'a valid escape'],
    ['{"x":"a\nb"}', 7, 'control characters to be escaped'],
    ['{"x":1} {}', 8, 'the end of the text'],
    ['{"x":01}', 6, '"," or "}"'],
    ['{"x":nul}', 5, 'a value'],
  ];
  for (const [text, at, expected] of faults) {
    it(`reports the offset of the fault in ${JSON.stringify(text)}`, () => {
      expect(parseArguments(text)).toEqual({
        ok: false,
        error: {
          code: 'invalid_json',
          at,
          message: `The arguments are not valid JSON at ${at}: expected ${expected}`,
        },
      });
    });
  }

  it('reads escaped keys correctly after JSON.parse has parsed a backslash as key', () => {
    // The trigger of nodejs/node#63785, twice, because the first parse only prepares the fault.
    for (let n = 0; n < 2; n += 1) parseArguments('{"x":{"y":1},"\\\\":1}');
    for (let n = 0; n < 3; n += 1) {
      expect(parseArguments('{"x":{"y":1},"\\u0061":true,"\\"":2,"\\\\":3}')).toEqual({
        ok: true,
        args: { x: { y: 1 }, a: true, '"': 2, '\\': 3 },
      });
    }
  });

  it('returns __proto__ as a plain member even if another key has an escape', () => {
    const read = readJson('{"__proto__":{"evil":1},"\\u0061":[{}]}');
    if (!read.ok) throw new Error('expected a value');
    expect(Object.keys(read.value as object)).toEqual(['__proto__', 'a']);
    expect(Object.getPrototypeOf(read.value)).toBe(Object.prototype);
  });
});
