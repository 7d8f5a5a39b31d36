import { expect, test } from 'vitest';
import { endsStream, itemHeadOf, type OpenCall, OpenCalls } from './open-calls.ts';
import type { Session } from './session/session.ts';

const call = { corrId: 'c1', isStream: true, itemHead: itemHeadOf('c1') } as OpenCall;
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

test('a message that is not a reply does not end a stream', () => {
  expect(ends({ error: 'not a reply' })).toBe(false);
});

const node = (path: string): Session => ({ path }) as Session;
const header = { id: 'id', to: 'svc@fame.fabric', replyTo: '__rpc__x@/S/caller', rtype: 2, timeoutMs: 0 };
const open = (calls: OpenCalls, caller: Session, callee: Session, corrId: string): OpenCall => {
  calls.open(caller, callee, { ...header, corrId }, 'awaited', 0);
  return calls.find(caller, corrId, header.replyTo)!;
};

test('the drain waits until the last open call is closed, and not if there is none', async () => {
  const calls = new OpenCalls(10);
  await calls.whenNone();
  const [a, b] = [node('/S/a'), node('/S/b')];
  const first = open(calls, a, b, 'c1');
  const second = open(calls, b, a, 'c2');
  let isIdle = false;
  const waiting = calls.whenNone().then(() => {
    isIdle = true;
  });
  calls.close(first);
  await Promise.resolve();
  expect(isIdle).toBe(false);
  calls.close(second);
  await waiting;
  expect(calls.count).toBe(0);
});

test('the same corrId of two callers names two calls', () => {
  const calls = new OpenCalls(2);
  const [one, two, callee] = [node('/S/one'), node('/S/two'), node('/S/callee')];
  open(calls, one, callee, 'c');
  open(calls, two, callee, 'c');
  calls.close(calls.find(one, 'c', header.replyTo)!);
  expect(calls.find(one, 'c', header.replyTo)).toBeUndefined();
  expect(calls.find(two, 'c', header.replyTo)).toBeDefined();
});
