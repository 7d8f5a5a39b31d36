// Agents with operations only through the A2A door: a message calls an operation, and the answer is a message.
import { defineAgent, operation } from '@fame-fabric/agents';
import { expect, test } from 'vitest';
import { z } from 'zod';
import { type Json, messageOf, rpc, rpcStream } from '../testing/a2a-kit.ts';
import { type DoorKit, doorKit } from '../testing/door-kit.ts';
import { a2aDoor } from './a2a-door.ts';

const ID = 'message-00000000-0001';
const options = { url: '/a2a/math@fame.fabric' };

const math = (): Promise<DoorKit> =>
  doorKit(a2aDoor, {
    agents: [
      defineAgent({
        address: 'math@fame.fabric',
        operations: {
          add: operation({
            description: 'Adds.',
            params: z.object({ a: z.number() }),
            run: (params) => ({ sum: JSON.stringify(params) }),
          }),
          hello: operation({ run: () => 'hello' }),
          count: operation({
            async *run() {
              for (let n = 0; ; n++) yield n;
            },
          }),
        },
      }),
    ],
  });
const call = (data: Json): Json => messageOf('', ID, { parts: [{ data }] });

test('a data part names the operation and its parameters', async () => {
  await using kit = await math();
  const message = call({ operation: 'add', params: { a: 1 } });
  const { result } = await rpc(kit, 'SendMessage', { message }, options);
  expect(result).toEqual({
    message: {
      messageId: expect.any(String),
      contextId: expect.stringMatching(/^a2a-/),
      role: 'ROLE_AGENT',
      parts: [{ data: { sum: '{"a":1}' } }],
    },
  });
  const hello = await rpc(kit, 'SendMessage', { message: call({ operation: 'hello' }) }, options);
  expect(hello.result.message.parts).toEqual([{ text: 'hello' }]);
});

test('a stream has one message, with a limited number of items', async () => {
  await using kit = await math();
  const message = call({ operation: 'count' });
  const updates = await (await rpcStream(kit, 'SendStreamingMessage', { message }, options)).rest();
  expect(updates).toHaveLength(1);
  expect(updates[0]!.message.parts[0].data.items).toEqual(Array.from({ length: 1_000 }, (_, n) => n));
});

test('the operations are the skills of the card', async () => {
  await using kit = await math();
  const card = (await kit.inject({ url: `${options.url}/.well-known/agent-card.json` })).json();
  expect(card.skills).toMatchObject([
    { id: 'add', description: 'Adds.', tags: ['operation'] },
    { id: 'hello' },
    { id: 'count' },
  ]);
});

test.each<[string, Json]>([
  ['a text', messageOf('add', ID)],
  ['an unknown operation', call({ operation: 'nope' })],
  ['an operation that is no text', call({ operation: { $ne: 1 } })],
])('%s is refused', async (_name, message) => {
  await using kit = await math();
  const { error } = await rpc(kit, 'SendMessage', { message }, options);
  expect(error).toMatchObject({ code: -32602, message: expect.stringContaining('add, hello, count') });
});

test('the agent has no tasks', async () => {
  await using kit = await math();
  for (const method of ['GetTask', 'CancelTask', 'SubscribeToTask'])
    expect((await rpc(kit, method, { id: 'x' }, options)).error.code, method).toBe(-32001);
  expect((await rpc(kit, 'ListTasks', {}, options)).result.tasks).toEqual([]);
});
