// Responses that are open when the credential of their request ends: each of them ends within 5 s, as the connection of a node does.

import { gate } from '@fame-fabric/agents/testing';
import type { Client } from '@fame-fabric/client';
import { silentLog } from '@fame-fabric/shared';
import { ManualClock } from '@fame-fabric/shared/testing';
import { expect, test } from 'vitest';
import type { Door } from '../door.ts';
import { httpDoor } from '../http/http-door.ts';
import { mcpDoor } from '../mcp/mcp-door.ts';
import { openAiDoor } from '../openai/openai-door.ts';
import { type DoorKit, doorKit } from '../testing/door-kit.ts';
import { connectSocket } from '../testing/socket-client.ts';
import { Catalogue, type CatalogueDeps } from './catalogue.ts';
import type { VisitRequest } from './door-fabric.ts';
import { type FabricSource, LinkFabric } from './link-fabric.ts';

const ADA = { authorization: 'Bearer fk_ada' };
const EVENTS = { ...ADA, accept: 'application/json, text/event-stream', 'content-type': 'application/json' };

const post = (kit: DoorKit, url: string, body: object, headers: object = EVENTS) =>
  kit.inject({
    method: 'POST',
    url,
    headers: { ...headers },
    payload: JSON.stringify(body),
    payloadAsStream: true,
  });

const rpc = (method: string, params: object) => ({ jsonrpc: '2.0', id: 1, method, params });

async function sessionStream(kit: DoorKit) {
  const clientInfo = { name: 'test', version: '1' };
  const initialize = rpc('initialize', { protocolVersion: '2025-11-25', capabilities: {}, clientInfo });
  const { headers } = await post(kit, '/mcp', initialize);
  const session = { 'mcp-session-id': String(headers['mcp-session-id']) };
  return kit.inject({ url: '/mcp', headers: { ...EVENTS, ...session }, payloadAsStream: true });
}

const listen = (kit: DoorKit) => {
  const name = 'io.modelcontextprotocol';
  const _meta = { [`${name}/protocolVersion`]: '2026-07-28', [`${name}/clientCapabilities`]: {} };
  const request = rpc('subscriptions/listen', { notifications: { toolsListChanged: true }, _meta });
  const headers = { 'mcp-protocol-version': '2026-07-28', 'mcp-method': 'subscriptions/listen' };
  return post(kit, '/mcp', request, { ...EVENTS, ...headers });
};

const CHAT = { model: 'chat', stream: true };
const OPENED: [string, Door, (kit: DoorKit) => ReturnType<typeof post>][] = [
  ['a turn over plain HTTP', httpDoor, (kit) => post(kit, '/agents/chat/run_turn', { user_message: 'Hi' })],
  [
    'a chat completion',
    openAiDoor,
    (kit) => post(kit, '/v1/chat/completions', { ...CHAT, messages: [{ role: 'user', content: 'Hi' }] }),
  ],
  ['a response', openAiDoor, (kit) => post(kit, '/v1/responses', { ...CHAT, input: 'Hi' })],
  ['the stream of a session of MCP', mcpDoor, sessionStream],
  ['a subscription of MCP', mcpDoor, listen],
];

test.each(OPENED)('%s', async (_name, door, open) => {
  const clock = new ManualClock();
  await using kit = await doorKit(door, { replies: [['Hel', gate(), 'lo']], clock });
  const opening = open(kit);
  await clock.run(400, 50);
  const response = await opening;
  expect(response.statusCode).toBe(200);
  response.stream().on('error', () => {});
  response.stream().resume();
  kit.sentinel.revoke('ada');
  await clock.run(5_000, 100);
  await expect.poll(() => response.raw.res.writableEnded || response.raw.res.destroyed).toBe(true);
});

test('a request with a shorter credential than that of its link', async () => {
  const clock = new ManualClock();
  const client = { state: 'attached', onState: () => () => {}, close: async () => {} } as unknown as Client;
  const attached = { client, principal: 'ada', catalogue: new Catalogue({} as CatalogueDeps) };
  const expiries = [60_000, 10_000];
  const source: FabricSource = {
    identify: async () => ({
      key: 'ada',
      expiresAt: clock.now() + expiries.shift()!,
      hasEnded: () => false,
      connect: async () => attached,
    }),
    close: async () => {},
  };
  const fabric = new LinkFabric({ source, clock, log: silentLog }, { maxLinks: 4, idleMs: 60_000 });
  const ended: string[] = [];
  for (const name of ['long', 'short']) {
    const visitor = await fabric.visit({} as VisitRequest);
    visitor.onEnd(() => ended.push(name));
  }
  expect(fabric.linkCount).toBe(1);
  clock.advance(10_000);
  expect(ended).toEqual([]);
  clock.advance(5_000);
  expect(ended).toEqual(['short']);
  await fabric.close();
});

test('a WebSocket of the Responses API', async () => {
  const clock = new ManualClock();
  await using kit = await doorKit(openAiDoor, { replies: [], clock });
  await using client = await connectSocket(kit, { headers: ADA });
  kit.sentinel.revoke('ada');
  await clock.run(5_000, 100);
  await expect.poll(() => client.socket.readyState).toBe(client.socket.CLOSED);
});
