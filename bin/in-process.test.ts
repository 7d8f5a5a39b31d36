// A fabric in one process: agents, a client, conversations that outlive it, and nothing left behind.
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  ChatAgent,
  defineAgent,
  MemoryStore,
  type OperationContext,
  offlineModel,
  operation,
} from '@fame-fabric/agents';
import { afterEach, expect, test } from 'vitest';
import { z } from 'zod';
import { type InProcessFabric, type InProcessOptions, inProcess } from './in-process.ts';

const CHAT = 'chat@fame.fabric';
const open: InProcessFabric[] = [];
const directories: string[] = [];
afterEach(async () => {
  await Promise.all(open.splice(0).map((fabric) => fabric.close()));
  for (const directory of directories.splice(0)) rmSync(directory, { recursive: true });
});

async function start(options?: InProcessOptions): Promise<InProcessFabric> {
  const fabric = await inProcess(options);
  open.push(fabric);
  return fabric;
}

const math = defineAgent({
  address: 'math@fame.fabric',
  capabilities: ['math'],
  operations: {
    add: operation({ params: z.object({ x: z.number(), y: z.number() }), run: ({ x, y }) => x + y }),
  },
});
const doubler = defineAgent({
  address: 'double@fame.fabric',
  operations: {
    double: operation({
      params: z.object({ n: z.number() }),
      run: ({ n }, { link }) => link.call({ capabilities: ['math'] }, 'add', { x: n, y: n }),
    }),
  },
});

test('agents call each other, and the client calls them', async () => {
  const { client, serve } = await start({ agents: [math] });
  expect(await client.agent<typeof math>('math@fame.fabric').add({ x: 20, y: 22 })).toBe(42);
  await serve([doubler]);
  expect(await client.call('double@fame.fabric', 'double', { n: 4 })).toBe(8);
  await expect(serve([math])).rejects.toMatchObject({ code: 'ADDRESS_IN_USE' });
  expect(await client.call('math@fame.fabric', 'add', { x: 1, y: 1 })).toBe(2);
});

test('conversations continue in the next fabric with the same dataDir', async () => {
  const dataDir = mkdtempSync(join(tmpdir(), 'fame-in-process-'));
  directories.push(dataDir);
  const first = await start({ dataDir, agents: [new ChatAgent({ model: offlineModel() })] });
  const conversation = first.client.conversation(CHAT);
  await conversation.ask('My name is Ada.');
  await first.close();
  const second = await start({ dataDir, agents: [new ChatAgent({ model: offlineModel() })] });
  const { id } = conversation;
  expect(await second.client.conversation(CHAT, { id, isResumed: true }).ask('What is my name?')).toContain(
    'Ada',
  );
});

test('without a dataDir conversations are in memory, or in the store of their agent', async () => {
  const store = new MemoryStore();
  const { client } = await start({ agents: [new ChatAgent({ model: offlineModel(), store })] });
  await client.conversation(CHAT).ask('Hello');
  expect(await store.list()).toMatchObject([{ agent: CHAT }]);
});

test('an agent that does not start fails the start with its error', async () => {
  const faulty = defineAgent({
    address: 'faulty@fame.fabric',
    onStart() {
      throw new Error('no power');
    },
  });
  await expect(inProcess({ agents: [math, faulty] })).rejects.toThrow('no power');
  const { client } = await start({ agents: [math] });
  expect(await client.call('math@fame.fabric', 'add', { x: 1, y: 2 })).toBe(3);
});

test('a close ends the calls, and is idempotent', async () => {
  const running = Promise.withResolvers<void>();
  const run = (_: unknown, { signal }: OperationContext) =>
    new Promise((resolve) => {
      running.resolve();
      signal.onabort = resolve;
    });
  const slow = defineAgent({ address: 'slow@fame.fabric', operations: { wait: operation({ run }) } });
  const fabric = await start({ agents: [slow] });
  const call = fabric.client.call('slow@fame.fabric', 'wait');
  const outcome = call.catch((error: unknown) => error);
  await running.promise;
  await Promise.all([fabric.close(), fabric.close()]);
  expect(await outcome).toMatchObject({ code: expect.stringMatching(/^(NODE_GONE|LINK_CLOSED)$/) });
  await expect(fabric.client.call('slow@fame.fabric', 'wait')).rejects.toMatchObject({ code: 'LINK_CLOSED' });
});
