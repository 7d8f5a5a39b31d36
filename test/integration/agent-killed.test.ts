// A5, P5: no caller waits for a dead agent. The agent is killed while a call and a stream are open. The callers are notified
// when the resume window has ended, and no later than 2 s after that.
import { join } from 'node:path';
import { gate, stall } from '@fame-fabric/agents/testing';
import type { Client } from '@fame-fabric/client';
import { isFabricError } from '@fame-fabric/shared';
import { afterAll, describe, expect, test } from 'vitest';
import { metric, startOurSentinel } from '../kit/sentinel.ts';
import { CHAT, converse, openClient, startAgent, startModel, stopStack } from '../kit/stack.ts';

const GRACE_MS = 2_000;
/** Tolerance for the clocks of two processes, rounded to ms. */
const ROUNDING_MS = 50;

afterAll(stopStack);

/** Time from `since` to the rejection of the promise, which must be NODE_GONE, in ms. */
async function goneAfterMs(outcome: Promise<unknown>, since: () => number): Promise<number> {
  const error: unknown = await outcome.then(
    (value) => new Error(`there was an answer: ${JSON.stringify(value)}`),
    (thrown: unknown) => thrown,
  );
  if (!isFabricError(error, 'NODE_GONE')) throw error;
  expect(error.retryable).toBe(true);
  return performance.now() - since();
}

async function openStream(client: Client) {
  const conversation = await converse(client);
  const begun = Promise.withResolvers<string>();
  const read = async (): Promise<void> => {
    // The operation itself: a `Conversation` would repeat the call until the agent is back.
    const items = client.stream(CHAT, 'run_turn_stream', { args: [conversation.id, 'stream'] });
    for await (const item of items) {
      const event = item as { type: string; text: string };
      if (event.type === 'text') begun.resolve(event.text);
    }
  };
  return { begun: begun.promise, ended: read() };
}

describe.each([
  ['FAME_RESUME_WINDOW_MS=500', 500, { FAME_RESUME_WINDOW_MS: '500' }],
  ['the default window of 5 s', 5_000, {}],
  ['no window', 0, { FAME_RESUME_WINDOW_MS: '0' }],
] as const)('A5: with %s', (name, windowMs, env) => {
  test('callers of a killed agent get NODE_GONE in time, and its address is given to its successor at once', async () => {
    const sentinel = await startOurSentinel({ env });
    const held = gate();
    const model = await startModel({
      respond: ({ messages }) => {
        const { content } = messages.at(-1)!;
        if (content === 'call') return [held];
        return content === 'stream' ? ['The beginning', stall()] : 'alive';
      },
    });
    // With the key a replacement gets the address at once; see decision 17.
    const options = { model, env: { FAME_ADMISSION_TOKEN_FILE: join(sentinel.dataDir, 'token') } };
    const agent = await startAgent(sentinel.url, options);
    const client = await openClient(sentinel.url);

    const asked = await converse(client);
    const call = client.call(CHAT, 'run_turn', { args: [asked.id, 'call'] }, { timeoutMs: 60_000 });
    const stream = await openStream(client);
    await held.reached;
    expect(await stream.begun).toBe('The beginning');

    let killedAt = 0;
    const callGone = goneAfterMs(call, () => killedAt);
    const streamGone = goneAfterMs(stream.ended, () => killedAt);
    killedAt = performance.now();
    agent.child.kill('SIGKILL');

    // A replacement does not wait for the window, and does not know the calls of the dead agent.
    await startAgent(sentinel.url, options);
    expect(await (await converse(client)).ask('are you there?')).toBe('alive');

    const took = { call: Math.round(await callGone), stream: Math.round(await streamGone) };
    console.info(
      `A5: agent killed, ${name}: NODE_GONE after ${took.call} ms (call), ${took.stream} ms (stream)`,
    );
    for (const ms of [took.call, took.stream]) {
      expect(ms).toBeGreaterThanOrEqual(windowMs - ROUNDING_MS);
      expect(ms).toBeLessThanOrEqual(windowMs + GRACE_MS);
    }
    expect(await metric(sentinel, 'fame_open_calls')).toBe(0);
  });
});
