// Reasoning and waits over the fabric: a model server that limits the rate and sends reasoning, an agent process, and real sockets.
import { type ControlledGate, gate, httpError, reasoning } from '@fame-fabric/agents/testing';
import type { TurnEvent } from '@fame-fabric/client';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { temporaryDirectory } from '../kit/sentinel.ts';
import { converse, openClient, type Stack, startAgent, startStack, stopStack } from '../kit/stack.ts';

let stack: Stack;
let begun: ControlledGate;
let held: ControlledGate;
let requests = 0;
const dataDir = temporaryDirectory();
beforeAll(async () => {
  stack = await startStack({
    agent: { dataDir },
    model: {
      respond: () => {
        requests += 1;
        if (requests === 1) return httpError(429, { message: 'Slow down' }, { 'retry-after': '1' });
        return [begun, reasoning('The user '), reasoning('greets.'), held, 'Hello', '!'];
      },
    },
  });
});
afterAll(stopStack);

const open = (): ControlledGate => {
  const opened = gate();
  opened.open();
  return opened;
};
const include = ['reasoning', 'waiting'] as const;
const thoughts = (events: readonly TurnEvent[]): string =>
  events.map((event) => (event.type === 'reasoning' ? event.text : '')).join('');

test('a caller that asks for waits and reasoning receives them; other callers receive the events without them', async () => {
  begun = open();
  held = open();
  const client = await openClient(stack.sentinel.url);
  const events: TurnEvent[] = [];
  for await (const event of (await converse(client)).stream('Hi', { include })) events.push(event);
  const [wait] = events;
  expect(wait).toMatchObject({
    type: 'waiting',
    reason: 'rate_limited',
    attempt: 2,
    attempts: 4,
    message: 'Slow down',
  });
  const { retry_in_ms } = wait as { retry_in_ms: number };
  expect(retry_in_ms).toBeGreaterThanOrEqual(1_000);
  expect(retry_in_ms).toBeLessThanOrEqual(1_100);
  expect(thoughts(events)).toBe('The user greets.');
  expect(events.at(-1)).toMatchObject({ type: 'done', text: 'Hello!' });

  const items: unknown[] = [];
  const conversation = await converse(client);
  const params = { conversation_id: conversation.id, user_message: 'Hi', turn_id: 't1' };
  for await (const item of client.stream('chat@fame.fabric', 'run_turn_stream', params)) items.push(item);
  const texts = items.slice(0, -1) as { text: string }[];
  expect(texts.map(({ text }) => text).join('')).toBe('Hello!');
  for (const item of texts) {
    expect(item).toEqual({ type: 'text', seq: expect.any(Number), turn_id: 't1', text: expect.any(String) });
  }
  expect(items.at(-1)).toEqual({
    type: 'done',
    seq: expect.any(Number),
    turn_id: 't1',
    text: 'Hello!',
    model: expect.any(String),
    finish: 'stop',
    usage: expect.any(Object),
    cost: 'unknown',
    first_token_ms: expect.any(Number),
    duration_ms: expect.any(Number),
  });
});

test('after kill -9 of the agent the reasoning of the next attempt follows', async () => {
  begun = open();
  held = gate();
  const client = await openClient(stack.sentinel.url);
  const conversation = await converse(client);
  const events: TurnEvent[] = [];
  let isKilled = false;
  for await (const event of conversation.stream('Hi', { include })) {
    events.push(event);
    // The next process has answered the client before its model begins.
    if (event.type === 'restart') begun.open();
    if (thoughts(events) === 'The user greets.' && !isKilled) {
      isKilled = true;
      await stack.agent.kill();
      begun = gate();
      held = open();
      stack.agent = await startAgent(stack.sentinel.url, { model: stack.model, dataDir });
    }
  }
  expect(thoughts(events)).toBe('The user greets.The user greets.');
  expect(events.at(-1)).toMatchObject({ type: 'done', text: 'Hello!' });
});
