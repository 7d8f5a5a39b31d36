// The MCP door with the client library of the protocol, in both eras.
import { defineAgent, operation } from '@fame-fabric/agents';
import { AgentError } from '@fame-fabric/shared';
import { describe, expect, test } from 'vitest';
import { z } from 'zod';
import manifest from '../../package.json' with { type: 'json' };
import { doorKit } from '../testing.ts';
import { mcpDoor } from './mcp-door.ts';
import { ERAS, mcpClient } from './testing/mcp-client.ts';

const shop = defineAgent({
  address: 'shop@fame.fabric',
  operations: {
    price: operation({
      description: 'Returns the price of an article.',
      params: z.object({ article: z.string() }),
      run: ({ article }) => ({ article, price: 3 }),
    }),
    fail: operation({
      run() {
        throw new AgentError('SHOP_SOLD_OUT', 'No article is left');
      },
    }),
    count: operation({
      params: z.object({ to: z.int() }),
      async *run({ to }) {
        for (let i = 1; i <= to; i++) yield { progress: i, total: to };
      },
    }),
  },
});

const textOf = (result: { content: unknown }): string => (result.content as { text: string }[])[0]!.text;

describe.each(ERAS)('%s', (era) => {
  test('lists the operations of each agent, ask_agent first', async () => {
    await using kit = await doorKit(mcpDoor, { replies: [], agents: [shop] });
    await using mcp = await mcpClient(kit, { era });
    await mcp.client.connect(mcp.transport);
    const { tools } = await mcp.client.listTools();
    const names = tools.map(({ name }) => name);
    expect(names[0]).toBe('ask_agent');
    expect(names).toEqual(
      expect.arrayContaining(['chat_run_turn', 'chat_cancel_turn', 'shop_price', 'shop_fail']),
    );
    expect(names).not.toContain('chat_run_turn_stream');
    expect(tools.find(({ name }) => name === 'shop_price')).toMatchObject({
      description: 'Returns the price of an article. Operation price of the agent shop@fame.fabric.',
      inputSchema: { type: 'object', properties: { article: { type: 'string' } }, required: ['article'] },
    });
  });

  test('calls an operation', async () => {
    await using kit = await doorKit(mcpDoor, { agents: [shop] });
    await using mcp = await mcpClient(kit, { era });
    await mcp.client.connect(mcp.transport);
    const result = await mcp.client.callTool({ name: 'shop_price', arguments: { article: 'tea' } });
    expect(result.structuredContent).toEqual({ article: 'tea', price: 3 });
    expect(JSON.parse(textOf(result))).toEqual({ article: 'tea', price: 3 });
  });

  test('an error of the agent is a result with its code', async () => {
    await using kit = await doorKit(mcpDoor, { agents: [shop] });
    await using mcp = await mcpClient(kit, { era });
    await mcp.client.connect(mcp.transport);
    const failed = await mcp.client.callTool({ name: 'shop_fail' });
    expect(failed).toMatchObject({ isError: true, _meta: { 'fame/error': { code: 'SHOP_SOLD_OUT' } } });
    const invalid = await mcp.client.callTool({ name: 'shop_price', arguments: { article: 1 } });
    expect(textOf(invalid)).toMatch(/^PARAMS_INVALID: article/);
    await expect(mcp.client.callTool({ name: 'shop_none' })).rejects.toMatchObject({ code: -32602 });
  });

  test('a stream reports its progress and returns its items', async () => {
    await using kit = await doorKit(mcpDoor, { agents: [shop] });
    await using mcp = await mcpClient(kit, { era });
    await mcp.client.connect(mcp.transport);
    const seen: number[] = [];
    const result = await mcp.client.callTool(
      { name: 'shop_count', arguments: { to: 3 } },
      { onprogress: ({ progress }) => seen.push(progress) },
    );
    expect(seen).toEqual([1, 2, 3]);
    expect(result.structuredContent).toMatchObject({
      items: [{ progress: 1 }, { progress: 2 }, { progress: 3 }],
    });
  });

  test('ask_agent starts a conversation and continues it', async () => {
    await using kit = await doorKit(mcpDoor, { replies: ['Hello Ada', 'You are Ada'] });
    await using mcp = await mcpClient(kit, { era, as: 'ada' });
    await mcp.client.connect(mcp.transport);
    const first = await mcp.client.callTool({ name: 'ask_agent', arguments: { message: 'I am Ada' } });
    expect(textOf(first)).toBe('Hello Ada');
    const { conversation_id } = first.structuredContent as { conversation_id: string };
    const second = await mcp.client.callTool({
      name: 'ask_agent',
      arguments: { agent: 'chat', message: 'Who am I?', conversation_id },
    });
    expect(second.structuredContent).toMatchObject({
      conversation_id,
      state: 'completed',
      answer: 'You are Ada',
    });
  });

  test('conversations are resources of their owner', async () => {
    await using kit = await doorKit(mcpDoor, { replies: ['Hello Ada'] });
    await using ada = await mcpClient(kit, { era, as: 'ada' });
    await ada.client.connect(ada.transport);
    await ada.client.callTool({ name: 'ask_agent', arguments: { message: 'I am Ada' } });
    const { resources } = await ada.client.listResources();
    expect(resources).toHaveLength(1);
    const { uri } = resources[0]!;
    const { contents } = await ada.client.readResource({ uri });
    expect(contents).toEqual([
      { uri, mimeType: 'text/markdown', text: '**user**: I am Ada\n\n**assistant**: Hello Ada' },
    ]);
    await using bea = await mcpClient(kit, { era, as: 'bea' });
    await bea.client.connect(bea.transport);
    expect((await bea.client.listResources()).resources).toEqual([]);
    await expect(bea.client.readResource({ uri })).rejects.toThrow(/not found/i);
  });

  test('a call with the same key runs one turn', async () => {
    await using kit = await doorKit(mcpDoor, { replies: ['once', 'twice'] });
    await using mcp = await mcpClient(kit, { era, as: 'ada' });
    await mcp.client.connect(mcp.transport);
    const call = () =>
      mcp.client.callTool({
        name: 'ask_agent',
        arguments: { message: 'Hi' },
        _meta: { 'fame/idempotency_key': 'k1' },
      });
    const first = await call();
    expect(await call()).toEqual(first);
    expect(textOf(first)).toBe('once');
    const other = await mcp.client.callTool({
      name: 'ask_agent',
      arguments: { message: 'Something else' },
      _meta: { 'fame/idempotency_key': 'k1' },
    });
    expect(other).toMatchObject({ isError: true, _meta: { 'fame/error': { code: 'TURN_CONFLICT' } } });
  });
});

test('the version of the server is that of the package', async () => {
  await using kit = await doorKit(mcpDoor, {});
  await using mcp = await mcpClient(kit, { era: '2026-07-28' });
  await mcp.client.connect(mcp.transport);
  expect(mcp.client.getServerVersion()).toMatchObject({ name: 'fame-fabric', version: manifest.version });
});

const INITIALIZE = {
  jsonrpc: '2.0',
  id: 1,
  method: 'initialize',
  params: { protocolVersion: '2025-11-25', capabilities: {}, clientInfo: { name: 'test', version: '1.0.0' } },
};
const HEADERS = { accept: 'application/json, text/event-stream', 'content-type': 'application/json' };

test('a session of another principal does not exist', async () => {
  await using kit = await doorKit(mcpDoor, { agents: [shop] });
  const as = (name: string) => ({ ...HEADERS, authorization: `Bearer fk_${name}` });
  const opened = await kit.inject({ method: 'POST', url: '/mcp', headers: as('ada'), payload: INITIALIZE });
  const id = opened.headers['mcp-session-id'] as string;
  const list = (name: string, sessionId: string) =>
    kit.inject({
      method: 'POST',
      url: '/mcp',
      headers: { ...as(name), 'mcp-session-id': sessionId },
      payload: { jsonrpc: '2.0', id: 2, method: 'tools/list' },
    });
  expect((await list('ada', id)).statusCode).toBe(200);
  const refused = await list('bea', id);
  expect(refused.statusCode).toBe(404);
  expect(refused.json()).toEqual((await list('ada', 'none')).json());
});

test('a caller sees and calls only the agents that it may call', async () => {
  await using kit = await doorKit(mcpDoor, {
    isCredentialNeeded: true,
    replies: [],
    agents: [shop],
    principals: [{ id: 'ada', allow: ['chat@fame.fabric'] }],
  });
  await using mcp = await mcpClient(kit, { era: '2026-07-28', as: 'ada' });
  await mcp.client.connect(mcp.transport);
  const { tools } = await mcp.client.listTools();
  expect(tools.filter(({ name }) => name.startsWith('shop'))).toEqual([]);
  await expect(mcp.client.callTool({ name: 'shop_price' })).rejects.toThrow('Unknown tool');
  const asked = await mcp.client.callTool({ name: 'ask_agent', arguments: { agent: 'shop', message: 'Hi' } });
  expect(asked).toMatchObject({ isError: true, _meta: { 'fame/error': { code: 'NO_ROUTE' } } });
});

test('refusals are errors of JSON-RPC with our code', async () => {
  await using kit = await doorKit(mcpDoor, { isCredentialNeeded: true });
  const post = (payload: string, headers = {}) =>
    kit.inject({ method: 'POST', url: '/mcp', headers: { ...HEADERS, ...headers }, payload });
  const unauthenticated = await post('{}');
  expect(unauthenticated.statusCode).toBe(401);
  expect(unauthenticated.headers['www-authenticate']).toBe('Bearer');
  expect(unauthenticated.json()).toMatchObject({
    jsonrpc: '2.0',
    error: { code: -32000, data: { code: 'AUTH_MISSING' } },
  });
  expect((await post('{')).json()).toMatchObject({
    error: { code: -32700, data: { code: 'PROTO_MALFORMED' } },
  });
  const large = await post(JSON.stringify('x'.repeat(1_100_000)));
  expect(large.statusCode).toBe(413);
  expect(large.json()).toMatchObject({ error: { data: { code: 'MESSAGE_TOO_LARGE' } } });
  const foreign = await post('{}', { origin: 'http://evil.example' });
  expect(foreign.statusCode).toBe(403);
});

test('an operation that declares `_mcp` sends requests to the client and gets the responses', async () => {
  const form = {
    method: 'elicitation/create',
    params: {
      mode: 'form',
      message: 'Size?',
      requestedSchema: { type: 'object', properties: { size: { type: 'string' } } },
    },
  };
  const tailor = defineAgent({
    address: 'tailor@fame.fabric',
    operations: {
      measure: operation({
        params: z.object({
          _mcp: z.looseObject({ inputResponses: z.record(z.string(), z.unknown()).optional() }).optional(),
        }),
        run: ({ _mcp }) =>
          _mcp?.inputResponses ?? { resultType: 'input_required', inputRequests: { size: form } },
      }),
    },
  });
  await using kit = await doorKit(mcpDoor, { agents: [tailor] });
  for (const era of ERAS) {
    await using mcp = await mcpClient(kit, { era, capabilities: { elicitation: {} } });
    mcp.client.setRequestHandler('elicitation/create', () => ({ action: 'accept', content: { size: 'L' } }));
    await mcp.client.connect(mcp.transport);
    const { tools } = await mcp.client.listTools();
    expect(tools.find(({ name }) => name === 'tailor_measure')!.inputSchema.properties).toEqual({});
    const result = await mcp.client.callTool({ name: 'tailor_measure' });
    expect(result.structuredContent).toMatchObject({ size: { action: 'accept', content: { size: 'L' } } });
  }
});
