// Cases that users of agent frameworks have reported, about conversations. Each test is named by the id of its case.
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, expect, test } from 'vitest';
import { z } from 'zod';
import { openaiModel } from '../model/openai/openai-model.ts';
import { SqliteStore } from '../store/sqlite/sqlite-store.ts';
import { type FakeOpenAI, fakeOpenAI, httpError, type WireRequest } from '../testing/openai-server.ts';
import { callTools, reply, type Scripted } from '../testing/script.ts';
import { type ServedChat, servedChat } from '../testing/served-chat.ts';
import { checkTranscript } from '../testing/transcript-validator.ts';
import { tool } from '../tools/tool.ts';
import { ToolSet } from '../tools/tool-set.ts';
import { ChatAgent } from './chat-agent.ts';

const open: { close(): Promise<unknown> }[] = [];
afterEach(async () => {
  for (const one of open.splice(0).reverse()) await one.close();
});

/** Serves a chat agent whose model server answers with `respond`. */
async function serve(
  respond: (request: WireRequest, index: number) => Scripted,
  tools?: ToolSet,
): Promise<{ chat: ServedChat; server: FakeOpenAI }> {
  const server = await fakeOpenAI({ respond });
  const model = openaiModel({ model: 'm', apiKey: 'sk-test', baseURL: server.url });
  const chat = await servedChat(new ChatAgent({ model, ...(tools ? { tools } : {}) }));
  open.push(server, chat);
  return { chat, server };
}
/** The messages of a request without the system message. */
const seen = (server: FakeOpenAI, index: number) =>
  server.requests[index]!.body.messages.filter(({ role }) => role !== 'system');
const lastOf = (request: WireRequest): string => request.messages.at(-1)?.content ?? '';
const turn = (chat: ServedChat, id: string, user_message: string): Promise<string> =>
  chat.call('run_turn', { conversation_id: id, user_message });

test('c60 six messages at once in one conversation: one after the other, none lost', async () => {
  const { chat, server } = await serve((request) => reply(`re ${lastOf(request)}`));
  const { id } = await chat.start({ payload: { turn_policy: 'queue' } });
  const numbers = ['1', '2', '3', '4', '5', '6'];
  expect(await Promise.all(numbers.map((n) => turn(chat, id, n)))).toEqual(numbers.map((n) => `re ${n}`));
  expect(seen(server, 5).map(({ content }) => content)).toEqual(
    numbers.flatMap((n) => (n === '6' ? [n] : [n, `re ${n}`])),
  );
});

test.each([
  '__proto__',
  'constructor',
  'a/b\\c',
  '../../etc/passwd',
  'ü😀',
  ' ',
  '%00',
  "x' OR 1=1;--",
  'x'.repeat(256),
  'a\nb',
])('c62 conversation ids with odd characters: %j', async (id) => {
  const { chat } = await serve(() => 'Hello.');
  expect((await chat.start({ id })).id).toBe(id);
  expect(await turn(chat, id, 'Hi')).toBe('Hello.');
  expect(await turn(chat, id, 'Again')).toBe('Hello.');
  await chat.call('end_conversation', { conversation_id: id });
  await expect(turn(chat, id, 'More')).rejects.toMatchObject({
    code: expect.stringMatching(/^CONVERSATION/),
  });
});

test('c63 half of a surrogate pair in a message: the server gets well-formed text', async () => {
  const { chat, server } = await serve(() => 'Hello.');
  const { id } = await chat.start();
  expect(await turn(chat, id, 'cut here \ud83d')).toBe('Hello.');
  expect(seen(server, 0)).toEqual([{ role: 'user', content: 'cut here \ufffd' }]);
});

test('c65 NUL, CRLF, bidi marks and zero-width characters in a message stay as they are', async () => {
  const text = 'a\u0000b\r\nc\u202e\u200b👩‍👩‍👧';
  const { chat, server } = await serve(() => 'Hello.');
  const { id } = await chat.start();
  await turn(chat, id, text);
  expect(seen(server, 0)).toEqual([{ role: 'user', content: text }]);
  expect(JSON.stringify(await chat.call('get_history', { conversation_id: id }))).toContain(
    JSON.stringify(text),
  );
});

/** Runs three turns, each with two calls and then the answer. Returns the server. */
async function turnsWithCalls(max_history_length: number): Promise<FakeOpenAI> {
  const weather = tool({
    name: 'get_weather',
    description: 'Weather of a city',
    parameters: z.object({ city: z.string() }),
    execute: ({ city }) => ({ city, sky: 'sun' }),
  });
  const calls = callTools([
    { name: 'get_weather', arguments: { city: 'Lima' } },
    { name: 'get_weather', arguments: { city: 'Oslo' } },
  ]);
  const { chat, server } = await serve(
    (request) => (request.messages.at(-1)!.role === 'user' ? calls : 'Done.'),
    new ToolSet([weather]),
  );
  const { id } = await chat.start({ payload: { system_prompt: 'Be kind.', max_history_length } });
  for (const text of ['1', '2', '3']) expect(await turn(chat, id, text)).toBe('Done.');
  expect(server.count).toBe(6);
  for (const { body } of server.requests) {
    expect(body.messages[0]).toEqual({ role: 'system', content: 'Be kind.' });
    expect(checkTranscript(body, { wire: true })).toEqual([]);
  }
  return server;
}

test('c66 max_history_length 1 with tool turns: every call keeps its result, the system prompt stays', async () => {
  const messages = seen(await turnsWithCalls(1), 4);
  const roles = ['user', 'assistant', 'tool', 'tool', 'assistant', 'user'];
  expect(messages.map(({ role }) => role)).toEqual(roles);
  expect(messages.at(-1)).toEqual({ role: 'user', content: '3' });
});

test('c67 max_history_length 0: only the message itself', async () => {
  expect(seen(await turnsWithCalls(0), 4)).toEqual([{ role: 'user', content: '3' }]);
});

test('c68 a very long single word, and one that is too long', async () => {
  const { chat, server } = await serve((request) => String(lastOf(request).length));
  const { id } = await chat.start();
  expect(await turn(chat, id, 'x'.repeat(65_536))).toBe('65536');
  await expect(turn(chat, id, 'x'.repeat(65_537))).rejects.toMatchObject({
    code: 'PARAMS_INVALID',
    message: expect.stringMatching(/65.?536/),
  });
  expect(server.count).toBe(1);
});

test('c68 sibling: maxMessageChars sets the limit, in the schema and in the error', async () => {
  const server = await fakeOpenAI({ respond: (request) => String(lastOf(request).length) });
  const model = openaiModel({ model: 'm', baseURL: server.url });
  const chat = await servedChat(new ChatAgent({ model, maxMessageChars: 200_000 }));
  open.push(server, chat);
  const { id } = await chat.start();
  expect(await turn(chat, id, 'x'.repeat(200_000))).toBe('200000');
  await expect(turn(chat, id, 'x'.repeat(200_001))).rejects.toMatchObject({
    code: 'PARAMS_INVALID',
    message: expect.stringContaining(
      'user_message: The message has 200,001 characters; 200,000 are allowed. FAME_MAX_MESSAGE_CHARS',
    ),
  });
  for (const maxMessageChars of [0, 1.5, 200_001]) {
    expect(() => new ChatAgent({ model, maxMessageChars })).toThrow(RangeError);
  }
});

test('c70 after a failed turn the conversation goes on and roles alternate', async () => {
  const { chat, server } = await serve((request, index) => {
    const roles = request.messages.filter(({ role }) => role !== 'system').map(({ role }) => role);
    if (roles.some((role, i) => role !== (i % 2 ? 'assistant' : 'user'))) {
      return httpError(400, {
        message: 'Conversation roles must alternate user/assistant/user/assistant/...',
      });
    }
    return index === 1 ? httpError(400, { message: 'no' }) : 'Hello.';
  });
  const { id } = await chat.start();
  expect(await turn(chat, id, '1')).toBe('Hello.');
  await expect(turn(chat, id, '2')).rejects.toMatchObject({ code: 'MODEL_REFUSED' });
  expect(await turn(chat, id, '3')).toBe('Hello.');
  expect(seen(server, 2).at(-1)).toEqual({ role: 'user', content: '3' });
});

test('c72 an answer that is longer than 65,536 characters is cut there and kept', async () => {
  const { chat } = await serve(() => reply('x'.repeat(70_000), { chunkChars: 1_000 }));
  const { id } = await chat.start();
  expect(await turn(chat, id, 'Hi')).toHaveLength(65_535); // with room for a line break
  expect(await chat.call('get_history', { conversation_id: id })).toHaveLength(2);
});

test('c73 emoji in a long answer, cut through characters by the server, without a stream', async () => {
  const text = 'ab😀'.repeat(5_000);
  const { chat } = await serve(() => reply(text, { chunkChars: 3 }));
  const { id } = await chat.start();
  expect(await turn(chat, id, 'Hi')).toBe(text);
});

test('c95 the same turn id after a restart, with half a surrogate pair in the message: one turn', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'fame-cases-'));
  const server = await fakeOpenAI({ respond: () => 'Hello.' });
  open.push({ close: async () => rmSync(folder, { recursive: true }) }, server);
  const params = { conversation_id: 'k1', turn_id: 't1', user_message: 'cut \ud83d' };
  for (const isFirst of [true, false]) {
    const store = await SqliteStore.open({ path: join(folder, 'conversations.db') });
    const model = openaiModel({ model: 'm', baseURL: server.url });
    const chat = await servedChat(new ChatAgent({ model, store }));
    try {
      if (isFirst) await chat.start({ id: 'k1' });
      expect(await chat.call('run_turn', params)).toBe('Hello.');
    } finally {
      await chat.close();
      await store.close();
    }
  }
  expect(server.count).toBe(1);
});
