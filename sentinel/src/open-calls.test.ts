import { expect, test } from 'vitest';
import { endsStream, itemHeadOf, type OpenCall } from './open-calls.ts';

const call = { corrId: 'c1', isStream: true, itemHead: itemHeadOf('c1', true) } as OpenCall;
const ends = (payload: unknown): boolean => {
  const bytes = Buffer.from(
    JSON.stringify({ id: 'e', to: 'x@/S/n', corrId: 'c1', frame: { type: 'Data', payload } }),
  );
  return endsStream(bytes, bytes.indexOf('"frame":') + 8, call);
};
const reply = (more: object): object => ({ jsonrpc: '2.0', id: 'c1', ...more });

test('items do not end a stream, whatever they contain and however they are formatted', () => {
  for (const result of [
    0,
    '',
    'null',
    false,
    { result: null },
    { error: 'x' },
    [null],
    { text: '"result":null' },
  ]) {
    expect(ends(reply({ result })), JSON.stringify(result)).toBe(false);
    expect(ends({ id: 'c1', result, jsonrpc: '2.0' }), JSON.stringify(result)).toBe(false);
  }
});

test('a null result, an error or a missing result ends a stream', () => {
  expect(ends(reply({ result: null }))).toBe(true);
  expect(ends(reply({}))).toBe(true);
  expect(ends(reply({ error: { code: -32603, message: 'no', data: { result: 1 } } }))).toBe(true);
  expect(ends(reply({ error: { code: 1, message: 'no' }, result: null }))).toBe(true);
});

test('a message that is no reply does not end a stream', () => {
  expect(ends({ error: 'not a reply' })).toBe(false);
});
