import fc from 'fast-check';
import { expect, test } from 'vitest';
import { decodeId, encodeId, MAX_ID_CHARS } from './opaque-id.ts';

const FULL = { agent: 'chat@fame.fabric', conversation: 'c 1', turn: 't/ü', extra: 'x' };

test.each([
  FULL,
  { ...FULL, extra: undefined },
  { ...FULL, turn: undefined },
  { ...FULL, turn: undefined, extra: undefined },
])('an id keeps its fields: %o', (id) => {
  const text = encodeId('resp_', id);
  expect(text).toMatch(/^resp_[\w-]+$/);
  expect(decodeId('resp_', text)).toEqual(id);
});

test.each([
  '',
  'resp_',
  'resp_!!',
  'msg_WyJhIiwiYiJd',
  `resp_${Buffer.from('{}').toString('base64url')}`,
  `resp_${Buffer.from('["a"]').toString('base64url')}`,
  `resp_${Buffer.from('["a", "b"]').toString('base64url')}`,
  `resp_${Buffer.from('["a",null]').toString('base64url')}`,
  `resp_${Buffer.from('["a","b",1]').toString('base64url')}`,
  `resp_${Buffer.from('["a","b","c","d","e"]').toString('base64url')}`,
  'resp_'.padEnd(MAX_ID_CHARS + 1, 'A'),
])('%j is no id', (text) => {
  expect(decodeId('resp_', text)).toBeUndefined();
});

test('no text throws, and each id has one text', () => {
  fc.assert(
    fc.property(fc.string({ maxLength: 80 }), (text) => {
      const id = decodeId('r_', `r_${text}`);
      if (id) expect(encodeId('r_', id)).toBe(`r_${text}`);
    }),
  );
});
