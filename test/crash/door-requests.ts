// HTTP requests for the fuzz test of the doors: valid requests of each protocol, and mutations of them. Everything follows from one seed.
import type { Random } from '../conformance/fuzz-frames.ts';

export interface DoorRequest {
  readonly method: string;
  readonly path: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Buffer | undefined;
  /** Closes the connection after this number of bytes of the body. @default sends all of it */
  readonly cutAt?: number | undefined;
}

export const FUZZED_DOORS = ['openai', 'a2a', 'mcp', 'http'] as const;
export type FuzzedDoor = (typeof FUZZED_DOORS)[number];

interface Valid {
  readonly method: string;
  readonly path: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: unknown;
}

const CHAT = 'chat@fame.fabric';
const TASK = Buffer.from(JSON.stringify([CHAT, 'c', 't'])).toString('base64url');
const rpc = (method: string, params: unknown, id: unknown = 1): unknown => ({
  jsonrpc: '2.0',
  id,
  method,
  params,
});
const a2aMessage = { messageId: 'fuzz-1', role: 'ROLE_USER', parts: [{ text: 'Hi' }], contextId: 'fuzz' };
const V1 = { 'a2a-version': '1.0' };
const REVISION = '2026-07-28';
/** A request of MCP in its latest revision, which has no sessions. */
const mcp = (method: string, params: Readonly<Record<string, unknown>>, name?: string): Valid => ({
  method: 'POST',
  path: '/mcp',
  headers: { 'mcp-protocol-version': REVISION, 'mcp-method': method, ...(name ? { 'mcp-name': name } : {}) },
  body: rpc(method, {
    ...params,
    _meta: {
      'io.modelcontextprotocol/protocolVersion': REVISION,
      'io.modelcontextprotocol/clientInfo': { name: 'fuzz', version: '1' },
      'io.modelcontextprotocol/clientCapabilities': {},
    },
  }),
});

/** Requests that a client of the protocol sends. Most of them reach an agent. */
const VALID: Readonly<Record<FuzzedDoor, readonly Valid[]>> = {
  openai: [
    { method: 'GET', path: '/v1/models' },
    { method: 'GET', path: `/v1/models/${CHAT}` },
    {
      method: 'POST',
      path: '/v1/chat/completions',
      headers: { 'x-conversation-id': 'fuzz' },
      body: { model: 'chat', stream: true, messages: [{ role: 'user', content: 'Hi' }] },
    },
    {
      method: 'POST',
      path: '/v1/chat/completions',
      headers: { 'x-stainless-retry-count': '1', 'idempotency-key': 'k' },
      body: {
        model: 'chat',
        messages: [
          { role: 'user', content: [{ type: 'text', text: 'Hi' }] },
          {
            role: 'assistant',
            tool_calls: [{ id: 'c', type: 'function', function: { name: 'f', arguments: '{}' } }],
          },
          { role: 'tool', tool_call_id: 'c', content: 'x' },
        ],
        tools: [{ type: 'function', function: { name: 'f', parameters: { type: 'object' } } }],
      },
    },
    { method: 'POST', path: '/v1/responses', body: { model: 'chat', input: 'Hi', stream: true } },
    {
      method: 'POST',
      path: '/v1/responses',
      body: { model: 'chat', input: [{ role: 'user', content: 'Hi' }], previous_response_id: `resp_${TASK}` },
    },
    { method: 'GET', path: `/v1/responses/resp_${TASK}?stream=true&starting_after=3` },
    { method: 'POST', path: `/v1/responses/resp_${TASK}/cancel`, body: {} },
    { method: 'POST', path: '/v1/conversations', body: { items: [], metadata: { a: 'b' } } },
    { method: 'GET', path: `/v1/conversations/conv_${TASK}/items?limit=5&order=asc` },
  ],
  a2a: [
    { method: 'GET', path: '/.well-known/agent-card.json' },
    { method: 'POST', path: '/a2a', headers: V1, body: rpc('SendMessage', { message: a2aMessage }) },
    {
      method: 'POST',
      path: `/a2a/${CHAT}`,
      headers: V1,
      body: rpc('SendStreamingMessage', { message: a2aMessage }),
    },
    {
      method: 'POST',
      path: '/a2a',
      headers: V1,
      body: rpc('GetTask', { id: `task_${TASK}`, historyLength: 3 }),
    },
    { method: 'POST', path: '/a2a', headers: V1, body: rpc('ListTasks', { pageSize: 5, pageToken: 'x' }) },
    { method: 'POST', path: '/a2a', headers: V1, body: rpc('CancelTask', { id: `task_${TASK}` }) },
    {
      method: 'POST',
      path: '/a2a',
      body: rpc('message/send', { message: { kind: 'message', messageId: 'm', role: 'user', parts: [] } }),
    },
    { method: 'POST', path: `/a2a/${CHAT}/v1/message:send`, headers: V1, body: { message: a2aMessage } },
    { method: 'GET', path: `/a2a/${CHAT}/v1/tasks/task_${TASK}`, headers: V1 },
  ],
  mcp: [
    mcp('tools/list', {}),
    mcp(
      'tools/call',
      { name: 'ask_agent', arguments: { message: 'Hi', conversation_id: 'fuzz' } },
      'ask_agent',
    ),
    mcp(
      'tools/call',
      { name: 'chat_get_history', arguments: { conversation_id: 'fuzz' } },
      'chat_get_history',
    ),
    mcp('resources/list', { cursor: 'x' }),
    mcp('resources/read', { uri: `fame://conversations/${CHAT}/fuzz` }, `fame://conversations/${CHAT}/fuzz`),
    mcp('tasks/get', { taskId: `task_${TASK}` }, `task_${TASK}`),
    {
      method: 'POST',
      path: '/mcp',
      body: rpc('initialize', {
        protocolVersion: '2025-11-25',
        capabilities: {},
        clientInfo: { name: 'fuzz', version: '1' },
      }),
    },
    { method: 'POST', path: '/mcp', headers: { 'mcp-session-id': 'x' }, body: rpc('tools/list', {}) },
    { method: 'GET', path: '/mcp', headers: { 'mcp-session-id': 'x' } },
    { method: 'DELETE', path: '/mcp', headers: { 'mcp-session-id': 'x' } },
  ],
  http: [
    { method: 'GET', path: '/agents' },
    { method: 'GET', path: `/agents/${CHAT}` },
    { method: 'GET', path: '/openapi.json' },
    {
      method: 'POST',
      path: '/agents/chat/run_turn',
      headers: { 'idempotency-key': 'k' },
      body: { conversation_id: 'fuzz', user_message: 'Hi' },
    },
    {
      method: 'POST',
      path: '/agents/chat/run_turn_stream',
      headers: { 'last-event-id': '7' },
      body: { conversation_id: 'fuzz', user_message: 'Hi', turn_id: 't' },
    },
    { method: 'POST', path: '/agents/chat/get_history', body: { conversation_id: 'fuzz' } },
    { method: 'DELETE', path: '/agents/chat/turns/t?conversation_id=fuzz' },
    {
      method: 'POST',
      path: '/fame/v1/gateway/rpc',
      body: { targetAddr: CHAT, method: 'get_history', params: {} },
    },
    { method: 'POST', path: '/fame/v1/gateway/messages', body: { type: 'x', targetAddr: CHAT, payload: {} } },
  ],
};

const HEADERS = [
  'accept',
  'authorization',
  'content-type',
  'x-conversation-id',
  'x-stainless-retry-count',
  'idempotency-key',
  'last-event-id',
  'a2a-version',
  'mcp-session-id',
  'mcp-protocol-version',
  'traceparent',
  'range',
  'content-encoding',
];
const METHODS = ['GET', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS', 'HEAD'];
const TEXTS = [
  '',
  ' ',
  '\u0000',
  '\ud800',
  '\u202e\u0007\u001b[31m',
  '../../etc/passwd',
  '%00%2e%2e%2f',
  '__proto__',
  'constructor',
  '-1',
  '1e400',
  '9007199254740993',
  'a'.repeat(5_000),
  '{"a":'.repeat(50),
  '<script>alert(1)</script>',
];
const VALUES: readonly unknown[] = [
  null,
  true,
  0,
  -1,
  1.5,
  1e308,
  [],
  {},
  [[]],
  { toString: 1 },
  { constructor: { name: 'x' } },
  ...TEXTS,
];
const HEADER_VALUES = [
  '',
  'x',
  '*/*',
  'text/event-stream',
  'application/json',
  'Bearer fk_wrong',
  '9'.repeat(400),
  '\u00ff;q=,',
];

/** Makes the next request: a third of them valid, the others mutated once or several times. */
export function nextRequest(door: FuzzedDoor, random: Random): DoorRequest {
  const { method, path, headers = {}, body } = random.pick(VALID[door]);
  const made = {
    method,
    path,
    headers: { accept: 'application/json, text/event-stream', ...headers } as Record<string, string>,
    body: body === undefined ? undefined : structuredClone(body),
    text: undefined as Buffer | undefined,
    cutAt: undefined as number | undefined,
  };
  if (made.body !== undefined) made.headers['content-type'] = 'application/json';
  for (let count = random.below(4); count > 0; count--) mutate(made, random);
  const bytes =
    made.text ?? (made.body === undefined ? undefined : Buffer.from(JSON.stringify(made.body) ?? ''));
  return { method: made.method, path: made.path, headers: made.headers, body: bytes, cutAt: made.cutAt };
}

type Made = {
  method: string;
  path: string;
  headers: Record<string, string>;
  body: unknown;
  text: Buffer | undefined;
  cutAt: number | undefined;
};

function mutate(made: Made, random: Random): void {
  const kind = random.below(20);
  if (kind < 8 && made.body !== undefined) made.body = mutated(made.body, random);
  else if (kind < 11) made.headers[random.pick(HEADERS)] = random.pick(HEADER_VALUES);
  else if (kind < 13) made.path = mutatedPath(made.path, random);
  else if (kind === 13) made.method = random.pick(METHODS);
  else if (kind === 14) delete made.headers[random.pick(Object.keys(made.headers))];
  else if (kind < 18 && made.body !== undefined) made.text = mutatedBytes(made.body, random);
  else if (kind === 18 && made.body !== undefined) made.cutAt = random.below(40);
  // Bodies above the limit are rare, because they are slow.
  else if (random.below(50) === 0) made.text = Buffer.alloc(1_200_000, 0x61);
}

/** Replaces, removes or adds one value anywhere in a JSON value. */
function mutated(value: unknown, random: Random): unknown {
  if (typeof value !== 'object' || value === null || random.below(6) === 0) return random.pick(VALUES);
  const copy = structuredClone(value) as Record<string, unknown>;
  const keys = Object.keys(copy);
  const key = keys.length > 0 && random.below(5) > 0 ? random.pick(keys) : random.pick(TEXTS);
  if (random.below(6) === 0) delete copy[key];
  else copy[key] = mutated(copy[key], random);
  return copy;
}

function mutatedPath(path: string, random: Random): string {
  const at = random.below(path.length);
  const piece = encodeURI(random.pick(TEXTS).slice(0, 2_000).toWellFormed());
  const kind = random.below(4);
  if (kind === 0) return `${path}/${piece}`;
  if (kind === 1) return `${path}?${piece}=${piece}`;
  if (kind === 2) return `${path}${path.includes('?') ? '&' : '?'}limit=${piece}&after=${piece}&stream=true`;
  return at === 0 ? path : `${path.slice(0, at)}${piece}${path.slice(at + 1)}`;
}

function mutatedBytes(body: unknown, random: Random): Buffer {
  const bytes = Buffer.from(JSON.stringify(body) ?? '');
  const kind = random.below(4);
  if (kind === 0) return bytes.subarray(0, random.below(bytes.length + 1));
  if (kind === 1) return Buffer.concat([bytes, Buffer.from(random.pick(TEXTS))]);
  if (kind === 2) return Buffer.from('['.repeat(random.below(200_000)));
  for (let count = 1 + random.below(8); count > 0 && bytes.length > 0; count--)
    bytes[random.below(bytes.length)] = random.below(256);
  return bytes;
}
