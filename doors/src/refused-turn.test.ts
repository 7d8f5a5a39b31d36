// A message that is refused leaves no conversation at the agent, through each door.
import { expect, test } from 'vitest';
import { a2aDoor } from './a2a/a2a-door.ts';
import type { Door } from './door.ts';
import { httpDoor } from './http/http-door.ts';
import { mcpDoor } from './mcp/mcp-door.ts';
import { openAiDoor } from './openai/openai-door.ts';
import { doorKit } from './testing/door-kit.ts';

const CHAT = 'chat@fame.fabric';
const LONG = 'x'.repeat(1_001);
const HOT = { temperature: 9 };

type Case = readonly [
  name: string,
  door: Door,
  url: string,
  payload: object,
  headers: Record<string, string>,
];

const rpc = (method: string, params: object): object => ({ jsonrpc: '2.0', id: 1, method, params });

const a2a = (name: string, method: string, part: object, fields: object = {}): Case => {
  const message = { messageId: 'm-0123456789abcdef', role: 'ROLE_USER', parts: [part], ...fields };
  return [`A2A: ${name}`, a2aDoor, '/a2a', rpc(method, { message }), { 'a2a-version': '1.0' }];
};
const http = (name: string, payload: object): Case => [
  `HTTP: ${name}`,
  httpDoor,
  '/agents/chat/run_turn',
  payload,
  {},
];
const mcp = (name: string, tool: string, args: object, meta: object = {}): Case => [
  `MCP: ${name}`,
  mcpDoor,
  '/mcp',
  rpc('tools/call', { name: tool, arguments: args, _meta: meta }),
  { accept: 'application/json, text/event-stream', 'mcp-protocol-version': '2025-11-25' },
];
const completion = (name: string, content: unknown, fields: object = {}): Case => [
  `Chat Completions: ${name}`,
  openAiDoor,
  '/v1/chat/completions',
  { model: 'chat', messages: [{ role: 'user', content }], ...fields },
  { 'x-conversation-id': 'c1' },
];
const response = (name: string, input: unknown, fields: object = {}): Case => [
  `Responses: ${name}`,
  openAiDoor,
  '/v1/responses',
  { model: 'chat', input, ...fields },
  {},
];
const image = { type: 'image_url', image_url: { url: 'data:image/png;base64,aa' } };
const inputImage = { type: 'input_image', image_url: 'data:image/png;base64,aa' };

test.for<Case>([
  a2a('a file', 'SendMessage', { url: 'https://files.example/x.png' }),
  a2a('a long text', 'SendMessage', { text: LONG }),
  a2a('a long text, streamed', 'SendStreamingMessage', { text: LONG }),
  a2a('a long text in a context', 'SendMessage', { text: LONG }, { contextId: 'c1' }),
  http('a long text', { user_message: LONG }),
  http('a long text in a named conversation', { user_message: LONG, conversation_id: 'c1' }),
  http('an option', { user_message: 'Hi', options: HOT }),
  mcp('a long text', 'ask_agent', { message: LONG }),
  mcp('a long text with a key', 'ask_agent', { message: LONG }, { 'fame/idempotency_key': 'k1' }),
  mcp('an option', 'chat_run_turn', { user_message: 'Hi', options: HOT }),
  completion('an image', [image]),
  completion('a long text', LONG),
  completion('a long text, streamed', LONG, { stream: true }),
  completion('an option', 'Hi', HOT),
  response('an image', [{ role: 'user', content: [inputImage] }]),
  response('a long text', LONG),
  response('a long text, streamed', LONG, { stream: true }),
  response('a long text in the background', LONG, { background: true }),
  response('a long text that is not stored', LONG, { store: false }),
  response('an option', 'Hi', HOT),
])('%s', async ([, door, url, payload, headers]) => {
  await using kit = await doorKit(door, { replies: ['Yes.'], chat: { maxMessageChars: 1_000 } });
  const refused = await kit.inject({ method: 'POST', url, payload, headers });
  expect(refused.payload).toMatch(/"isError":true|"error": ?\{/);
  // The caller `local` may list the conversations of all callers.
  expect((await kit.client.conversations(CHAT).list()).conversations).toEqual([]);
  expect(kit.model.count).toBe(0);
});
