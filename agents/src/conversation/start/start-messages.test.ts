import { afterEach, describe, expect, test } from 'vitest';
import type { ModelMessage, ModelRequest } from '../../model/model.ts';
import { MemoryStore } from '../../store/memory-store.ts';
import { type ServedChat, servedChat } from '../../testing/served-chat.ts';
import { type ScriptedModel, scriptedModel } from '../../testing.ts';
import { ChatAgent, type ChatAgentOptions } from '../chat-agent.ts';
import { showConversation } from '../reading/inspect.ts';

const served: ServedChat[] = [];
afterEach(async () => {
  for (const one of served.splice(0)) await one.close();
});
const echo = (request: ModelRequest): string => `${request.messages.length} messages`;
const echoes = (count = 8): ScriptedModel => scriptedModel(Array.from({ length: count }, () => echo));
async function serve(model: ScriptedModel, options: Partial<ChatAgentOptions> = {}): Promise<ServedChat> {
  const chat = await servedChat(new ChatAgent({ model, systemPrompt: 'Be brief.', ...options }));
  served.push(chat);
  return chat;
}

const user = (content: string): ModelMessage => ({ role: 'user', content });
const assistant = (content: string): ModelMessage => ({ role: 'assistant', content });
const look = (id: string) => ({
  id,
  type: 'function' as const,
  function: { name: 'look', arguments: '{}' },
});
const calls = (...ids: string[]): ModelMessage => ({
  role: 'assistant',
  content: null,
  tool_calls: ids.map(look),
});
const result = (id: string, content = 'seen'): ModelMessage => ({
  role: 'tool',
  tool_call_id: id,
  content,
});
const DIALOGUE = [user('one'), calls('c1', 'c2'), result('c2'), result('c1'), assistant('I looked.')];

describe('a conversation that starts with messages', () => {
  test('sends them to the model before its turns', async () => {
    const model = echoes();
    const { start, say, call } = await serve(model);
    await start({ id: 'c', messages: DIALOGUE });
    expect(await call('get_history', { conversation_id: 'c' })).toEqual(DIALOGUE);
    expect(await say('c', 'two')).toBe('7 messages');
    expect(await say('c', 'three')).toBe('9 messages');
    const system = { role: 'system', content: 'Be brief.' };
    expect(model.requests[1]!.messages).toEqual([
      system,
      ...DIALOGUE,
      user('two'),
      assistant('7 messages'),
      user('three'),
    ]);
    model.assertValid();
  });

  test('keeps them after a restart', async () => {
    const store = new MemoryStore();
    const first = await serve(echoes(), { store });
    await first.start({ id: 'c', messages: DIALOGUE });
    await first.close();
    const model = echoes();
    const second = await serve(model, { store });
    expect(await second.say('c', 'two')).toBe('7 messages');
    expect(await second.call('get_history', { conversation_id: 'c' })).toHaveLength(7);
  });

  test('keeps their last turns only, and cuts before a message of the user', async () => {
    const model = echoes();
    const { start, say } = await serve(model);
    const messages = [assistant('Welcome!'), user('a'), assistant('A'), user('b'), user('c'), assistant('C')];
    await start({ id: 'c', messages, max_history_length: 2 });
    await say('c', 'two');
    await say('c', 'three');
    const [first, second] = model.requests.map((request) => request.messages.slice(1));
    expect(first!.slice(0, -1)).toEqual(messages.slice(1));
    expect(second!.map(({ content }) => content)).toEqual(['b', 'c', 'C', 'two', '7 messages', 'three']);
  });

  test('is shown with them', async () => {
    const store = new MemoryStore();
    const { start } = await serve(echoes(), { store });
    await start({ id: 'c', messages: DIALOGUE });
    await start({ id: 'plain' });
    expect(await showConversation(store, 'c')).toMatchObject({
      messages: DIALOGUE,
      turns: 0,
      transcript: [],
    });
    expect((await showConversation(store, 'plain')).messages).toEqual([]);
  });

  test('accepts the messages of chat clients, with fields of other APIs and empty fields', async () => {
    const model = echoes();
    const { start, say } = await serve(model);
    const messages = [
      { role: 'user', content: 'a', name: 'ada' },
      { role: 'assistant', content: 'A', tool_calls: null, refusal: null },
    ];
    await start({ id: 'c', messages });
    await say('c', 'two');
    expect(model.requests[0]!.messages.slice(1, 3)).toEqual([user('a'), assistant('A')]);
  });

  test('may leave calls of the caller open, whose results come with the first turn', async () => {
    const model = echoes();
    const { start, say, call } = await serve(model);
    const messages = [user('a'), calls('c1', 'c2'), result('c1')];
    expect(await start({ id: 'c', messages })).toMatchObject({ status: { state: 'input-required' } });
    await expect(say('c', 'two')).rejects.toMatchObject({
      code: 'PARAMS_INVALID',
      details: { calls: ['c2'] },
    });
    const tool_results = [{ tool_call_id: 'c2', content: 'opened' }];
    const turn = { conversation_id: 'c', turn_id: 't', tool_results };
    expect(await call('run_turn', turn)).toBe('5 messages');
    expect(model.requests[0]!.messages.slice(1)).toEqual([...messages, result('c2', 'opened')]);
    expect(await call('get_prompt', { conversation_id: 'c', turn_id: 't', step: 1 })).toMatchObject({
      messages: model.requests[0]!.messages,
      verified: true,
    });
    expect(await call('tasks/get', { id: 'c' })).toMatchObject({ status: { state: 'working' } });
  });

  test('takes 400 messages', async () => {
    const { start, call } = await serve(echoes());
    const messages = Array.from({ length: 400 }, (_, i) => (i % 2 ? assistant('A') : user('a')));
    await start({ id: 'c', messages, max_history_length: 200 });
    expect(await call('get_history', { conversation_id: 'c' })).toHaveLength(400);
  });
});

describe('messages that a model server would refuse', () => {
  const deep = (depth: number): string => '['.repeat(depth) + ']'.repeat(depth);
  test.each<[string, unknown, string]>([
    ['no list', 'hello', 'messages: '],
    ['null in the list', [null], 'messages.0: must be a message'],
    ['a system message', [{ role: 'system', content: 'x' }], 'messages.0.role: must be a message'],
    ['an unknown role', [{ role: 'developer', content: 'x' }], 'messages.0.role: must be a message'],
    ['content of a user that is no text', [{ role: 'user', content: { a: 1 } }], 'messages.0.content: '],
    ['a user without content', [{ role: 'user' }], 'messages.0.content: '],
    ['a list of parts', [{ role: 'user', content: [{ type: 'text', text: 'x' }] }], 'messages.0.content: '],
    [
      'an empty assistant',
      [user('a'), { role: 'assistant', content: null }],
      'messages.1: must have content',
    ],
    ['a result without its call', [user('a'), result('c1')], 'messages.1: answers no open call'],
    ['a second result', [user('a'), calls('c1'), result('c1'), result('c1')], 'messages.3: answers no open'],
    ['an open call', [user('a'), calls('c1', 'c2'), result('c1'), user('b')], 'messages.3: comes before'],
    ['a call id twice', [user('a'), calls('c1', 'c1')], 'messages.1: uses a call id twice'],
    ['the user at the end', [user('a'), assistant('A'), user('b')], 'messages.2: must be of the assistant'],
    ['a result at the end', [user('a'), calls('c1'), result('c1')], 'messages.2: must be of the assistant'],
    ['a long call id', [user('a'), calls('x'.repeat(41)), assistant('A')], 'messages.1.tool_calls.0.id: '],
    [
      'arguments that are not JSON',
      [
        user('a'),
        { role: 'assistant', tool_calls: [{ ...look('c1'), function: { name: 'f', arguments: '{' } }] },
      ],
      'messages.1.tool_calls.0.function.arguments: must be JSON',
    ],
    [
      'a name that no server takes',
      [
        user('a'),
        { role: 'assistant', tool_calls: [{ ...look('c1'), function: { name: 'a b', arguments: '' } }] },
      ],
      'messages.1.tool_calls.0.function.name: ',
    ],
    [
      '129 calls',
      [user('a'), calls(...Array.from({ length: 129 }, (_, i) => `c${i}`))],
      'messages.1.tool_calls: ',
    ],
    ['401 messages', Array.from({ length: 401 }, () => assistant('A')), 'messages: '],
    [
      'more than 1 MiB',
      [user('€'.repeat(349_526)), assistant('A')],
      'messages: must be at most 1048576 bytes',
    ],
    [
      'JSON instead of a text',
      [user('a'), { role: 'assistant', content: JSON.parse(deep(60)) }],
      'messages.1.content: ',
    ],
  ])('%s', async (_, messages, fault) => {
    const { start, call } = await serve(echoes(0));
    await expect(start({ id: 'c', messages })).rejects.toMatchObject({
      code: 'PARAMS_INVALID',
      message: expect.stringContaining(fault),
    });
    await expect(call('get_history', { conversation_id: 'c' })).rejects.toMatchObject({
      code: 'CONVERSATION_UNKNOWN',
    });
  });
});
