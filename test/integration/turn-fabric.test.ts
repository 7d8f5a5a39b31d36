// The FB cases: guarantees of turns over the fabric. A chat agent and a sentinel run as processes, clients use real sockets, and the
// test scripts the model.
import { join } from 'node:path';
import { ChatAgent, type ChatModel, SqliteStore } from '@fame-fabric/agents';
import { gate, httpError, stall } from '@fame-fabric/agents/testing';
import type { TurnEvent } from '@fame-fabric/client';
import { FabricError } from '@fame-fabric/shared';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { livingBytes } from '../kit/heap.ts';
import { connectLink } from '../kit/our-node.ts';
import { fameArgs, startNode } from '../kit/processes.ts';
import { temporaryDirectory } from '../kit/sentinel.ts';
import {
  API_KEY,
  CHAT,
  converse,
  lastUserText,
  openClient,
  type Stack,
  startStack,
  stopStack,
} from '../kit/stack.ts';
import { TcpProxy } from '../kit/tcp-proxy.ts';

let stack: Stack;
let held = gate();
let later = gate();

beforeAll(async () => {
  stack = await startStack({
    model: {
      respond: (request) => {
        const text = lastUserText(request);
        if (text === 'halves') return ['one, ', held, 'two'];
        if (text === 'thirds') return ['one, ', held, 'two, ', later, 'three'];
        if (text === 'endless') return ['It begins', stall()];
        if (text === 'fail') return httpError(401, { message: 'This key is not known.' });
        const first = request.messages.find(({ role }) => role === 'user')?.content;
        return `${String(first)} > ${text}`;
      },
    },
    agent: { env: { FAME_TOOLS: 'none' } },
  });
});
afterAll(stopStack);

test('FB-1 reports a conversation that exists already, and one that does not', async () => {
  const client = await openClient(stack.sentinel.url);
  const call = (method: string, params: unknown) => client.call(CHAT, method, params);
  await call('start_task', { id: 'fb-1' });
  await expect(call('start_task', { id: 'fb-1' })).rejects.toMatchObject({ code: 'CONVERSATION_EXISTS' });
  await expect(call('run_turn', ['fb-none', 'hi'])).rejects.toMatchObject({ code: 'CONVERSATION_UNKNOWN' });
  expect(await call('end_conversation', ['fb-none'])).toBeNull();
});

test('FB-2 hands the first text to the client before the model has sent its last chunk', async () => {
  const conversation = await converse(await openClient(stack.sentinel.url));
  held = gate();
  const before = stack.model.count;
  let isAnswered = false;
  const events: TurnEvent[] = [];
  for await (const event of conversation.stream('halves')) {
    events.push(event);
    if (event.type !== 'text' || event.text !== 'one, ') continue;
    const request = await stack.model.arrival(before + 1);
    void request.ended.then(() => {
      isAnswered = true;
    });
    await new Promise((next) => setImmediate(next));
    expect(isAnswered).toBe(false);
    held.open();
  }
  expect(isAnswered).toBe(true);
  expect(events.map((event) => (event.type === 'text' ? event.text : event.type))).toEqual([
    'one, ',
    'two',
    'done',
  ]);
});

test('with FAME_TOOLS=none the model is offered no tools', async () => {
  const conversation = await converse(await openClient(stack.sentinel.url));
  await conversation.ask('hello');
  expect(stack.model.requests.at(-1)!.body).not.toHaveProperty('tools');
});

test('FB-3 closes the request to the model within a second when the client leaves the stream', async () => {
  const conversation = await converse(await openClient(stack.sentinel.url));
  const before = stack.model.count;
  let leftAt = 0;
  for await (const event of conversation.stream('endless')) {
    if (event.type !== 'text') continue;
    leftAt = performance.now();
    break;
  }
  const request = await stack.model.arrival(before + 1);
  expect(await request.ended).toBe('disconnected');
  expect(request.disconnectedAt! - leftAt).toBeLessThan(1_000);
});

test('FB-5, c98: keeps the order of events over a cut connection, and delivers none twice', async () => {
  const proxy = await TcpProxy.to(stack.sentinel.port);
  const url = stack.sentinel.url.replace(`:${stack.sentinel.port}/`, `:${proxy.port}/`);
  const conversation = await converse(await openClient(url));
  held = gate();
  later = gate();
  const events: TurnEvent[] = [];
  for await (const event of conversation.stream('thirds')) {
    events.push(event);
    if (event.type !== 'text') continue;
    if (event.text.startsWith('one')) {
      expect(proxy.cut()).toBe(1);
      held.open();
    } else if (event.text.startsWith('two')) later.open();
  }
  const texts = events.flatMap((event) => (event.type === 'text' ? [event.text] : []));
  expect(texts.join('')).toBe('one, two, three');
  expect(events.at(-1)).toMatchObject({ type: 'done', text: 'one, two, three' });
  const seqs = events.map((event) => event.seq!);
  expect(seqs).toEqual([...new Set(seqs)].toSorted((a, b) => a - b));
  await proxy.close();
});

test('FB-7 reports an error with its code, its message and whether it is retryable, and no stack', async () => {
  const conversation = await converse(await openClient(stack.sentinel.url));
  const error = await conversation.ask('fail').then(
    () => undefined,
    (reason: unknown) => reason,
  );
  expect(error).toBeInstanceOf(FabricError);
  expect(error).toMatchObject({ code: 'MODEL_AUTH', retryable: false });
  const { message, details = {} } = error as FabricError;
  const text = `${message} ${JSON.stringify(details)}`;
  expect(message).toMatch(/key/i);
  expect(text).not.toMatch(/\bat (?:async )?[\w.<>]+ \(|node_modules|\.[jt]s:\d/);
  expect(text).not.toContain(API_KEY);
});

test('FB-8 holds 100 conversations of 10 turns without mixing them, in bounded memory', async () => {
  // The agent runs in this process, so that its memory can be measured after a garbage collection.
  const model: ChatModel = {
    name: 'echo',
    async *stream({ messages }) {
      const content = `${messages.find(({ role }) => role === 'user')!.content} > ${messages.at(-1)!.content}`;
      yield { choices: [{ index: 0, delta: { content }, finish_reason: 'stop' }] };
    },
  };
  const address = 'many@fame.fabric';
  const store = await SqliteStore.open({ path: join(temporaryDirectory(), 'journal.db') });
  const link = await connectLink(stack.sentinel.url);
  const serving = await new ChatAgent({ address, model, store }).serve(link);
  const client = await openClient(stack.sentinel.url);
  const all = Array.from({ length: 100 }, () => client.conversation(address));
  const held: number[] = [];
  for (let turn = 0; turn < 10; turn++) {
    const answers = await Promise.all(all.map((conversation, i) => conversation.ask(`${i}.${turn}`)));
    // The model answers with the first and the last message that it sees: both are of this conversation.
    expect(answers).toEqual(all.map((_, i) => `${i}.0 > ${i}.${turn}`));
    held.push(await livingBytes());
  }
  await Promise.all(all.map((conversation) => conversation.end()));
  all.length = 0;
  const atEnd = await livingBytes();
  console.info(
    `FB-8: MB held after each turn: ${[...held, atEnd].map((n) => (n / 1e6).toFixed(1)).join(' ')}`,
  );
  expect(held.at(-1)! - held[0]!).toBeLessThan(9 * 100 * 4_096);
  expect(atEnd).toBeLessThan(held[0]! + 1_000_000);
  await serving.close();
  await link.close();
  await store.close();
});

test('FB-9 prints envelopes on request, without their payloads', async () => {
  const chat = startNode(fameArgs('chat', '--lines', '--system', 'planted-system'), {
    name: 'fame chat',
    env: {
      FAME_DIRECT_ADMISSION_URL: stack.sentinel.url,
      FAME_DATA_DIR: temporaryDirectory(),
      FAME_SHOW_ENVELOPES: 'true',
    },
  });
  let stderr = '';
  chat.child.stderr?.on('data', (text: string) => {
    stderr += text;
  });
  chat.write('planted-message');
  chat.child.stdin?.end();
  expect(await chat.exited).toMatchObject({ code: 0 });
  expect(stderr).toMatch(/Sent envelope → Data request run_turn_stream to chat@fame\.fabric/);
  expect(stderr).toMatch(/Received envelope ← Data/);
  for (const word of ['planted-system', 'planted-message', API_KEY]) expect(stderr).not.toContain(word);
  expect(chat.output).toContain('A> planted-message > planted-message');
});
