import { describe, expect, test } from 'vitest';
import { FabricError } from '../errors/error.ts';
import { EnvReader, readEnv } from './read-env.ts';
import type { Environment } from './variable.ts';

function read<T>(env: Environment, use: (reader: EnvReader) => T): { value: T; faults: readonly string[] } {
  const reader = new EnvReader(env);
  return { value: use(reader), faults: reader.faults };
}

describe('EnvReader', () => {
  test('text is trimmed, and an empty value is unset', () => {
    expect(read({ A: '  x y ' }, (env) => env.text('A')).value).toBe('x y');
    expect(read({ A: '  ' }, (env) => env.text('A')).value).toBeUndefined();
    expect(read({}, (env) => env.text('A')).value).toBeUndefined();
  });

  test.each(['1', '500', '0500'])('"%s" is an integer within its bounds', (A) => {
    expect(read({ A }, (env) => env.integer('A', 7, 1, 500))).toEqual({ value: Number(A), faults: [] });
  });

  test.each(['0', '501', '-1', '1.5', '1e2', '0x10', 'many', '1 2'])('"%s" is not', (A) => {
    expect(read({ A }, (env) => env.integer('A', 7, 1, 500))).toEqual({
      value: 7,
      faults: [`A is "${A}"; expected a whole number from 1 to 500`],
    });
  });

  test('a choice ignores case and takes no inherited property', () => {
    const choices = { low: 1, high: 2 };
    expect(read({ A: 'HIGH' }, (env) => env.choice('A', 1, choices)).value).toBe(2);
    expect(read({}, (env) => env.choice('A', 1, choices)).value).toBe(1);
    expect(read({ A: 'toString' }, (env) => env.choice('A', 1, choices)).faults).toEqual([
      'A is "toString"; expected one of low, high',
    ]);
  });

  test('a boolean has several spellings', () => {
    const spelled = (A: string) => read({ A }, (env) => env.boolean('A', false));
    expect(['true', 'Yes', '1', 'on', 'false', 'no', '0', 'off'].map((A) => spelled(A).value)).toEqual([
      true,
      true,
      true,
      true,
      false,
      false,
      false,
      false,
    ]);
    expect(spelled('maybe').faults).toEqual(['A is "maybe"; expected true or false']);
  });

  test('a list has no empty items', () => {
    expect(read({ A: ' a, ,b,' }, (env) => env.list('A')).value).toEqual(['a', 'b']);
    expect(read({ A: 'a b,c' }, (env) => env.list('A', /[\s,]+/)).value).toEqual(['a', 'b', 'c']);
    expect(read({}, (env) => env.list('A')).value).toEqual([]);
  });

  const WEB_SOCKET = { protocols: ['ws:', 'wss:'], example: 'ws://host/downstream', ending: '/downstream' };

  test('a URL has one of the protocols, a host and the right ending', () => {
    expect(read({ A: 'wss://host/downstream' }, (env) => env.url('A', WEB_SOCKET))).toEqual({
      value: 'wss://host/downstream',
      faults: [],
    });
  });

  test.each(['http://host/downstream', 'ws://host/peer', 'ws:///downstream', 'downstream'])(
    '%s is not such a URL',
    (A) => {
      expect(read({ A }, (env) => env.url('A', WEB_SOCKET))).toEqual({
        value: undefined,
        faults: [
          `A is "${A}"; expected a URL that begins with ws:// or wss:// and ends with /downstream, such as ws://host/downstream`,
        ],
      });
    },
  );

  test('a fault repeats no secret', () => {
    const key = 'sk-proj-abcdefghijklmnopqrstuvwxyz';
    const url = 'http://user:password@host/path?token=secret';
    const { faults } = read({ A: `${key} `, B: url, C: 'with blank', D: key }, (env) => {
      env.integer('A', 1, 1, 2);
      env.url('B', WEB_SOCKET);
      env.secret('C');
      expect(env.secret('D')).toBe(key);
    });
    expect(faults).toHaveLength(3);
    expect(faults[0]).toMatch(/^A is "sk-p…"/);
    expect(faults.join('\n')).not.toMatch(/abcdef|password|secret|with blank/);
  });

  test('c96: quotes around a value are taken off, but not those of a free text', () => {
    const { faults } = read(
      { A: '"5"', B: "'wss://host/downstream'", C: '"key"', D: '"Hi"', E: '"x', F: '""' },
      (env) => {
        expect(env.integer('A', 1, 1, 9)).toBe(5);
        expect(env.url('B', WEB_SOCKET)).toBe('wss://host/downstream');
        expect(env.secret('C')).toBe('key');
        expect(env.text('D')).toBe('"Hi"');
        expect(env.unquoted('E')).toBe('"x');
        expect(env.unquoted('F')).toBeUndefined();
      },
    );
    expect(faults).toEqual([]);
  });

  test('a fault cuts a long value', () => {
    const { faults } = read({ A: 'x y '.repeat(1_000) }, (env) => env.integer('A', 1, 1, 2));
    expect(faults[0]!.length).toBeLessThan(200);
  });
});

describe('readEnv', () => {
  test('returns a deeply frozen configuration', () => {
    const config = readEnv({ A: '5' }, (env) => ({
      a: env.integer('A', 1, 1, 9),
      b: { list: env.list('B') },
    }));
    expect(config).toEqual({ a: 5, b: { list: [] } });
    expect([config, config.b, config.b.list].every(Object.isFrozen)).toBe(true);
  });

  test('reports every fault at once', () => {
    const make = () =>
      readEnv({ A: 'x', B: 'y' }, (env) => ({ a: env.integer('A', 1, 1, 9), b: env.boolean('B', true) }));
    const faults = ['A is "x"; expected a whole number from 1 to 9', 'B is "y"; expected true or false'];
    expect(make).toThrow(FabricError);
    expect(make).toThrow(
      expect.objectContaining({
        code: 'CONFIG_INVALID',
        message: `The configuration has 2 faults:\n  ${faults.join('\n  ')}`,
        details: { faults },
      }),
    );
  });
});
