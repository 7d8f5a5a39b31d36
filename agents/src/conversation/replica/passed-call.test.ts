import { expect, test } from 'vitest';
import { type PassedCall, signedCall, verifiedCall } from './passed-call.ts';

const KEY = Buffer.alloc(32, 7).toString('base64url');
const call: PassedCall = {
  to: 'me',
  conversation: undefined,
  method: 'run_turn',
  params: { b: 'naïve 😀 \ud83d', 2: 'two', 1: [null, -0, 1e21], undefined: undefined },
  caller: { principal: 'ada', mayUseAny: false },
  callId: 'c',
  replyTo: '__rpc__x@/s/n',
  isStream: false,
};
/** A call after its way over the wire. */
const received = (of: PassedCall = call, key = KEY) =>
  JSON.parse(JSON.stringify(signedCall(of, key))) as { call: PassedCall; code: string };

test('a call arrives as it was signed', () => {
  expect(verifiedCall(received(), KEY, 'me')).toEqual(JSON.parse(JSON.stringify(call)));
});

test.each([
  ['no code', { ...received(), code: '' }],
  ['a shorter code', { ...received(), code: received().code.slice(4) }],
  ['a code of another secret', received(call, Buffer.alloc(32).toString('base64url'))],
  ['a code of another call', { ...received(), code: received({ ...call, callId: 'd' }).code }],
  ['another caller', { ...received(), call: { ...call, caller: { principal: 'bob', mayUseAny: true } } }],
  ['another receiver', received({ ...call, to: 'other' })],
  ['no call', { call: undefined, code: received().code }],
  ['a text', { call: 'call', code: received().code }],
])('%s is refused', (_, given) => {
  expect(() => verifiedCall(given, KEY, 'me')).toThrow(expect.objectContaining({ code: 'AUTH_FORBIDDEN' }));
});
