// The store against a real chat agent and real links, over a sentinel in memory that a test takes down.
import { ChatAgent, defineAgent, MemoryStore, operation, ToolSet, tool } from '@fame-fabric/agents';
import { callTools, gate, type Scripted, scriptedModel } from '@fame-fabric/agents/testing';
import { type Client, connect } from '@fame-fabric/client';
import { Link } from '@fame-fabric/shared';
import { ManualClock, ScriptedSentinel } from '@fame-fabric/shared/testing';
import { afterEach, expect, test, vi } from 'vitest';
import { z } from 'zod';
import {
  ConversationStore,
  type ConversationStoreOptions,
  type ConversationView,
} from './conversation-store.ts';

const ADDRESS = 'chat@fame.fabric';
const URL = 'memory://sentinel';
const closing: (() => unknown)[] = [];
afterEach(async () => {
  for (const close of closing.splice(0).reverse()) await close();
});

const cancelOrder = tool({
  name: 'cancel_order',
  description: 'Cancel an order',
  parameters: z.object({ id: z.string() }),
  approval: 'always',
  execute: ({ id }) => ({ id, status: 'cancelled' }),
});

/** A sentinel, and a chat agent with a scripted model that serves through it. */
async function startFabric(replies: readonly Scripted[] = []) {
  const sentinel = new ScriptedSentinel();
  const store = new MemoryStore();
  const model = scriptedModel(replies);
  const startAgent = async (): Promise<() => Promise<void>> => {
    const link = new Link({ url: URL, dial: sentinel.dial, backoffMinMs: 5, backoffMaxMs: 20 });
    await link.connect();
    const agent = new ChatAgent({
      address: ADDRESS,
      systemPrompt: 'Be kind.',
      model,
      store,
      tools: new ToolSet([cancelOrder]),
    });
    const serving = await agent.serve(link);
    const stop = async (): Promise<void> => {
      await serving.close();
      await link.close();
    };
    closing.push(stop);
    return stop;
  };
  const open = (): Promise<Client> =>
    connect({ url: URL, dial: sentinel.dial, connectTimeoutMs: 50, backoffMinMs: 5, backoffMaxMs: 20 });
  return { sentinel, model, startAgent, open };
}

/** A store with one listener. */
function show(options: Omit<ConversationStoreOptions, 'address'>) {
  const store = new ConversationStore({ address: ADDRESS, ...options });
  const listener = vi.fn();
  const leave = store.subscribe(listener);
  closing.push(leave);
  const until = async (check: (view: ConversationView) => boolean): Promise<ConversationView> => {
    await expect.poll(() => check(store.getSnapshot())).toBe(true);
    return store.getSnapshot();
  };
  return { store, listener, leave, until };
}
const texts = ({ messages }: ConversationView) =>
  messages.map(({ role, text, state }) => `${role} ${text} ${state}`);

test('a message is shown at once, and its answer while it streams', async () => {
  const half = gate();
  const { startAgent, open } = await startFabric([['Hello ', half, 'Ada']]);
  await startAgent();
  const { store, until } = show({ connect: open });
  expect(store.getSnapshot()).toMatchObject({ status: 'connecting', messages: [], isAnswering: false });
  store.send('Hi');
  expect(texts(store.getSnapshot())).toEqual(['user Hi sending']);
  const running = await until(({ messages }) => messages[1]?.text === 'Hello ');
  expect(running).toMatchObject({ status: 'ready', isAnswering: true });
  half.open();
  const done = await until(({ isAnswering }) => !isAnswering);
  expect(texts(done)).toEqual(['user Hi sent', 'assistant Hello Ada completed']);
  expect(done.messages[0]).toBe(running.messages[0]);
});

test('another page with the same id shows the same messages, earlier ones included', async () => {
  const { startAgent, open } = await startFabric(['One.', 'Two.', 'Three.']);
  await startAgent();
  const first = show({ connect: open, conversationId: 'c1' });
  const waiting = show({ connect: open, conversationId: 'c1' });
  await waiting.until(({ status }) => status === 'ready');
  first.store.send('1');
  await first.until(({ isAnswering, messages }) => messages.length === 2 && !isAnswering);
  const late = show({ connect: open, conversationId: 'c1' });
  await late.until(({ messages }) => messages[1]?.state === 'completed');
  late.store.send('2');
  for (const page of [first, waiting, late]) {
    expect(texts(await page.until(({ messages }) => messages[3]?.state === 'completed'))).toEqual([
      'user 1 sent',
      'assistant One. completed',
      'user 2 sent',
      'assistant Two. completed',
    ]);
  }
});

test('a call waits until a page approves it', async () => {
  const { startAgent, open } = await startFabric([
    callTools([{ name: 'cancel_order', arguments: '{"id":"1042"}' }]),
    'It is cancelled.',
  ]);
  await startAgent();
  const { store, until } = show({ connect: open });
  store.send('Cancel order 1042');
  const { approvals } = await until((view) => view.approvals.length === 1);
  expect(approvals).toMatchObject([
    { type: 'tool', name: 'cancel_order', args: { id: '1042' }, isAnswering: false },
  ]);
  store.answerApproval(approvals[0]!.id, true);
  expect(store.getSnapshot().approvals).toMatchObject([{ isAnswering: true }]);
  const done = await until(({ isAnswering }) => !isAnswering);
  expect(done).toMatchObject({
    approvals: [],
    messages: [
      {},
      {
        parts: [
          { name: 'cancel_order', state: 'done' },
          { type: 'text', text: 'It is cancelled.' },
        ],
      },
    ],
  });
  store.answerApproval('no such call', true);
  expect((await until(({ error }) => error !== undefined)).error).toMatchObject({ code: 'APPROVAL_UNKNOWN' });
});

test('cancel ends the running turn, and retry sends its message again', async () => {
  const { startAgent, open } = await startFabric([['Well', gate()], 'Done.']);
  await startAgent();
  const { store, until } = show({ connect: open });
  store.send('Go');
  await until(({ messages }) => messages[1]?.text === 'Well');
  store.cancel();
  const cancelled = await until(({ isAnswering }) => !isAnswering);
  expect(texts(cancelled)).toEqual(['user Go sent', 'assistant Well cancelled']);
  store.retry();
  const done = await until(({ messages }) => messages[3]?.state === 'completed');
  expect(texts(done).slice(2)).toEqual(['user Go sent', 'assistant Done. completed']);
  store.retry();
  expect(store.getSnapshot().messages).toHaveLength(4);
});

test('without a sentinel the page is away, and a message waits until there is one', async () => {
  const { sentinel, startAgent, open } = await startFabric(['Here.']);
  sentinel.isDown = true;
  const { store, until } = show({ connect: open });
  store.send('Anyone?');
  const away = await until(({ status }) => status === 'away');
  expect(away).toMatchObject({ error: { code: 'LINK_TIMEOUT' }, messages: [{ state: 'sending' }] });
  sentinel.isDown = false;
  await startAgent();
  const ready = await until(({ messages }) => messages[1]?.state === 'completed');
  expect(ready).toMatchObject({ status: 'ready', error: undefined });
});

test('a message that waits can be cancelled before it is sent', async () => {
  const { sentinel, open, model } = await startFabric(['never']);
  sentinel.isDown = true;
  const { store, until } = show({ connect: open });
  store.send('Anyone?');
  store.cancel();
  const { messages } = await until(({ isAnswering }) => !isAnswering);
  expect(messages).toMatchObject([{ state: 'failed', error: { code: 'TURN_CANCELLED' } }]);
  expect(model.calls).toEqual([]);
});

test('without an agent the status is away, and a message waits for the agent', async () => {
  const { startAgent, open } = await startFabric(['One.', 'Two.']);
  const stop = await startAgent();
  const { store, until } = show({ connect: open });
  store.send('1');
  await until(({ messages }) => messages[1]?.state === 'completed');
  await stop();
  expect(await until(({ status }) => status === 'away')).toMatchObject({
    error: { code: expect.any(String) },
  });
  store.send('2');
  await startAgent();
  const done = await until(({ messages }) => messages[3]?.state === 'completed');
  expect(done).toMatchObject({ status: 'ready', error: undefined });
});

test('a lost connection repeats nothing', async () => {
  const half = gate();
  const { sentinel, startAgent, open } = await startFabric([['first, ', half, 'second']]);
  await startAgent();
  const { store, until } = show({ connect: open });
  store.send('Go');
  await until(({ messages }) => messages[1]?.text === 'first, ');
  for (const { transport } of [...sentinel.nodes]) transport.terminate();
  await until(({ status }) => status === 'away');
  half.open();
  const done = await until(({ isAnswering, status }) => !isAnswering && status === 'ready');
  expect(texts(done)).toEqual(['user Go sent', 'assistant first, second completed']);
});

test('the settings apply to the first message, and the end of the conversation is shown', async () => {
  const { startAgent, open, model } = await startFabric(['Ahoy.']);
  await startAgent();
  const { store, until } = show({
    connect: open,
    conversationId: 'c1',
    settings: { systemPrompt: 'Be a pirate.' },
  });
  store.send('Hi');
  await until(({ messages }) => messages[1]?.state === 'completed');
  expect(model.requests[0]!.messages[0]).toMatchObject({ role: 'system', content: 'Be a pirate.' });
  const client = await open();
  closing.push(() => client.close());
  const conversation = client.conversation(ADDRESS, { id: 'c1', isResumed: true });
  await conversation.end();
  await until(({ status }) => status === 'ended');
  store.send('More');
  const { messages } = await until((view) => view.messages[2]?.state === 'failed');
  expect(messages[2]).toMatchObject({ error: { code: 'CONVERSATION_UNKNOWN' } });
});

test('an agent without conversations is a failure, and retry starts over', async () => {
  const { sentinel, startAgent, open } = await startFabric(['Hi.']);
  const link = new Link({ url: URL, dial: sentinel.dial });
  await link.connect();
  closing.push(() => link.close());
  const other = await defineAgent({ address: ADDRESS, operations: {} }).serve(link);
  const { store, until } = show({ connect: open });
  store.send('Hello?');
  expect(await until(({ status }) => status === 'failed')).toMatchObject({
    error: { code: 'METHOD_NOT_FOUND' },
  });
  await other.close();
  await link.close();
  await startAgent();
  store.retry();
  await until(({ messages }) => messages[1]?.state === 'completed');
});

test('an agent that ends each stream of events at once is asked again after a pause', async () => {
  const { sentinel, open } = await startFabric();
  const link = new Link({ url: URL, dial: sentinel.dial });
  await link.connect();
  closing.push(() => link.close());
  let streams = 0;
  const params = z.looseObject({ follow: z.boolean().optional() });
  const readEvents = operation({
    params,
    async *run({ follow }) {
      if (follow) streams += 1;
      else yield { events: [], next: 0 };
    },
  });
  await defineAgent({ address: ADDRESS, operations: { read_events: readEvents } }).serve(link);
  const clock = new ManualClock();
  const client = await open();
  closing.push(() => client.close());
  show({ connect: async () => client, isShared: true, clock });
  await expect.poll(() => streams).toBe(1);
  const roundTrip = (): Promise<unknown> => client.call(ADDRESS, 'read_events', {});
  for (let trip = 0; trip < 10; trip++) await roundTrip();
  expect(streams).toBe(1);
  clock.advance(5_000);
  await expect.poll(() => streams).toBe(2);
});

test('a listener that leaves and returns at once keeps the connection; after the last one it is closed', async () => {
  const { startAgent, open } = await startFabric();
  await startAgent();
  const clients: Client[] = [];
  const counted = async (): Promise<Client> => {
    const client = await open();
    clients.push(client);
    return client;
  };
  const { store, leave, listener, until } = show({ connect: counted });
  leave();
  const leaveAgain = store.subscribe(listener);
  await until(({ status }) => status === 'ready');
  expect(clients).toHaveLength(1);
  leaveAgain();
  await expect.poll(() => clients[0]!.state).toBe('closed');
  listener.mockClear();
  const returned = store.subscribe(listener);
  closing.push(returned);
  await until(({ status }) => status === 'ready');
  expect(clients).toHaveLength(2);
});

test('a shared client stays open, and an answer continues without a listener', async () => {
  const half = gate();
  const { startAgent, open } = await startFabric([['first, ', half, 'second']]);
  await startAgent();
  const client = await open();
  closing.push(() => client.close());
  const { store, leave, until } = show({ connect: async () => client, isShared: true });
  store.send('Go');
  await until(({ messages }) => messages[1]?.text === 'first, ');
  leave();
  await half.reached;
  half.open();
  closing.push(store.subscribe(() => {}));
  const done = await until(({ isAnswering }) => !isAnswering);
  expect(texts(done)).toEqual(['user Go sent', 'assistant first, second completed']);
  expect(client.state).toBe('attached');
});

test('a stream of many events changes the view once per frame', async () => {
  const words = Array.from({ length: 400 }, (_, index) => `${index} `);
  const { startAgent, open } = await startFabric([words]);
  await startAgent();
  const { store, listener, until } = show({ connect: open });
  store.send('Count');
  const done = await until(({ messages }) => messages[1]?.state === 'completed');
  expect(done.messages[1]!.text).toBe(words.join(''));
  expect(listener.mock.calls.length).toBeLessThan(100);
});
