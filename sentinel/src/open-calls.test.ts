import { ANONYMOUS } from '@fame-fabric/shared/internal';
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

test('items do not end a stream, regardless of their content and formatting', () => {
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

const node = (path: string): Session => ({ path, kind: 'node', terms: { principal: ANONYMOUS } }) as Session;
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

test('nodes without a key share the room for calls, and each may have as many as the others leave', () => {
  const calls = new OpenCalls(4, 6);
  const [a, b, callee] = [node('/S/a'), node('/S/b'), node('/S/callee')];
  const ours = { ...node('/S/ours'), terms: { principal: { id: 'local', roles: [] } } } as unknown as Session;
  const room = () => [a, b, ours].map((caller) => [calls.maxOf(caller), calls.hasRoom(caller)]);
  for (let n = 0; n < 3; n++) open(calls, a, callee, `c${n}`);
  expect(room()).toEqual([
    [3, false],
    [3, true],
    [4, true],
  ]);
  open(calls, b, callee, 'c');
  const last = open(calls, b, callee, 'd');
  expect(room()).toEqual([
    [1, false],
    [1, false],
    [4, true],
  ]);
  for (let n = 0; n < 4; n++) open(calls, ours, callee, `c${n}`);
  calls.close(last);
  calls.close(last);
  expect(room()).toEqual([
    [2, false],
    [2, true],
    [4, false],
  ]);
  for (const caller of [a, b]) calls.takeMadeBy(caller);
  expect(room()).toEqual([
    [4, true],
    [4, true],
    [4, false],
  ]);
});

test('the calls of nodes without a key leave room at each sentinel of the cluster', () => {
  const calls = new OpenCalls(10, 10, 2);
  const [a, b] = [node('/S/a'), node('/S/b')];
  const member = { ...node('/T'), kind: 'member' } as Session;
  const ours = { ...node('/S/ours'), terms: { principal: { id: 'local', roles: [] } } } as unknown as Session;
  open(calls, a, member, 'c');
  expect(calls.mayServe(member, b)).toBe(true);
  open(calls, b, member, 'c');
  expect([a, b, ours].map((caller) => calls.mayServe(member, caller))).toEqual([false, false, true]);
});

test('the calls of nodes without a key leave room at each callee for those with one', () => {
  const calls = new OpenCalls(10, 10, 2);
  const [a, b, callee] = [node('/S/a'), node('/S/b'), node('/S/callee')];
  const peer = { ...callee, kind: 'peer' } as Session;
  const ours = { ...node('/S/ours'), terms: { principal: { id: 'local', roles: [] } } } as unknown as Session;
  const may = () => [a, b, ours].map((caller) => calls.mayServe(callee, caller));
  open(calls, ours, callee, 'c');
  const first = open(calls, a, callee, 'c');
  expect(may()).toEqual([true, true, true]);
  open(calls, b, callee, 'c');
  expect(may()).toEqual([false, false, true]);
  expect([calls.mayServe(node('/S/other'), a), calls.mayServe(peer, a)]).toEqual([true, true]);
  calls.close(first);
  expect(may()).toEqual([true, true, true]);
});
