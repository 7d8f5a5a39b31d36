import { chmodSync, mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import {
  keysOf,
  keysText,
  makeKeysFilePrivate,
  nameFault,
  parseKeys,
  partsOfKey,
  patternFault,
  readKeysFile,
} from './keys-file.ts';

const KEY = {
  name: 'ada',
  role: 'client',
  created: '2026-11-29T12:00:00.000Z',
  id: '0123456789ab',
  sha256: 'a'.repeat(64),
};
const line = (more: Record<string, unknown> = {}): string => JSON.stringify({ ...KEY, ...more });

describe('parseKeys', () => {
  test('reads keys, and keeps comments and empty lines', () => {
    const text = `# team A\n\n${line({ expires: '2026-12-29T12:00:00.000Z', allow: ['*@fame.fabric'] })}\n`;
    const lines = parseKeys(text, 'keys');
    expect(keysOf(lines)).toEqual([
      {
        name: 'ada',
        role: 'client',
        id: KEY.id,
        sha256: KEY.sha256,
        createdAt: Date.parse('2026-11-29T12:00:00Z'),
        expiresAt: Date.parse('2026-12-29T12:00:00Z'),
        allow: ['*@fame.fabric'],
      },
    ]);
    const reordered = parseKeys(keysText(lines), 'keys');
    expect(reordered).toEqual(lines);
    expect(keysText(lines).split('\n').slice(0, 2)).toEqual(['# team A', '']);
  });

  test.each<[string, string]>([
    ['nonsense', 'is not a JSON object'],
    ['[]', 'is not a JSON object'],
    [
      line({ role: 'agnet' }),
      'has the role "agnet"; expected client, agent, sentinel, door, admin. Did you mean agent?',
    ],
    [line({ role: undefined }), 'has the role (none)'],
    [line({ expire: 'x' }), 'has the unknown field "expire"; did you mean "expires"?'],
    [line({ expires: 'tomorrow' }), 'has the expires "tomorrow"; expected a time such as'],
    [line({ expires: null }), 'has the expires null'],
    [line({ sha256: 'abc' }), 'has the sha256 "abc"; expected 64 hexadecimal digits'],
    [line({ id: 'local' }), 'has the id "local"'],
    [line({ name: 'local' }), 'has a wrong name: the name "local" is reserved'],
    [line({ name: 'jwt:x' }), 'has a wrong name'],
    [line({ allow: 'x' }), 'has no valid allow'],
    [line({ allow: ['chat'] }), 'has a wrong pattern in allow: "chat" is not a pattern of addresses'],
    [line({ allow: [5] }), 'has a wrong pattern in allow: 5 is not a text'],
    [line({ allow: Array(65).fill('a@b') }), 'has no valid allow'],
  ])('refuses %s with its line', (bad, fault) => {
    const parse = () => parseKeys(`${line({ id: 'ffffffffffff' })}\n${bad}\n`, '/x/keys');
    expect(parse).toThrow(expect.objectContaining({ code: 'CONFIG_INVALID' }));
    expect(parse).toThrow(`The keys file /x/keys:2 ${fault}`);
  });

  test('refuses a second line with the same id', () => {
    expect(() => parseKeys(`${line()}\n#\n${line()}\n`, 'keys')).toThrow(
      'keys:3 has the id "0123456789ab" of line 1 again',
    );
  });
});

test('a key has an id and a secret', () => {
  const secret = 'A'.repeat(43);
  expect(partsOfKey(`fk_0123456789ab_${secret}`)).toEqual({ id: '0123456789ab', secret });
  for (const token of [`fk_local_${secret}`, `fk_0123456789ab_${secret}A`, 'fk_0123456789ab_', 'x'])
    expect(partsOfKey(token)).toBeUndefined();
});

test.each(['a', 'ada.l-1_x', '0', 'a'.repeat(64)])('"%s" is a name', (name) => {
  expect(nameFault(name)).toBeUndefined();
});
test.each(['', 'A', '-a', 'a b', 'a:b', 'a/b', 'anonymous', 'local', 'a'.repeat(65)])(
  '"%s" is no name',
  (name) => {
    expect(nameFault(name)).toBeDefined();
  },
);

test.each(['chat@fame.fabric', '*@*.fabric', '**', 'billing**', 'Call:a@b'])(
  '"%s" is a pattern',
  (pattern) => {
    expect(patternFault(pattern)).toBeUndefined();
  },
);
test.each(['', 'chat', '*', 'Cal:a@b', 'a b@c', 'ä@b', `${'a'.repeat(256)}@b`])(
  '"%s" is no pattern',
  (pattern) => {
    expect(patternFault(pattern)).toBeDefined();
  },
);

describe('the file', () => {
  let directory: string;
  let file: string;
  beforeEach(() => {
    directory = mkdtempSync(join(tmpdir(), 'fame-keys-'));
    file = join(directory, 'keys');
  });
  afterEach(() => rmSync(directory, { recursive: true }));

  test('has no keys if it does not exist', () => {
    expect(readKeysFile(file)).toEqual([]);
    expect(makeKeysFilePrivate(file)).toBe(false);
    writeFileSync(file, '');
    expect(readKeysFile(join(file, 'data', 'keys'))).toEqual([]);
  });

  test('is refused if other users can write it', () => {
    writeFileSync(file, `${line()}\n`);
    chmodSync(file, 0o620);
    expect(() => readKeysFile(file)).toThrow(
      'can be written by other users, who could add keys to it: chmod 600',
    );
  });

  test('is made private if other users can read it', () => {
    writeFileSync(file, `${line()}\n`);
    chmodSync(file, 0o644);
    expect(keysOf(readKeysFile(file))).toHaveLength(1);
    expect(makeKeysFilePrivate(file)).toBe(true);
    expect(statSync(file).mode & 0o777).toBe(0o600);
    expect(makeKeysFilePrivate(file)).toBe(false);
  });

  test('is refused if it is large', () => {
    writeFileSync(file, '#'.repeat(1_048_577), { mode: 0o600 });
    expect(() => readKeysFile(file)).toThrow('has more than 1048576 bytes');
  });
});
