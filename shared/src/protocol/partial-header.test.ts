import { expect, test } from 'vitest';
import { parsePartialHeader } from './partial-header.ts';

const bytes = (value: unknown): Uint8Array =>
  new TextEncoder().encode(typeof value === 'string' ? value : JSON.stringify(value));

test('reads the fields that are texts of a possible length', () => {
  const message = {
    id: 'i',
    to: 7,
    replyTo: 'caller@/s/1',
    corrId: 'c',
    flowId: 'x'.repeat(257),
    rtype: 'none',
    frame: { type: 'Data', payload: { jsonrpc: '2.0', method: 'add' } },
  };
  expect(parsePartialHeader(bytes(message))).toEqual({
    id: 'i',
    replyTo: 'caller@/s/1',
    corrId: 'c',
    frameType: 'Data',
    isReply: false,
  });
});

test('recognizes a reply, which no answer must follow', () => {
  const message = { frame: { type: 'Data', payload: { jsonrpc: '2.0', result: 1 } } };
  expect(parsePartialHeader(bytes(message))).toEqual({ frameType: 'Data', isReply: true });
});

test.each([[{}], [{ frame: null }], [{ frame: 'Data' }], [{ frame: { type: 5 } }], [[]]])(
  'reads %j, which has no frame',
  (message) => {
    expect(parsePartialHeader(bytes(message))).toEqual({ frameType: undefined, isReply: false });
  },
);

test.each(['', 'null', '5', '{"id":"i"', '"text"'])('reads nothing from %j', (message) => {
  expect(parsePartialHeader(bytes(message))).toBeUndefined();
});

test('reads nothing from a message that is longer than the limit', () => {
  const message = bytes({ id: 'i' });
  expect(parsePartialHeader(message, message.byteLength)).toMatchObject({ id: 'i' });
  expect(parsePartialHeader(message, message.byteLength - 1)).toBeUndefined();
  expect(parsePartialHeader(bytes({ id: 'i', x: 'x'.repeat(1_048_576) }))).toBeUndefined();
});
