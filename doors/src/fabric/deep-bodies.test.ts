// Bodies that are nested too deeply: the sentinel would close the link of the caller after five of them, and with it the calls of all
// other requests of the principal.
import { defineAgent, operation } from '@fame-fabric/agents';
import { settle } from '@fame-fabric/shared/testing';
import { expect, test } from 'vitest';
import { z } from 'zod';
import { a2aDoor } from '../a2a/a2a-door.ts';
import type { Door } from '../door.ts';
import { httpDoor } from '../http/http-door.ts';
import { mcpDoor } from '../mcp/mcp-door.ts';
import { openAiDoor } from '../openai/openai-door.ts';
import { doorKit } from '../testing/door-kit.ts';
import { connectSocket } from '../testing/socket-client.ts';

const echo = defineAgent({
  address: 'echo@fame.fabric',
  operations: {
    echo: operation({ params: z.looseObject({}), run: (params) => params }),
    never: operation({ run: () => new Promise(() => {}) }),
  },
});

const nested = (levels: number): string => `{"a":${'['.repeat(levels - 1)}${']'.repeat(levels - 1)}}`;
const LEVELS = [60, 100, 200_000];
const tool = (levels: number): string =>
  `"tools":[{"type":"function","name":"x","function":{"name":"x","parameters":${nested(levels)}},"parameters":${nested(levels)}}]`;
const a2aMessage = (levels: number): string =>
  `{"message":{"messageId":"1","role":"ROLE_USER","parts":[{"data":{"operation":"echo","params":${nested(levels)}}}]}}`;
const rpc = (method: string, params: string): string =>
  `{"jsonrpc":"2.0","id":1,"method":"${method}","params":${params}}`;

const REQUESTS: [string, Door, string, (levels: number) => string][] = [
  ['plain HTTP', httpDoor, '/agents/echo/echo', nested],
  [
    'the gateway',
    httpDoor,
    '/fame/v1/gateway/messages',
    (n) => `{"targetAddr":"echo@fame.fabric","payload":${nested(n)}}`,
  ],
  ['A2A', a2aDoor, '/a2a/echo', (n) => rpc('SendMessage', a2aMessage(n))],
  ['A2A over HTTP+JSON', a2aDoor, '/a2a/echo/v1/message:send', a2aMessage],
  ['MCP', mcpDoor, '/mcp', (n) => rpc('tools/call', `{"name":"echo","arguments":${nested(n)}}`)],
  [
    'chat completions',
    openAiDoor,
    '/v1/chat/completions',
    (n) => `{"model":"chat","messages":[{"role":"user","content":"a"}],${tool(n)}}`,
  ],
  ['responses', openAiDoor, '/v1/responses', (n) => `{"model":"chat","input":"a",${tool(n)}}`],
];

test.each(REQUESTS)('%s refuses them, and the link stays', async (_name, door, url, body) => {
  await using kit = await doorKit(door, { replies: [], agents: [echo] });
  const visitor = await kit.fabric.visit({ headers: {} } as Parameters<typeof kit.fabric.visit>[0]);
  let other: unknown = 'waits';
  visitor.client.call('echo@fame.fabric', 'never').catch((error: unknown) => {
    other = error;
  });
  await settle();
  const headers = {
    accept: 'application/json, text/event-stream',
    'content-type': 'application/json',
    'a2a-version': '1.0',
  };
  for (let i = 0; i < 6; i++) {
    const payload = body(LEVELS[i % LEVELS.length]!);
    expect((await kit.inject({ method: 'POST', url, headers, payload })).statusCode).toBe(400);
  }
  await settle();
  expect(other).toBe('waits');
  expect(kit.log.lines.filter(({ level }) => level === 'error' || level === 'warn')).toEqual([]);
});

test('a WebSocket of the Responses API refuses them', async () => {
  await using kit = await doorKit(openAiDoor, { replies: [] });
  await using client = await connectSocket(kit);
  client.socket.send(`{"type":"response.create","model":"chat","input":"a",${tool(60)}}`);
  expect((await client.next()).error.code).toBe('PROTO_TOO_DEEP');
});
