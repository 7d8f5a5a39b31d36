// Globs: what each wildcard matches, and that no pattern takes long.
import { describe, expect, test } from 'vitest';
import { compileGlob, globFault } from './glob.ts';

describe('a glob', () => {
  test.each<[glob: string, matching: string[], other: string[]]>([
    [
      'chat@fame.fabric',
      ['chat@fame.fabric'],
      ['Chat@fame.fabric', 'chat@fame.fabric2', 'chat@fameXfabric', ''],
    ],
    [
      '*@fame.fabric',
      ['chat@fame.fabric', '@fame.fabric'],
      ['a@b@fame.fabric', 'chat@x.fame.fabric', 'a.b@fame.fabric'],
    ],
    ['chat@*.fabric', ['chat@fame.fabric', 'chat@.fabric'], ['chat@a.b.fabric', 'chat@fabric']],
    ['chat@**', ['chat@', 'chat@fame.fabric', 'chat@/S/node'], ['chat', 'xchat@fame']],
    ['**', ['', 'a', 'a@b.c/d'], []],
    ['****', ['', 'a@b.c'], []],
    ['***', ['', 'a@b.c', 'abc'], []],
    ['*', ['', 'abc'], ['a.b', 'a/b', 'a@b']],
    ['?', ['a', '*'], ['', '.', '/', '@', 'ab']],
    ['a?c', ['abc'], ['a.c', 'ac', 'abbc']],
    ['__rpc__*@/**', ['__rpc__x@/S/n', '__rpc__@/'], ['__rpc__x@fame', '__rpc__x.y@/S']],
    ['**@**.fabric', ['a@b.fabric', 'a@b@c.d.fabric', '@.fabric'], ['a@fabric', 'a.fabric']],
    ['**a*b', ['ab.ab', 'a.ab', 'xaxb'], ['a.b', 'ab.']],
    ['a*b*c', ['abc', 'abbc', 'axxbyyc'], ['ab.c', 'a.bc', 'ac']],
    ['a+b', ['a+b'], ['aab', 'ab']],
    ['(a|b)[c]{d}$\\', ['(a|b)[c]{d}$\\'], ['a']],
  ])('%s', (text, matching, other) => {
    const glob = compileGlob(text);
    expect(matching.filter((value) => !glob.matches(value))).toEqual([]);
    expect(other.filter((value) => glob.matches(value))).toEqual([]);
  });

  test('a regular expression and a long pattern are faults', () => {
    expect(globFault('^chat@.*$')).toMatch(/regular expressions/);
    expect(globFault('a'.repeat(257))).toMatch(/longer than 256/);
    expect([globFault('a'.repeat(256)), globFault('a^')]).toEqual([undefined, undefined]);
  });

  // A backtracking matcher needs more than 10^20 steps for this.
  test('a pattern of many wildcards is matched without backtracking', () => {
    const glob = compileGlob(`${'*a**a'.repeat(50)}b`);
    expect(glob.matches('a'.repeat(255))).toBe(false);
    expect(glob.matches(`${'a'.repeat(255)}b`)).toBe(true);
  });
});
