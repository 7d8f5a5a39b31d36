// D1: the client library of MCP, unmodified, over HTTP, in both eras of the protocol.
import { AgentWorker, ChatAgent, defineAgent, operation } from '@fame-fabric/agents';
import { gate, type ScriptedModel, scriptedModel } from '@fame-fabric/agents/testing';
import { openDoors } from '@fame-fabric/doors';
import { doorOfPath } from '@fame-fabric/doors/config';
import type { RunningSentinel } from '@fame-fabric/sentinel';
import { Link, silentLog } from '@fame-fabric/shared';
import { wsDial } from '@fame-fabric/shared/node';
import { Client, type ClientOptions, StreamableHTTPClientTransport } from '@modelcontextprotocol/client';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { z } from 'zod';
import { startEmbedded } from '../kit/embedded-sentinel.ts';

const ERAS = ['2026-07-28', '2025-11-25'] as const;
type Era = (typeof ERAS)[number];

const goods = defineAgent({
  address: 'store@fame.fabric',
  operations: {
    read: operation({
      description: 'Returns a text of a size.',
      params: z.object({ size: z.int() }),
      run: ({ size }) => 'x'.repeat(size),
    }),
  },
});

let sentinel: RunningSentinel;
let worker: AgentWorker;
let model: ScriptedModel;
const clients: Client[] = [];

const start = (port: number): Promise<RunningSentinel> =>
  startEmbedded({
    port,
    doors: {
      claims: (path) => doorOfPath(path, ['mcp']) !== undefined,
      open: async (host) => openDoors(host, ['mcp']),
    },
  });

beforeAll(async () => {
  sentinel = await start(0);
  model = scriptedModel([]);
  worker = new AgentWorker([new ChatAgent({ model }), goods], {
    link: new Link({ url: sentinel.url, dial: wsDial }),
    log: silentLog,
  });
  await worker.start();
});
afterEach(async () => {
  for (const client of clients.splice(0)) await client.close();
});
afterAll(async () => {
  await worker?.drain(0);
  await sentinel?.close();
});

async function connected(era: Era, capabilities: ClientOptions['capabilities'] = {}): Promise<Client> {
  const client = new Client(
    { name: 'test', version: '1.0.0' },
    { capabilities, versionNegotiation: { mode: era === '2025-11-25' ? 'legacy' : { pin: era } } },
  );
  clients.push(client);
  const { port } = new URL(sentinel.url);
  await client.connect(new StreamableHTTPClientTransport(new URL(`http://127.0.0.1:${port}/mcp`)));
  return client;
}

const textOf = (result: { content: unknown }): string => (result.content as { text: string }[])[0]!.text;
const ask = (message: string, conversation_id?: string) => ({
  name: 'ask_agent',
  arguments: { message, ...(conversation_id ? { conversation_id } : {}) },
});

describe.each(ERAS)('%s', (era) => {
  test('tools: lists and calls them', async () => {
    const client = await connected(era);
    const { tools } = await client.listTools();
    expect(tools.map(({ name }) => name)).toEqual(expect.arrayContaining(['ask_agent', 'store_read']));
    expect(textOf(await client.callTool({ name: 'store_read', arguments: { size: 3 } }))).toBe('xxx');
  });

  test('state: another client continues the conversation', async () => {
    model.push('Hello Ada', 'You are Ada');
    const first = await (await connected(era)).callTool(ask('I am Ada'));
    const { conversation_id } = first.structuredContent as { conversation_id: string };
    const second = await (await connected(era)).callTool(ask('Who am I?', conversation_id));
    expect(textOf(second)).toBe('You are Ada');
  });

  test('streaming: progress arrives before the result', async () => {
    const pause = gate();
    model.push(['One', pause, ' two']);
    const client = await connected(era);
    const result = await client.callTool(ask('Count'), { onprogress: () => pause.open() });
    expect(textOf(result)).toBe('One two');
  });

  test('errors: those of agents are results, those of the protocol are thrown', async () => {
    const client = await connected(era);
    const unknown = await client.callTool(ask('Hi', 'no-such-conversation'));
    expect(unknown).toMatchObject({
      isError: true,
      _meta: { 'fame/error': { code: 'CONVERSATION_UNKNOWN' } },
    });
    await expect(client.callTool({ name: 'no_such_tool' })).rejects.toMatchObject({ code: -32602 });
  });

  test('cancel: a client that cancels its call cancels the turn', async () => {
    const pause = gate();
    model.push(['One', pause]);
    const client = await connected(era);
    const stop = new AbortController();
    const call = client.callTool(ask('Count'), { signal: stop.signal });
    await pause.reached;
    stop.abort();
    await expect(call).rejects.toThrow();
    await expect.poll(() => model.calls.at(-1)!.state).toBe('aborted');
  });

  test('large and hostile input: a long answer arrives, a long request is refused, and the next call works', async () => {
    const client = await connected(era);
    expect(textOf(await client.callTool({ name: 'store_read', arguments: { size: 200_000 } }))).toHaveLength(
      200_000,
    );
    await expect(client.callTool(ask('x'.repeat(1_100_000)))).rejects.toThrow(/MESSAGE_TOO_LARGE/);
    for (const args of [{ size: 'many' }, { size: 3, __proto__: null, other: 1 }])
      expect(await client.callTool({ name: 'store_read', arguments: args })).toMatchObject({ isError: true });
    expect(textOf(await client.callTool({ name: 'store_read', arguments: { size: 1 } }))).toBe('x');
  });

  test('the door restarts: a conversation continues', async () => {
    model.push('Hello Ada', 'You are Ada');
    const first = await (await connected(era)).callTool(ask('I am Ada'));
    const { conversation_id } = first.structuredContent as { conversation_id: string };
    const port = Number(new URL(sentinel.url).port);
    await sentinel.close();
    sentinel = await start(port);
    await expect
      .poll(async () => textOf(await (await connected(era)).callTool(ask('Who am I?', conversation_id))))
      .toBe('You are Ada');
  });
});
