// P10: an agent keeps serving after each of 28 hostile messages. The agent is our chat agent as a process; the messages reach
// it through the sentinel, each followed by an ordinary call.
import { beforeAll, expect, test } from 'vitest';
import { startOurAgent } from '../kit/commands.ts';
import type { Proc } from '../kit/processes.ts';
import { type Json, RawNode } from '../kit/raw-node.ts';
import { type OurSentinel, startOurSentinel } from '../kit/sentinel.ts';

const CHAT = 'chat@fame.fabric';
let sentinel: OurSentinel;
let agent: Proc;
let node: RawNode;
beforeAll(async () => {
  sentinel = await startOurSentinel();
  [agent, node] = await Promise.all([startOurAgent(sentinel), RawNode.attached(sentinel.url)]);
});

const rpc = (fields: Json): Json => ({ jsonrpc: '2.0', id: 'h', ...fields });
const nested = (depth: number): Json => JSON.parse(`${'{"a":'.repeat(depth)}null${'}'.repeat(depth)}`);

/** Payloads of Data frames to the agent, all of which a sentinel forwards. */
const PAYLOADS: readonly (readonly [string, Json])[] = [
  ['null', null],
  ['a number', 42],
  ['an empty text', ''],
  ['an empty list', []],
  ['an empty object', {}],
  ['a method that is null', rpc({ method: null })],
  ['a method that is an object', rpc({ method: { toString: 'run_turn' } })],
  ['an empty method', rpc({ method: '' })],
  ['a method of Object.prototype', rpc({ method: 'constructor' })],
  ['the method __proto__', rpc({ method: '__proto__' })],
  ['a method of 100,000 letters', rpc({ method: 'x'.repeat(100_000) })],
  ['an id that is an object', { jsonrpc: '2.0', id: { a: 1 }, method: 'describe' }],
  ['no id', { jsonrpc: '2.0', method: 'describe' }],
  ['another version', { jsonrpc: '1.0', id: 'h', method: 'describe' }],
  ['params that are a number', rpc({ method: 'run_turn', params: 7 })],
  ['params that are null', rpc({ method: 'run_turn', params: null })],
  ['args that are an object', rpc({ method: 'run_turn', params: { args: { length: 1e9 } } })],
  ['too many args', rpc({ method: 'run_turn', params: { args: Array(5_000).fill('x') } })],
  [
    'kwargs named __proto__',
    rpc({ method: 'run_turn', params: JSON.parse('{"args":[],"kwargs":{"__proto__":{"x":1}}}') }),
  ],
  ['params nested 50 deep', rpc({ method: 'run_turn', params: nested(50) })],
  [
    'a conversation id of 100,000 letters',
    rpc({ method: 'run_turn', params: { args: ['x'.repeat(100_000), 'hi'] } }),
  ],
  ['a task without message', rpc({ method: 'tasks/send', params: { id: 't' } })],
  [
    'a task whose parts are not a list',
    rpc({ method: 'tasks/send', params: { id: 't', message: { role: 'user', parts: 'x' } } }),
  ],
  [
    'a push target that is a local page',
    rpc({
      method: 'tasks/pushNotification/set',
      params: { id: 't', pushNotificationConfig: { url: 'http://127.0.0.1:1/' } },
    }),
  ],
  ['a subscription to no task', rpc({ method: 'tasks/resubscribe', params: { id: 'none' } })],
  ['a result of a call that it never made', { jsonrpc: '2.0', id: 'h', result: 1 }],
  ['an error of a call that it never made', { jsonrpc: '2.0', id: 'h', error: { code: 1, message: 'x' } }],
  ['a task of an unknown method', rpc({ method: 'tasks/destroy', params: { id: 't' } })],
];

test('the list has 28 payloads', () => {
  expect(PAYLOADS).toHaveLength(28);
});

test.each(PAYLOADS)('P10, Q3: the agent keeps serving after %s', async (_what, payload) => {
  for (const rtype of [2, 4]) {
    node.send({
      to: CHAT,
      replyTo: node.replyTo(),
      rtype,
      corrId: `h${rtype}`,
      frame: { type: 'Data', payload },
    });
  }
  node.send({ to: CHAT, frame: { type: 'Data', payload } });
  const reply = await node.call(CHAT, 'describe', { args: [] });
  expect(reply.frame.payload.result).toMatchObject({ address: CHAT });
  expect(agent.alive).toBe(true);
});

test('P10, Q20: an error reply carries no stack and no path of the agent’s files', async () => {
  const answers = node.inbox.filter((m) => m.frame?.payload?.error !== undefined);
  expect(answers.length).toBeGreaterThan(10);
  for (const answer of answers)
    expect(JSON.stringify(answer)).not.toMatch(/\.ts:\d|\.js:\d|node_modules| {4}at /);
});
