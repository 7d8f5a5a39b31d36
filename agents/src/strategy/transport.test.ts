// A strategy and a failing model server: the model adapter waits and retries without the strategy, and an error that retrying cannot
// fix reaches the caller unchanged.
import { type Clock, type LogFields, type Logger, silentLog } from '@fame-fabric/shared';
import { ManualClock } from '@fame-fabric/shared/testing';
import { describe, expect, it, vi } from 'vitest';
import { z } from 'zod';
import { openaiModel } from '../model/openai/openai-model.ts';
import { ChatMessage } from './chat-message.ts';
import { ChatPrompt } from './chat-prompt.ts';
import { defineStrategies, defineStrategy } from './prompt-strategy.ts';

const say = defineStrategies(
  defineStrategy({
    name: 'say',
    modelClass: 'fast',
    input: z.object({}),
    build: () => new ChatPrompt({ messages: [ChatMessage.user('Hello')] }),
  }),
);

const answer = (): Response => {
  const chunk = (delta: object, finish_reason: string | null) =>
    `data: ${JSON.stringify({ choices: [{ index: 0, delta, finish_reason }] })}\n\n`;
  const body = `${chunk({ content: 'Hello!' }, null)}${chunk({}, 'stop')}data: [DONE]\n\n`;
  return new Response(body, { headers: { 'content-type': 'text/event-stream' } });
};
const refusal = (status: number, waitMs = 1): Response =>
  new Response(JSON.stringify({ error: { message: `status ${status}` } }), {
    status,
    headers: { 'content-type': 'application/json', 'retry-after-ms': String(waitMs) },
  });
const reset = (): never => {
  throw Object.assign(new TypeError('fetch failed'), {
    cause: Object.assign(new Error('x'), { code: 'ECONNRESET' }),
  });
};

/** Runs the strategy against a server that answers so, one after the other. */
function run(answers: (() => Response)[], more: { signal?: AbortSignal; log?: Logger; clock?: Clock } = {}) {
  const asked: number[] = [];
  const model = openaiModel({
    model: 'm',
    apiKey: 'k',
    baseURL: 'http://127.0.0.1:9/v1',
    random: () => 0,
    ...(more.log ? { log: more.log } : {}),
    ...(more.clock ? { clock: more.clock } : {}),
    fetch: async () => answers[asked.push(Date.now()) - 1]!(),
  });
  const { signal } = more;
  return {
    asked,
    done: say.execute('say', {}, { models: { default: model }, ...(signal ? { signal } : {}) }),
  };
}

describe('a strategy and a failing model server', () => {
  it('ST-16 retries after too many requests, server errors and lost connections', async () => {
    for (const failing of [() => refusal(429), () => refusal(500), () => refusal(502), () => refusal(503)]) {
      const { asked, done } = run([failing, failing, answer]);
      expect((await done).text).toBe('Hello!');
      expect(asked).toHaveLength(3);
    }
    expect((await run([reset, answer]).done).text).toBe('Hello!');
  });

  it('ST-16 waits as long as the server asks, by a timer', async () => {
    const clock = new ManualClock();
    const { asked, done } = run([() => refusal(429, 100), answer], { clock });
    await vi.waitFor(() => expect(clock.timerCount).toBe(1));
    clock.advance(99);
    await new Promise((resolve) => setImmediate(resolve));
    expect(asked).toHaveLength(1);
    clock.advance(1);
    expect((await done).text).toBe('Hello!');
  });

  it('ST-16 fails after four attempts with the last error, and logs each attempt', async () => {
    const lines: (LogFields | undefined)[] = [];
    const log: Logger = { ...silentLog, warn: (_, fields) => lines.push(fields), with: () => log };
    const { asked, done } = run(
      [500, 500, 500, 503].map((status) => () => refusal(status)),
      { log },
    );
    await expect(done).rejects.toMatchObject({ code: 'MODEL_UNAVAILABLE', details: { status: 503 } });
    expect(asked).toHaveLength(4);
    expect(lines).toHaveLength(3);
  });

  it('ST-16 does not retry an error that is permanent', async () => {
    for (const [status, code] of [
      [400, 'MODEL_REFUSED'],
      [401, 'MODEL_AUTH'],
    ] as const) {
      const { asked, done } = run([() => refusal(status)]);
      await expect(done).rejects.toMatchObject({ code });
      expect(asked).toHaveLength(1);
    }
  });

  it('ST-16 ST-28 stops waiting when it is aborted', async () => {
    const abort = new AbortController();
    const reason = new Error('enough');
    const { asked, done } = run(
      [
        () => {
          setImmediate(() => abort.abort(reason));
          return refusal(503, 60_000);
        },
      ],
      { signal: abort.signal },
    );
    await expect(done).rejects.toBe(reason);
    expect(asked).toHaveLength(1);
  });
});
