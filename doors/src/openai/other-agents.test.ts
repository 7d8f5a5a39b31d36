// Chat agents of other software: no journal to read, no options, no start with messages.
import { defineAgent, operation } from '@fame-fabric/agents';
import { FabricError } from '@fame-fabric/shared';
import { expect, test } from 'vitest';
import { z } from 'zod';
import { assistant, chat, system, user } from '../testing/chat-client.ts';
import { doorKit } from '../testing/door-kit.ts';
import { openAiDoor } from './openai-door.ts';

const id = z.object({ conversation_id: z.string() });

function plainAgent(describe: () => unknown) {
  const calls: unknown[] = [];
  const record = (name: string, params: z.ZodObject, answer: unknown) =>
    operation({
      params,
      run: (given) => {
        calls.push([name, given]);
        return answer;
      },
    });
  const agent = defineAgent({
    address: 'chat@fame.fabric',
    operations: {
      describe: operation({ run: describe }),
      'tasks/send': record('tasks/send', z.looseObject({}), {}),
      run_turn: record('run_turn', id.extend({ user_message: z.string() }), 'Hello'),
      end_conversation: record('end_conversation', id, null),
    },
  });
  return { agent, calls };
}

const described = () => ({ operations: [{ name: 'run_turn' }] });
const notDescribed = () => {
  throw new FabricError('METHOD_NOT_FOUND', 'There is no operation describe');
};

test.each([
  [true, described],
  [false, described],
  [false, notDescribed],
])('answers one message (stream: %s, %o)', async (stream, describe) => {
  const { agent, calls } = plainAgent(describe);
  await using kit = await doorKit(openAiDoor, { agents: [agent] });
  const answer = await chat(kit, {
    model: 'chat@fame.fabric',
    stream,
    messages: [system('Be brief'), user('Hi')],
  });
  expect(answer.status, answer.text).toBe(200);
  const text = stream
    ? answer.chunks.map(({ choices }) => choices[0]!.delta.content ?? '').join('')
    : answer.body.choices[0]!.message.content;
  expect(text).toBe('Hello');
  expect(JSON.stringify(calls)).toContain('"system_prompt":"Be brief"');
  expect(JSON.stringify(calls)).toContain('"Hi"');
});

test.each([
  ['a history', { messages: [user('a'), assistant('b'), user('c')] }, 'messages'],
  [
    'tools',
    { messages: [user('a')], tools: [{ type: 'function', function: { name: 'x', parameters: {} } }] },
    null,
  ],
])('refuses %s', async (_what, body, param) => {
  const { agent } = plainAgent(described);
  await using kit = await doorKit(openAiDoor, { agents: [agent] });
  const answer = await chat(kit, body);
  expect([answer.status, answer.body.error?.type, answer.body.error?.param]).toEqual([
    501,
    'server_error',
    param,
  ]);
  expect(answer.headers['x-should-retry']).toBe('false');
});
