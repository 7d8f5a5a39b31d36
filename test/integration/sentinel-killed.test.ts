// A5, P7: a sentinel that was killed and started again on its port. Its nodes come back by themselves, to the paths they
// had; what was under way is asked again under the same id and answered once.
import { gate } from '@fame-fabric/agents/testing';
import type { TurnEvent } from '@fame-fabric/client/conversation';
import { afterAll, expect, test, vi } from 'vitest';
import { startOurSentinel } from '../kit/sentinel.ts';
import { converse, openClient, startStack, stopStack } from '../kit/stack.ts';

const BACK_MS = 3_000;

afterAll(stopStack);

test('A5: after a kill -9 of the sentinel, client and agent answer within 3 s of its listening, five times', async () => {
  const stack = await startStack();
  const client = await openClient(stack.sentinel.url);
  const conversation = await converse(client);
  expect(await conversation.ask('before')).toBe('re: before');
  const { path } = client;
  const figures: number[] = [];
  for (let round = 1; round <= 5; round++) {
    await stack.sentinel.proc.kill();
    await vi.waitFor(() => expect(client.state).toBe('reconnecting'));
    stack.sentinel = await startOurSentinel(stack.sentinel);
    const listeningAt = performance.now();
    expect(await conversation.ask(`after ${round}`)).toBe(`re: after ${round}`);
    figures.push(Math.round(performance.now() - listeningAt));
    expect(client.path).toBe(path);
  }
  console.info(`A5: answers after the sentinel listens again: ${figures.join(', ')} ms (<= ${BACK_MS})`);
  expect(Math.max(...figures)).toBeLessThanOrEqual(BACK_MS);
  // The agent kept the conversation: the last request holds every turn before it.
  expect(stack.model.requests.at(-1)!.body.messages.filter(({ role }) => role === 'user')).toHaveLength(6);
}, 60_000);

test('A5: a turn that is under way when the sentinel is killed is answered once, and whole', async () => {
  const half = gate();
  const stack = await startStack({ model: { respond: () => ['first half, ', half, 'second half'] } });
  const client = await openClient(stack.sentinel.url);
  const conversation = await converse(client);
  const events: TurnEvent[] = [];
  const turn = (async () => {
    for await (const event of conversation.stream('tell me')) events.push(event);
  })();
  await vi.waitFor(() => expect(events).toHaveLength(1));
  await half.reached;
  await stack.sentinel.proc.kill();
  half.open(); // the answer is complete while nobody is there to carry it
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
}, 30_000);
