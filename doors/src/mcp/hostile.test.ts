// Hostile requests to the MCP door: each gets an error of the protocol, and the door continues to serve.
import { defineAgent, operation } from '@fame-fabric/agents';
import { expect, test } from 'vitest';
import { z } from 'zod';
import { type DoorKit, doorKit } from '../testing.ts';
import { mcpDoor } from './mcp-door.ts';

const echo = defineAgent({
  address: 'echo@fame.fabric',
  operations: { echo: operation({ params: z.looseObject({}), run: (params) => params }) },
});

const deep = (levels: number): string => `${'['.repeat(levels)}${']'.repeat(levels)}`;
const call = (args: string): string =>
  `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"echo","arguments":${args}}}`;
const META =
  '"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{}}';
const modernCall = (args: string): string =>
  `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"echo","arguments":${args},${META}}}`;

const post = (kit: DoorKit, payload: string, headers: Record<string, string> = {}) =>
  kit.inject({
    method: 'POST',
    url: '/mcp',
    headers: {
      accept: 'application/json, text/event-stream',
      'content-type': 'application/json',
      ...headers,
    },
    payload,
  });

const MODERN = { 'mcp-protocol-version': '2026-07-28', 'mcp-method': 'tools/call', 'mcp-name': 'echo' };

test.each([
  ['deep JSON', deep(200_000), {}],
  ['deep arguments', call(`{"a":${deep(200_000)}}`), {}],
  ['deep arguments of 2026-07-28', modernCall(`{"a":${deep(200_000)}}`), MODERN],
  ['a prototype', call('{"__proto__":{"x":1}}'), {}],
  ['a number as a message', '7', {}],
  ['null', 'null', {}],
  [
    'a batch of 10,000 calls',
    `[${Array(10_000).fill('{"jsonrpc":"2.0","id":1,"method":"nothing"}').join(',')}]`,
    {},
  ],
  ['a batch of nulls', '[null,null]', {}],
  ['a method that is no text', '{"jsonrpc":"2.0","id":1,"method":{}}', {}],
  ['a faulty name in the header', modernCall('{}'), { ...MODERN, 'mcp-name': '=?base64?%?=' }],
  ['a faulty version', modernCall('{}'), { ...MODERN, 'mcp-protocol-version': 'x'.repeat(5_000) }],
  ['a session that does not exist', call('{}'), { 'mcp-session-id': '../../etc/passwd' }],
])('%s', async (_name, payload, headers) => {
  await using kit = await doorKit(mcpDoor, { agents: [echo] });
  const response = await post(kit, payload, headers);
  expect(response.statusCode).toBeLessThan(500);
  expect(response.payload).not.toMatch(/ at .*\.ts|node_modules/);
  expect(kit.log.lines.filter(({ level }) => level === 'error')).toEqual([]);
  const next = await post(kit, call('{"a":1}'));
  expect(next.payload).toContain('{\\"a\\":1}');
});
