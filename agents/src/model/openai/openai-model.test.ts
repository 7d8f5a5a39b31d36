import type { AddressInfo } from 'node:net';
import { createServer } from 'node:net';
import { isFabricError, systemClock } from '@fame-fabric/shared';
import { CaptureLog, ManualClock } from '@fame-fabric/shared/testing';
import { afterEach, describe, expect, it, vi } from 'vitest';
import {
  type FakeOpenAI,
  type FakeOpenAIOptions,
  fakeOpenAI,
  httpError,
} from '../../testing/openai-server.ts';
import { callTools, gate, reply, stall } from '../../testing/script.ts';
import type { ModelChunk, ModelRequest, ModelWait } from '../model.ts';
import { readReply } from '../stream/read-reply.ts';
import { type OpenAIModelOptions, openaiModel } from './openai-model.ts';
import { completionObject } from './openai-wire.ts';

const KEY = 'sk-test-0123456789abcdef';
const servers: FakeOpenAI[] = [];
const serve = async (options?: FakeOpenAIOptions): Promise<FakeOpenAI> => {
  const server = await fakeOpenAI(options);
  servers.push(server);
  return server;
};
afterEach(async () => {
  await Promise.all(servers.splice(0).map((server) => server.close()));
});

const modelOf = (server: { url: string }, options: Partial<OpenAIModelOptions> = {}) =>
  openaiModel({ model: 'fake-1', apiKey: KEY, baseURL: server.url, random: () => 0, ...options });
const ask = (content: string, extra: Partial<ModelRequest> = {}): ModelRequest => ({
  messages: [{ role: 'user', content }],
  ...extra,
});
const read = async (source: AsyncIterable<ModelChunk>): Promise<ModelChunk[]> => {
  const all: ModelChunk[] = [];
  for await (const chunk of source) all.push(chunk);
  return all;
};
const textOf = (chunks: readonly ModelChunk[]): string =>
  chunks.flatMap((chunk) => chunk.choices.map((choice) => choice.delta.content ?? '')).join('');
const argumentsOf = (chunks: readonly ModelChunk[]): string =>
  chunks
    .flatMap((chunk) => chunk.choices.flatMap((choice) => choice.delta.tool_calls ?? []))
    .map((call) => call.function?.arguments ?? '')
    .join('');
const failure = async (promise: Promise<unknown>) => {
  const error = await promise.then(
    () => undefined,
    (caught: unknown) => caught,
  );
  if (!isFabricError(error)) throw new Error(`no FabricError but ${String(error)}`);
  return error;
};
const tool = {
  type: 'function' as const,
  function: { name: 'add', parameters: { type: 'object', properties: { a: { type: 'number' } } } },
};

describe('the OpenAI model', () => {
  it('streams text, finish reason, usage and the model name', async () => {
    const server = await serve({
      replies: [
        reply('Hällo wörld', {
          chunkChars: 3,
          usage: { prompt_tokens: 7, completion_tokens: 3, total_tokens: 10, cached_tokens: 4 },
        }),
      ],
    });
    const chunks = await read(modelOf(server).stream(ask('hi')));
    expect(textOf(chunks)).toBe('Hällo wörld');
    expect(chunks.some((chunk) => chunk.choices[0]?.finish_reason === 'stop')).toBe(true);
    expect(chunks.at(-1)?.usage).toEqual({
      prompt_tokens: 7,
      completion_tokens: 3,
      total_tokens: 10,
      cached_tokens: 4,
    });
    expect(chunks[0]?.model).toBe('fake-1');
    server.done();
  });

  it('sends the request in the format of the API, with the key, organization and project', async () => {
    const server = await serve({ replies: ['ok'], apiKey: KEY });
    const model = modelOf(server, { organization: 'org-1', project: 'proj-1' });
    await read(
      model.stream(
        ask('hi', {
          tools: [tool],
          tool_choice: { type: 'function', function: { name: 'add' } },
          response_format: { type: 'json_schema', json_schema: { name: 'sum', schema: { type: 'object' } } },
          top_p: 0.9,
          presence_penalty: 1,
          frequency_penalty: -1,
          seed: 7,
          temperature: 0.5,
          max_tokens: 9,
          stop: ['END', '###'],
          model: 'other',
        }),
      ),
    );
    const request = server.requests[0]!;
    expect(request.body).toEqual({
      model: 'other',
      messages: [{ role: 'user', content: 'hi' }],
      stream: true,
      stream_options: { include_usage: true },
      tools: [tool],
      tool_choice: { type: 'function', function: { name: 'add' } },
      response_format: { type: 'json_schema', json_schema: { name: 'sum', schema: { type: 'object' } } },
      top_p: 0.9,
      presence_penalty: 1,
      frequency_penalty: -1,
      seed: 7,
      temperature: 0.5,
      max_tokens: 9,
      stop: ['END', '###'],
    });
    expect(request.headers['openai-organization']).toBe('org-1');
    expect(request.headers['openai-project']).toBe('proj-1');
    server.done();
  });

  it.each([true, false])('reads a refusal as the text of the answer, streamed: %s', async (isStream) => {
    const refusal: ModelChunk = { choices: [{ index: 0, delta: { refusal: 'I cannot help with that.' } }] };
    const body = completionObject([refusal, { choices: [{ index: 0, delta: {}, finish_reason: 'stop' }] }], {
      id: 'c',
      created: 0,
      model: 'm',
    });
    const headers = { 'content-type': 'application/json' };
    const whole = { steps: [], http: { status: 200, headers, body: JSON.stringify(body) } };
    const server = await serve({ replies: [isStream ? [refusal] : whole] });
    const texts: string[] = [];
    const { message, finish } = await readReply(modelOf(server).stream(ask('hi')), {
      onText: (text) => {
        texts.push(text);
        return undefined;
      },
    });
    expect(finish).toBe('refusal');
    expect(message).toEqual({ role: 'assistant', content: 'I cannot help with that.' });
    expect(texts.join('')).toBe('I cannot help with that.');
    server.done();
  });

  it('reads no setting from the environment', async () => {
    vi.stubEnv('OPENAI_ORG_ID', 'org-env');
    vi.stubEnv('OPENAI_PROJECT_ID', 'proj-env');
    vi.stubEnv('OPENAI_API_KEY', 'sk-env-key');
    const server = await serve({ replies: ['ok'] });
    await read(modelOf(server, { apiKey: undefined }).stream(ask('hi')));
    vi.unstubAllEnvs();
    const { headers } = server.requests[0]!;
    expect(JSON.stringify(headers)).not.toMatch(/-env/);
  });

  it.each([
    ['CRLF', { crlf: true }],
    ['comments', { comments: true }],
    ['bytes one by one', { splitBytes: 1 }],
    ['pieces of seven bytes', { splitBytes: 7, crlf: true, comments: true }],
    ['several events a packet', { joinEvents: 5 }],
    ['no [DONE]', { done: false }],
  ])('reads a stream with %s', async (_name, framing) => {
    const server = await serve({
      replies: [
        reply('né 你好 😀!', { chunkChars: 2 }),
        callTools({ name: 'add', arguments: { a: 'é😀' } }, { chunkChars: 1 }),
      ],
      framing,
    });
    const model = modelOf(server);
    expect(textOf(await read(model.stream(ask('hi'))))).toBe('né 你好 😀!');
    const chunks = await read(model.stream(ask('hi', { tools: [tool] })));
    expect(JSON.parse(argumentsOf(chunks))).toEqual({ a: 'é😀' });
    expect(chunks.some((chunk) => chunk.choices[0]?.finish_reason === 'tool_calls')).toBe(true);
    server.done();
  });

  it('delivers each chunk as soon as it arrives', async () => {
    const middle = gate();
    const server = await serve({ replies: [['first', middle, 'second']] });
    const stream = modelOf(server).stream(ask('hi'))[Symbol.asyncIterator]();
    expect(textOf([(await stream.next()).value])).toBe('first');
    middle.open();
    expect(textOf([(await stream.next()).value])).toBe('second');
    await stream.return?.();
  });

  it('repeats the request without stream_options when the server refuses them, and omits them from then on', async () => {
    const server = await serve({ refuseStreamOptions: true, replies: ['one', 'two'] });
    const model = modelOf(server);
    expect(textOf(await read(model.stream(ask('hi'))))).toBe('one');
    expect(textOf(await read(model.stream(ask('hi'))))).toBe('two');
    expect(server.requests.map((request) => Boolean(request.body.stream_options))).toEqual([
      true,
      false,
      false,
    ]);
  });

  it('renames max_tokens and omits temperature for models that require it', async () => {
    const server = await serve({
      replies: [
        httpError(400, {
          message: "Unsupported parameter: 'max_tokens'. Use 'max_completion_tokens' instead.",
          param: 'max_tokens',
          code: 'unsupported_parameter',
        }),
        httpError(400, {
          message: "Unsupported value: 'temperature' does not support 0.5 with this model.",
          param: 'temperature',
          code: 'unsupported_value',
        }),
        'ok',
      ],
    });
    const chunks = await read(modelOf(server).stream(ask('hi', { max_tokens: 5, temperature: 0.5 })));
    expect(textOf(chunks)).toBe('ok');
    expect(server.requests[2]?.body).not.toHaveProperty('temperature');
    expect(server.requests[2]?.body).toMatchObject({ max_completion_tokens: 5 });
  });

  it.each([
    [400, 'registry.ollama.ai/library/gemma:2b does not support tools'],
    [400, '"auto" tool choice requires --enable-auto-tool-choice and --tool-call-parser to be set'],
    [404, 'No endpoints found that support tool use.'],
    [422, 'Tools are not supported for this model'],
  ])(
    'omits tools for a model that cannot call them (%i %s), in later requests too',
    async (status, message) => {
      const server = await serve({
        respond: (request) => (request.tools ? httpError(status, { message }) : 'Hello.'),
      });
      const log = new CaptureLog();
      const model = modelOf(server, { log });
      for (let turn = 0; turn < 2; turn++)
        expect(textOf(await read(model.stream(ask('Hi', { tools: [tool] }))))).toBe('Hello.');
      expect(server.requests.map(({ body }) => Boolean(body.tools))).toEqual([true, false, false]);
      expect(log.lines.filter((line) => line.message.includes('cannot call tools'))).toHaveLength(1);
      // A required call cannot be omitted.
      const forced = ask('Hi', { tools: [tool], tool_choice: 'required' });
      expect((await failure(read(model.stream(forced)))).details).toMatchObject({ status });
    },
  );

  it('offers tools again after ten minutes', async () => {
    const server = await serve({
      respond: ({ tools }) => (tools ? httpError(400, { message: 'does not support tools' }) : 'Hello.'),
    });
    const clock = new ManualClock();
    const model = modelOf(server, { clock });
    const sayHi = () => read(model.stream(ask('Hi', { tools: [tool] })));
    await sayHi();
    clock.advance(600_000);
    await sayHi();
    expect(server.requests.map(({ body }) => Boolean(body.tools))).toEqual([true, false, true, false]);
  });

  it('samples once more when the server could not parse a call of its model', async () => {
    const failed = httpError(400, { message: 'Failed to call a function.', code: 'tool_use_failed' });
    const server = await serve({ replies: [failed, 'Hello.', failed, failed] });
    const model = modelOf(server);
    expect(textOf(await read(model.stream(ask('Hi'))))).toBe('Hello.');
    expect((await failure(read(model.stream(ask('Hi'))))).code).toBe('MODEL_REFUSED');
    server.done();
  });

  it('lowers max_tokens to the rest of a small context', async () => {
    const message =
      "This model's maximum context length is 4096 tokens. However, you requested 4120 tokens (24 in the messages, 4096 in the completion).";
    const server = await serve({ replies: [httpError(400, { message }), 'Hello.'] });
    expect(textOf(await read(modelOf(server).stream(ask('Hi', { max_tokens: 4_096 }))))).toBe('Hello.');
    expect(server.requests.map(({ body }) => body.max_tokens)).toEqual([4_096, 4_072]);
  });

  it('stops correcting a request that is refused in ever new ways', async () => {
    let limit = 4_096;
    const server = await serve({
      respond: () => {
        limit -= 1;
        return httpError(400, { message: `max_tokens must be less than or equal to ${limit}` });
      },
    });
    const error = await failure(read(modelOf(server).stream(ask('Hi', { max_tokens: 4_096 }))));
    expect(error.code).toBe('MODEL_REFUSED');
    expect(server.count).toBe(9);
  });

  it('reads an answer that is not streamed', async () => {
    const body = JSON.stringify({
      model: 'whole',
      choices: [{ index: 0, message: { role: 'assistant', content: 'all at once' }, finish_reason: 'stop' }],
      usage: { prompt_tokens: 1, completion_tokens: 2 },
    });
    const server = await serve({
      replies: [{ steps: [], http: { status: 200, body, headers: { 'content-type': 'application/json' } } }],
    });
    const chunks = await read(modelOf(server).stream(ask('hi')));
    expect(textOf(chunks)).toBe('all at once');
    expect(chunks[0]?.usage?.total_tokens).toBe(3);
  });

  it('keeps a finished answer when the connection breaks afterwards', async () => {
    const server = await serve({
      replies: [
        { steps: ['done', { choices: [{ delta: {}, finish_reason: 'stop' }] }, { disconnect: true }] },
      ],
    });
    expect(textOf(await read(modelOf(server).stream(ask('hi'))))).toBe('done');
  });
});

describe('closing the request', () => {
  it('ST-28 closes the socket within 250 ms of an abort, and rejects with its reason', async () => {
    const server = await serve({ replies: [['a', stall()]] });
    const abort = new AbortController();
    const stream = modelOf(server).stream(ask('hi'), { signal: abort.signal })[Symbol.asyncIterator]();
    await stream.next();
    const pending = stream.next();
    const request = await server.arrival(1);
    const reason = new Error('cancelled by a test');
    const at = performance.now();
    abort.abort(reason);
    await expect(pending).rejects.toBe(reason);
    expect(await request.ended).toBe('disconnected');
    expect(request.disconnectedAt! - at).toBeLessThan(250);
  });

  it('closes the socket within 250 ms when the reader leaves the loop', async () => {
    const server = await serve({ replies: [['a', stall()]] });
    let at = 0;
    for await (const _ of modelOf(server).stream(ask('hi'))) {
      at = performance.now();
      break;
    }
    expect(await server.requests[0]?.ended).toBe('disconnected');
    expect(server.requests[0]!.disconnectedAt! - at).toBeLessThan(250);
  });

  it('closes the socket when the reader leaves while it waits for the next chunk', async () => {
    const server = await serve({ replies: [['a', stall()]] });
    const stream = modelOf(server).stream(ask('hi'))[Symbol.asyncIterator]();
    await stream.next();
    const pending = stream.next();
    const at = performance.now();
    await stream.return?.();
    expect(await pending).toEqual({ done: true, value: undefined });
    expect(await server.requests[0]?.ended).toBe('disconnected');
    expect(server.requests[0]!.disconnectedAt! - at).toBeLessThan(250);
  });

  it('closes a request that has no answer yet', async () => {
    const server = await serve({ replies: [[stall()]] });
    const abort = new AbortController();
    const pending = read(modelOf(server).stream(ask('hi'), { signal: abort.signal }));
    const request = await server.arrival(1);
    const at = performance.now();
    abort.abort(new Error('stop'));
    await expect(pending).rejects.toThrow('stop');
    await request.ended;
    expect(request.disconnectedAt! - at).toBeLessThan(250);
  });

  it('sends nothing if the signal is already aborted', async () => {
    const server = await serve();
    const stream = modelOf(server).stream(ask('hi'), { signal: AbortSignal.abort(new Error('late')) });
    await expect(read(stream)).rejects.toThrow('late');
    expect(server.count).toBe(0);
  });

  it('keeps no listener on a long-lived signal', async () => {
    const server = await serve({ respond: () => 'ok' });
    const { signal } = new AbortController();
    const added = vi.spyOn(signal, 'addEventListener');
    const removed = vi.spyOn(signal, 'removeEventListener');
    const model = modelOf(server);
    await read(model.stream(ask('hi'), { signal }));
    for await (const _ of model.stream(ask('hi'), { signal })) break;
    expect(added.mock.calls.length).toBe(2);
    expect(removed.mock.calls.length).toBeGreaterThanOrEqual(2);
  });

  it('uses one connection for answers that are read to the end', async () => {
    const server = await serve({ respond: () => 'ok' });
    const model = modelOf(server);
    for (let i = 0; i < 5; i += 1) await read(model.stream(ask('hi')));
    expect(server.connections).toBeLessThanOrEqual(2);
  });
});

describe('retrying', () => {
  /** Makes a clock whose waits end at once, and lists them. */
  const instantClock = () => {
    const waits: number[] = [];
    const clock = new ManualClock();
    return {
      waits,
      clock: {
        now: () => clock.now(),
        monotonic: () => clock.monotonic(),
        every: clock.every.bind(clock),
        after(ms: number, fn: () => void) {
          // The limits on the server's silence are not reached in these tests.
          if (ms >= 60_000) return { stop() {} };
          waits.push(ms);
          return systemClock.after(0, fn);
        },
      },
    };
  };

  it.each([408, 409, 429, 500, 502, 503])('ST-16 tries again after %i', async (status) => {
    const { clock, waits } = instantClock();
    const server = await serve({ replies: [httpError(status), httpError(status), 'ok'] });
    expect(textOf(await read(modelOf(server, { clock }).stream(ask('hi'))))).toBe('ok');
    expect(waits.slice(0, 2)).toEqual([250, 500]);
    server.done();
  });

  it('ST-16 tries again after a reset connection', async () => {
    const { clock } = instantClock();
    const server = await serve({ replies: [[{ disconnect: true }], 'ok'] });
    expect(textOf(await read(modelOf(server, { clock }).stream(ask('hi'))))).toBe('ok');
    expect(server.count).toBe(2);
  });

  it('ST-16 gives up after four attempts with the last error', async () => {
    const { clock, waits } = instantClock();
    const log = new CaptureLog();
    const replies = [1, 2, 3, 4].map((n) => httpError(503, { message: `overloaded ${n}` }));
    const server = await serve({ replies });
    const error = await failure(read(modelOf(server, { clock, log }).stream(ask('hi'))));
    expect(error.code).toBe('MODEL_UNAVAILABLE');
    expect(error.message).toContain('overloaded 4');
    expect(error.retryable).toBe(true);
    expect(waits).toEqual([250, 500, 1000]);
    expect(log.lines.length).toBe(3);
    server.done();
  });

  it.each([
    ['retry-after in seconds', { 'retry-after': '3' }, 3000],
    ['retry-after as a date', { 'retry-after': new Date(1_700_000_000_000 + 7000).toUTCString() }, 7000],
    ['retry-after-ms', { 'retry-after-ms': '1234', 'retry-after': '9' }, 1234],
    ['a wait beyond the cap', { 'retry-after': '3600' }, 20_000],
  ])('ST-16 waits as the server requests: %s', async (_name, headers, expected) => {
    const { clock, waits } = instantClock();
    const server = await serve({ replies: [httpError(429, {}, headers as Record<string, string>), 'ok'] });
    await read(modelOf(server, { clock }).stream(ask('hi')));
    expect(waits[0]).toBe(expected);
  });

  it('reports each wait with its reason, its duration and the next attempt', async () => {
    const { clock } = instantClock();
    const waits: ModelWait[] = [];
    const onWait = (wait: ModelWait) => void waits.push(wait);
    const server = await serve({
      replies: [
        httpError(429, { message: `Slow down, ${KEY}.` }, { 'retry-after': '3' }),
        // The next request needs a new connection. One that an idle connection loses is repeated without a wait.
        httpError(503, { message: 'You said hello there: overloaded' }, { connection: 'close' }),
        [{ disconnect: true }],
        'ok',
      ],
    });
    const source = modelOf(server, { clock }).stream(ask('hello there'), { onWait });
    expect(textOf(await read(source))).toBe('ok');
    expect(waits).toEqual([
      { reason: 'rate_limited', waitMs: 3_000, attempt: 2, attempts: 4, message: 'Slow down, [key]' },
      { reason: 'server_failed', waitMs: 500, attempt: 3, attempts: 4, message: undefined },
      { reason: 'unreachable', waitMs: 1_000, attempt: 4, attempts: 4, message: 'connection reset' },
    ]);
  });

  it('reports a timeout of the server, and no wait for a request that is not sent again', async () => {
    const { clock } = instantClock();
    const onWait = vi.fn();
    const server = await serve({ replies: [httpError(408), 'ok', httpError(401)] });
    await read(modelOf(server, { clock }).stream(ask('hi'), { onWait }));
    expect(onWait.mock.calls).toMatchObject([[{ reason: 'timed_out', attempt: 2 }]]);
    await failure(read(modelOf(server, { clock }).stream(ask('hi'), { onWait })));
    expect(onWait).toHaveBeenCalledTimes(1);
  });

  it.each([400, 401, 403, 404, 422])('ST-16 does not try again after %i', async (status) => {
    const server = await serve({ replies: [httpError(status)] });
    await failure(read(modelOf(server).stream(ask('hi'))));
    expect(server.count).toBe(1);
  });

  it('does not try again when the server forbids it', async () => {
    const server = await serve({ replies: [httpError(500, {}, { 'x-should-retry': 'false' })] });
    await failure(read(modelOf(server).stream(ask('hi'))));
    expect(server.count).toBe(1);
  });

  it('never tries again once part of the answer was delivered', async () => {
    const server = await serve({ replies: [['half', { disconnect: true }]] });
    const seen: string[] = [];
    const error = await failure(
      (async () => {
        for await (const chunk of modelOf(server).stream(ask('hi'))) seen.push(textOf([chunk]));
      })(),
    );
    expect(seen).toEqual(['half']);
    expect(error.code).toBe('MODEL_UNAVAILABLE');
    expect(error.message).toContain('broke off');
    expect(server.count).toBe(1);
  });

  it('ST-16 ST-28 stops at once on an abort while it waits, and leaves no timer', async () => {
    const clock = new ManualClock();
    const server = await serve({ replies: [httpError(503)] });
    const abort = new AbortController();
    const pending = read(modelOf(server, { clock }).stream(ask('hi'), { signal: abort.signal }));
    await (await server.arrival(1)).ended;
    await vi.waitFor(() => expect(clock.timerCount).toBe(1));
    abort.abort(new Error('stop now'));
    await expect(pending).rejects.toThrow('stop now');
    expect(clock.timerCount).toBe(0);
    expect(server.count).toBe(1);
  });

  it('ST-16 waits by a timer, and leaves the event loop to others', async () => {
    const clock = new ManualClock();
    const log = new CaptureLog();
    const server = await serve({ replies: [httpError(503, {}, { 'retry-after-ms': '120' }), 'ok'] });
    const pending = read(modelOf(server, { clock, log }).stream(ask('hi')));
    await vi.waitFor(() => expect(log.lines).toHaveLength(1));
    await vi.waitFor(() => expect(clock.timerCount).toBe(1));
    clock.advance(119);
    await new Promise((resolve) => setImmediate(resolve));
    expect(server.count).toBe(1);
    clock.advance(1);
    expect(textOf(await pending)).toBe('ok');
  });
});

describe('silence', () => {
  it('is MODEL_TIMEOUT when no first chunk arrives, and closes the connection', async () => {
    const clock = new ManualClock();
    const server = await serve({ replies: [[stall()]] });
    const pending = failure(read(modelOf(server, { clock, timeoutMs: 5000 }).stream(ask('hi'))));
    const request = await server.arrival(1);
    clock.advance(4999);
    expect(clock.timerCount).toBe(1);
    clock.advance(1);
    const error = await pending;
    expect(error.code).toBe('MODEL_TIMEOUT');
    expect(error.message).toContain('did not answer for 5 s');
    expect(await request.ended).toBe('disconnected');
    expect(server.count).toBe(1);
  });

  it('is MODEL_TIMEOUT when the stream stops in the middle', async () => {
    const clock = new ManualClock();
    const server = await serve({ replies: [['a', stall()]] });
    const stream = modelOf(server, { clock, timeoutMs: 5000 }).stream(ask('hi'))[Symbol.asyncIterator]();
    await stream.next();
    const pending = failure(stream.next());
    await vi.waitFor(() => expect(clock.timerCount).toBe(1));
    clock.advance(5000);
    const error = await pending;
    expect(error.code).toBe('MODEL_TIMEOUT');
    expect(error.message).toContain('stopped in the middle');
  });

  it('a58 comments restart the time limit', async () => {
    const clock = new ManualClock();
    const comments = Array<string>(5).fill(': OPENROUTER PROCESSING\n\n');
    const body = [...comments, 'data: {"choices":[{"delta":{"content":"ok"},"finish_reason":"stop"}]}\n\n'];
    // Called when the model reads further.
    const pull = (controller: ReadableStreamDefaultController<Uint8Array>): void => {
      clock.advance(900);
      const next = body.shift();
      if (next === undefined) controller.close();
      else controller.enqueue(new TextEncoder().encode(next));
    };
    const stream = new ReadableStream({ pull }, { highWaterMark: 0 });
    const headers = { 'content-type': 'text/event-stream' };
    const model = modelOf(
      { url: 'http://127.0.0.1:9/v1' },
      { clock, timeoutMs: 1_000, fetch: async () => new Response(stream, { headers }) },
    );
    expect(textOf(await read(model.stream(ask('hi'))))).toBe('ok');
  });

  it('does not count the time that the reader takes', async () => {
    const clock = new ManualClock();
    const server = await serve({ replies: [['a', 'b']] });
    const seen: ModelChunk[] = [];
    for await (const chunk of modelOf(server, { clock, timeoutMs: 1000 }).stream(ask('hi'))) {
      seen.push(chunk);
      clock.advance(10_000);
    }
    expect(textOf(seen)).toBe('ab');
  });

  it('ends a finished answer when the server does not close it', async () => {
    const clock = new ManualClock();
    const server = await serve({
      replies: [{ steps: ['a', { choices: [{ delta: {}, finish_reason: 'stop' }] }, stall()] }],
    });
    const pending = read(modelOf(server, { clock }).stream(ask('hi')));
    await server.arrival(1);
    let text = '';
    void pending.then((chunks) => {
      text = textOf(chunks);
    });
    await vi.waitFor(() => {
      clock.advance(2000);
      expect(text).toBe('a');
    });
  });
});

describe('failures', () => {
  it.each([
    ['a wrong key', httpError(401, { code: 'invalid_api_key' }), 'MODEL_AUTH', 'OPENAI_API_KEY'],
    ['a key without rights', httpError(403), 'MODEL_AUTH', 'rights'],
    ['an unknown model', httpError(404, { code: 'model_not_found' }), 'MODEL_NOT_FOUND', 'MODEL_NAME'],
    ['a wrong path', { steps: [], http: { status: 404, body: 'nothing here' } }, 'MODEL_NOT_FOUND', '/v1'],
    ['a used-up quota', httpError(429, { code: 'insufficient_quota' }), 'MODEL_RATE_LIMITED', 'billing'],
    [
      'a bad request',
      httpError(400, { message: 'Invalid schema for function add.' }),
      'MODEL_REFUSED',
      'Invalid schema',
    ],
    ['a request it cannot take', httpError(422, { message: 'no images' }), 'MODEL_REFUSED', 'no images'],
    ['a context too long', httpError(400, { code: 'context_length_exceeded' }), 'MODEL_REFUSED', 'too long'],
    [
      'a web page',
      { steps: [], http: { status: 200, body: '<html>', headers: { 'content-type': 'text/html' } } },
      'MODEL_UNAVAILABLE',
      '/v1',
    ],
  ] as const)('have a code and a fix for %s', async (_name, script, code, words) => {
    const server = await serve({ replies: [script] });
    const error = await failure(read(modelOf(server).stream(ask('hi there'))));
    expect(error.code).toBe(code);
    expect(error.message).toContain(words);
    // One sentence.
    expect(error.message.replace(/127\.0\.0\.1/, '')).toMatch(/^[^.]*(?:\.\S[^.]*)*\.$/);
    expect(server.count).toBe(1);
  });

  it('a used-up quota is not retryable, a rate limit is', async () => {
    const quota = await serve({ replies: [httpError(429, { code: 'insufficient_quota' })] });
    expect((await failure(read(modelOf(quota).stream(ask('hi'))))).retryable).toBe(false);
    const rate = await serve({
      replies: [1, 2, 3, 4].map(() => httpError(429, {}, { 'retry-after-ms': '0' })),
    });
    const error = await failure(read(modelOf(rate).stream(ask('hi'))));
    expect(error).toMatchObject({ code: 'MODEL_RATE_LIMITED', retryable: true, details: { status: 429 } });
  });

  it('an error inside the stream ends it with its own code', async () => {
    const server = await serve({ replies: [['a', { fail: new Error('the GPU is on fire') }]] });
    const error = await failure(read(modelOf(server).stream(ask('hi'))));
    expect(error.code).toBe('MODEL_UNAVAILABLE');
    expect(error.message).toContain('the GPU is on fire');
  });

  it('an error inside the stream may have a status, or be plain text', async () => {
    const inStream = (error: unknown) => ({
      steps: [{ bytes: `data: ${JSON.stringify({ error })}\n\n` }],
      finish: null,
      usage: null,
    });
    const auth = await serve({ replies: [inStream({ code: 401, message: 'no' })] });
    expect((await failure(read(modelOf(auth).stream(ask('hi'))))).code).toBe('MODEL_AUTH');
    const text = await serve({ replies: [1, 2, 3, 4].map(() => inStream('out of memory')) });
    const clock = {
      ...systemClock,
      after: (ms: number, fn: () => void) => systemClock.after(ms >= 60_000 ? ms : 0, fn),
    };
    const error = await failure(read(modelOf(text, { clock }).stream(ask('hi'))));
    expect(error.code).toBe('MODEL_UNAVAILABLE');
    expect(error.message).toContain('out of memory');
  });

  it('a refused connection names the base URL', async () => {
    const probe = createServer();
    await new Promise<void>((resolve) => probe.listen(0, '127.0.0.1', resolve));
    const { port } = probe.address() as AddressInfo;
    await new Promise((resolve) => probe.close(resolve));
    const model = openaiModel({
      model: 'm',
      apiKey: KEY,
      baseURL: `http://me:secret-pass@127.0.0.1:${port}/v1`,
      clock: { ...systemClock, after: (ms, fn) => systemClock.after(ms >= 60_000 ? ms : 0, fn) },
    });
    const error = await failure(read(model.stream(ask('hi'))));
    expect(error.code).toBe('MODEL_UNAVAILABLE');
    expect(error.message).toContain(`http://127.0.0.1:${port}/v1`);
    expect(error.message).toContain('connection refused');
    expect(`${error.message} ${String(error.cause)}`).not.toContain('secret-pass');
  });

  it('sends credentials of the base URL as Basic authorization', async () => {
    const server = await serve({ replies: ['ok'] });
    const baseURL = server.url.replace('//', '//me:pa%20ss@');
    await read(openaiModel({ model: 'm', baseURL }).stream(ask('hi')));
    expect(server.requests[0]?.headers.authorization).toBe(
      `Basic ${Buffer.from('me:pa ss').toString('base64')}`,
    );
  });

  it('accepts a key with a trailing line break, and refuses one that no header can carry', async () => {
    const server = await serve({ replies: ['ok'], apiKey: KEY });
    expect(textOf(await read(modelOf(server, { apiKey: `${KEY}\n` }).stream(ask('hi'))))).toBe('ok');
    expect(() => modelOf(server, { apiKey: 'sk-…' })).toThrow(/OPENAI_API_KEY/);
  });

  it('refuses a base URL without a scheme', () => {
    expect(() => openaiModel({ model: 'm', baseURL: 'localhost:8080' })).toThrow(/OPENAI_BASE_URL/);
  });

  it('P21 the message, details, cause and log contain neither the key nor the text of the user', async () => {
    const userText = 'the canary sentence of the user';
    const message = `Incorrect API key provided: ${KEY}; you said: ${userText}`;
    const log = new CaptureLog();
    for (const status of [400, 401, 403, 404, 429, 500]) {
      const headers = { 'retry-after-ms': '0' };
      const server = await serve({
        replies: [1, 2, 3, 4].map(() => httpError(status, { message }, headers)),
      });
      const error = await failure(read(modelOf(server, { log }).stream(ask(userText))));
      const everything = JSON.stringify([
        error.message,
        error.details,
        String(error.cause),
        (error.cause as Error).stack,
        log.lines,
      ]);
      expect(everything).not.toContain(KEY);
      expect(everything).not.toContain(userText);
    }
  });
});
