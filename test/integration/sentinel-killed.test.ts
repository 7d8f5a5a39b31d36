// A5, P7: a sentinel is killed and restarted on its port. Its nodes reconnect by themselves and keep their paths. Calls in flight
// are sent again with the same id and answered once.
import { gate } from '@fame-fabric/agents/testing';
import type { TurnEvent } from '@fame-fabric/client';
import { afterAll, expect, test } from 'vitest';
import { eventually } from '../kit/eventually.ts';
import { fameArgs, startNode } from '../kit/processes.ts';
import { startOurSentinel, temporaryDirectory } from '../kit/sentinel.ts';
import { converse, openClient, startStack, stopStack } from '../kit/stack.ts';

const BACK_MS = 3_000;

afterAll(stopStack);

test('A5: after a kill -9 of the sentinel, client and agent answer within 3 s of its listening, three times', async () => {
  const figures: number[] = [];
  for (let round = 0; round < 3; round++) {
    const stack = await startStack();
    const client = await openClient(stack.sentinel.url);
    const conversation = await converse(client);
    expect(await conversation.ask('before')).toBe('re: before');
    const { path } = client;
    await stack.sentinel.proc.kill();
    await eventually(() => expect(client.state).toBe('reconnecting'));
    await startOurSentinel(stack.sentinel);
    const listeningAt = performance.now();
    expect(await conversation.ask('after')).toBe('re: after');
    figures.push(Math.round(performance.now() - listeningAt));
    expect(client.path).toBe(path);
    const messages = stack.model.requests.at(-1)!.body.messages.filter(({ role }) => role !== 'system');
    expect(messages.map(({ content }) => content)).toEqual(['before', 're: before', 'after']);
  }
  console.info(`A5: answers after the sentinel listens again: ${figures.join(', ')} ms (<= ${BACK_MS})`);
  expect(Math.max(...figures)).toBeLessThanOrEqual(BACK_MS);
});

test('A5: repeated kills of the sentinel delay turns and lose none', async () => {
  const stack = await startStack();
  const conversation = await converse(await openClient(stack.sentinel.url));
  for (let round = 1; round <= 3; round++) {
    const turn = conversation.ask(`round ${round}`);
    await stack.sentinel.proc.kill();
    stack.sentinel = await startOurSentinel(stack.sentinel);
    expect(await turn).toBe(`re: round ${round}`);
  }
  expect(await conversation.history()).toHaveLength(6);
  expect(stack.model.count).toBe(3);
});

test('c91 40 nodes are attached again within 15 s after a kill -9 of the sentinel', async () => {
  const sentinel = await startOurSentinel();
  const clients = await Promise.all(Array.from({ length: 40 }, () => openClient(sentinel.url)));
  const paths = clients.map(({ path }) => path);
  await sentinel.proc.kill();
  await eventually(() =>
    expect(new Set(clients.map(({ state }) => state))).toEqual(new Set(['reconnecting'])),
  );
  await startOurSentinel(sentinel);
  const startedAt = performance.now();
  await eventually(() => expect(new Set(clients.map(({ state }) => state))).toEqual(new Set(['attached'])));
  expect(performance.now() - startedAt).toBeLessThan(15_000);
  expect(clients.map(({ path }) => path)).toEqual(paths);
});

test('A5: a turn during which the sentinel is killed is answered once and completely', async () => {
  const half = gate();
  const stack = await startStack({ model: { respond: () => ['first half, ', half, 'second half'] } });
  const client = await openClient(stack.sentinel.url);
  const conversation = await converse(client);
  const events: TurnEvent[] = [];
  const turn = (async () => {
    for await (const event of conversation.stream('tell me')) events.push(event);
  })();
  await eventually(() => expect(events).toHaveLength(1));
  await half.reached;
  await stack.sentinel.proc.kill();
  half.open(); // the model finishes its answer while no sentinel runs
  await startOurSentinel(stack.sentinel);
  await turn;
  const text = events.map((event) => (event.type === 'text' ? event.text : '')).join('');
  expect(text).toBe('first half, second half');
  expect(events.at(-1)).toMatchObject({ type: 'done', text });
  expect(stack.model.count).toBe(1);
  expect(await conversation.history()).toEqual([
    { role: 'user', text: 'tell me' },
    { role: 'assistant', text },
  ]);
});

test('A5: `fame chat` prints two notes about the lost connection, and continues', async () => {
  const stack = await startStack();
  const env = { FAME_DIRECT_ADMISSION_URL: stack.sentinel.url, FAME_DATA_DIR: temporaryDirectory() };
  const chat = startNode(fameArgs('chat', '--lines'), { name: 'fame chat', env });
  chat.write('before');
  await chat.waitFor(/^A> re: before\n/m); // the newline shows that the turn is over
  await stack.sentinel.proc.kill();
  await chat.waitFor(/^Reconnecting\.\.\.$/m);
  chat.write('meanwhile'); // sent while no sentinel runs
  await startOurSentinel(stack.sentinel);
  await chat.waitFor(/^A> re: meanwhile$/m);
  expect(chat.output).toMatch(/^Connected again\.$/m);
  chat.write('exit');
  expect(await chat.exited).toEqual({ code: 0, signal: null });
});
