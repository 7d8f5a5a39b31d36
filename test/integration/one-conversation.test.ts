// D5: one conversation through the doors of OpenAI, A2A, MCP and HTTP and the client library, on real processes. Each door continues the
// conversation of the others, reads the same history, and watches and cancels a turn that another one started.
import { gate } from '@fame-fabric/agents/testing';
import type { Client } from '@fame-fabric/client';
import { Client as McpClient, StreamableHTTPClientTransport } from '@modelcontextprotocol/client';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { localKey } from '../kit/sentinel.ts';
import { CHAT, lastUserText, openClient, startStack, stopStack } from '../kit/stack.ts';

// biome-ignore lint/suspicious/noExplicitAny: the test checks the fields of answers
type Json = any;

const ID = 'shared-1';
/** The answer to this message stops in the middle. */
const SLOW = 'slow';
const held = gate();

/** The id of the conversation in the API of OpenAI, which has no agent in its paths. */
let openAiId = '';
let http = '';
let key = '';
let native: Client;
let mcp: McpClient;

beforeAll(async () => {
  const { sentinel } = await startStack({
    model: {
      respond: (request) => {
        const text = lastUserText(request);
        return text === SLOW ? ['Begun ', held, 'and done'] : `re: ${text}`;
      },
    },
  });
  http = sentinel.http;
  key = localKey(sentinel.dataDir);
  native = await openClient(sentinel.url, { token: key });
  mcp = new McpClient({ name: 'test', version: '1.0.0' });
  await mcp.connect(
    new StreamableHTTPClientTransport(new URL('/mcp', http), {
      requestInit: { headers: { authorization: `Bearer ${key}` } },
    }),
  );
});
afterAll(async () => {
  await mcp?.close();
  await stopStack();
});

async function request(
  path: string,
  body?: unknown,
  headers: Record<string, string> = {},
  method = body === undefined ? 'GET' : 'POST',
): Promise<Response> {
  const response = await fetch(`${http}${path}`, {
    method,
    headers: { authorization: `Bearer ${key}`, 'content-type': 'application/json', ...headers },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  });
  if (!response.ok) throw new Error(`${path}: ${response.status} ${await response.text()}`);
  return response;
}

const json = async (...args: Parameters<typeof request>): Promise<Json> => (await request(...args)).json();

const a2a = async (method: string, params: Json): Promise<Json> => {
  const body = { jsonrpc: '2.0', id: 1, method, params };
  const { result, error } = await json(`/a2a/${CHAT}`, body, { 'a2a-version': '1.0' });
  if (error) throw new Error(JSON.stringify(error));
  return result;
};

const completion = (text: string, more: Json = {}): [string, Json, Record<string, string>] => [
  '/v1/chat/completions',
  { model: 'chat', messages: [{ role: 'user', content: text }], ...more },
  { 'x-conversation-id': ID },
];

/** One turn through each door. Each returns the text of the answer. */
const DOORS: Record<string, (text: string) => Promise<string>> = {
  'Chat Completions': async (text) => (await json(...completion(text))).choices[0].message.content,
  Responses: async (input) => {
    const { conversation, output } = await json('/v1/responses', { model: 'chat', conversation: ID, input });
    openAiId = conversation.id;
    return output[0].content[0].text;
  },
  A2A: async (text) => {
    const message = { messageId: `m-${text}`, role: 'ROLE_USER', contextId: ID, parts: [{ text }] };
    return (await a2a('SendMessage', { message })).task.artifacts[0].parts[0].text;
  },
  MCP: async (message) => {
    const result: Json = await mcp.callTool({
      name: 'ask_agent',
      arguments: { message, conversation_id: ID },
    });
    return result.content[0].text;
  },
  HTTP: async (text) =>
    (await json(`/agents/${CHAT}/run_turn`, { conversation_id: ID, user_message: text })).text,
  'client library': (text) => native.conversation(CHAT, { id: ID, isResumed: true }).ask(text),
};

const WRITTEN = Object.keys(DOORS).flatMap((door) => [`by ${door}`, `re: by ${door}`]);

test('D5: each door continues the conversation of the others', async () => {
  for (const [door, say] of Object.entries(DOORS)) expect(await say(`by ${door}`)).toBe(`re: by ${door}`);
});

test('D5: each door reads the same history', async () => {
  const own = await native.conversation(CHAT, { id: ID, isResumed: true }).history();
  expect(own.map(({ text }) => text)).toEqual(WRITTEN);
  const items = await json(`/v1/conversations/${openAiId}/items?order=asc&limit=100`);
  expect(items.data.flatMap(({ content }: Json) => content.map(({ text }: Json) => text))).toEqual(WRITTEN);
  const { tasks } = await a2a('ListTasks', { contextId: ID, includeArtifacts: true, historyLength: 10 });
  const texts = tasks
    .reverse()
    .flatMap(({ history, artifacts }: Json) => [history[0].parts[0].text, artifacts[0].parts[0].text]);
  expect(texts).toEqual(WRITTEN);
  const uri = `fame://conversations/${encodeURIComponent(CHAT)}/${ID}`;
  const { contents }: Json = await mcp.readResource({ uri });
  for (const text of WRITTEN) expect(contents[0].text).toContain(text);
  const messages = await json(`/agents/${CHAT}/get_history`, { conversation_id: ID });
  expect(messages.map(({ content }: Json) => content)).toEqual(WRITTEN);
});

test('D5: a turn of one door is watched through two others, and cancelled through a fourth', async () => {
  const stream = await request(...completion(SLOW, { stream: true }));
  await held.reached;
  const turn = stream.headers.get('x-turn-id')!;
  const watched = readUntil(
    'Begun',
    request(`/agents/${CHAT}/turns/${turn}?conversation_id=${ID}`, undefined, {
      accept: 'text/event-stream',
    }),
  );
  const followed = (async () => {
    for await (const event of native.conversations(CHAT).follow(ID)) {
      if (event.type === 'text' && event.turn_id === turn) return event.text;
    }
    return undefined;
  })();
  expect(await watched).toContain('Begun');
  expect(await followed).toContain('Begun');
  const { tasks } = await a2a('ListTasks', { contextId: ID });
  expect(tasks[0].status.state).toBe('TASK_STATE_WORKING');
  const cancelled = await a2a('CancelTask', { id: tasks[0].id });
  expect(cancelled.status.state).toBe('TASK_STATE_CANCELED');
  // Chat Completions has no event for a cancel: the stream ends with an error, and without [DONE].
  const rest = await stream.text().catch((error: Error) => String(error));
  expect(rest).not.toContain('[DONE]');
  expect(await json(`/agents/${CHAT}/turns/${turn}?conversation_id=${ID}`)).toMatchObject({
    state: 'cancelled',
  });
});

async function readUntil(text: string, response: Promise<Response>): Promise<string> {
  let read = '';
  for await (const chunk of (await response).body!.pipeThrough(new TextDecoderStream())) {
    read += chunk;
    if (read.includes(text)) return read;
  }
  return read;
}
