// D1: the official `openai` library for JavaScript, unmodified, against the OpenAI door over HTTP. D4 and D6 for its retries and cancels.
import { callTools, gate, httpError, reply } from '@fame-fabric/agents/testing';
import OpenAI from 'openai';
import { zodResponseFormat } from 'openai/helpers/zod';
import { describe, expect, test } from 'vitest';
import { z } from 'zod';
import { CHAT, type DoorsFabric, doorsFabric } from '../fabric.ts';
import { losingProxy } from './losing-proxy.ts';

const clientOf = ({ v1 }: DoorsFabric, options: ConstructorParameters<typeof OpenAI>[0] = {}) =>
  new OpenAI({ baseURL: v1, apiKey: 'any', ...options });

const turnsOf = async ({ client }: DoorsFabric, id: string): Promise<string[]> => {
  const { events } = await client.conversations(CHAT).readEvents(id);
  return events.flatMap((event) => (event.type === 'turn' ? [event.user_message] : []));
};

const hi = { model: 'chat', messages: [{ role: 'user' as const, content: 'Hi' }] };
const KEYED = { headers: { 'X-Conversation-Id': 'c1' } };

describe('D1: openai for JavaScript', () => {
  test('lists and retrieves models', async () => {
    await using fabric = await doorsFabric();
    const openai = clientOf(fabric);
    const models = [];
    for await (const model of openai.models.list()) models.push(model.id);
    expect(models).toEqual([CHAT]);
    expect(await openai.models.retrieve(CHAT)).toMatchObject({ id: CHAT, object: 'model' });
    await expect(openai.models.retrieve('missing')).rejects.toMatchObject({
      status: 404,
      code: 'model_not_found',
    });
  });

  test('creates a whole answer', async () => {
    await using fabric = await doorsFabric({ replies: ['Hello Ada'] });
    const { data, response } = await clientOf(fabric).chat.completions.create(hi).withResponse();
    expect(data.choices[0]!.message.content).toBe('Hello Ada');
    expect(data.usage?.total_tokens).toBe(15);
    expect(response.headers.get('x-turn-id')).toBe(data.id.slice('chatcmpl-'.length));
  });

  test('streams an answer with its usage', async () => {
    const text = 'Gr\u00fc\u00dfe \u{1f44b} an Ada';
    await using fabric = await doorsFabric({ replies: [reply(text, { chunkChars: 1 })] });
    const stream = await clientOf(fabric).chat.completions.create({
      ...hi,
      stream: true,
      stream_options: { include_usage: true },
    });
    const chunks = [];
    for await (const chunk of stream) chunks.push(chunk);
    expect(chunks[0]!.choices[0]!.delta.role).toBe('assistant');
    expect(chunks.map(({ choices }) => choices[0]?.delta.content ?? '').join('')).toBe(text);
    expect(chunks.at(-1)).toMatchObject({ choices: [], usage: { total_tokens: 15 } });
    expect(chunks.at(-2)!.choices[0]!.finish_reason).toBe('stop');
  });

  test('runs the tools of the caller by itself', async () => {
    await using fabric = await doorsFabric({
      replies: [
        callTools([
          { name: 'weather', arguments: { town: 'Rome' } },
          { name: 'weather', arguments: { town: 'Oslo' } },
        ]),
        (request) => ({
          steps: [
            `It is ${request.messages
              .slice(-2)
              .map(({ content }) => content)
              .join(' and ')}.`,
          ],
        }),
      ],
    });
    const towns: string[] = [];
    const runner = clientOf(fabric).chat.completions.runTools({
      ...hi,
      stream: true,
      tools: [
        {
          type: 'function',
          function: {
            name: 'weather',
            description: 'Weather of a town.',
            parse: JSON.parse,
            parameters: { type: 'object', properties: { town: { type: 'string' } } },
            function: ({ town }: { town: string }) => {
              towns.push(town);
              return `warm in ${town}`;
            },
          },
        },
      ],
    });
    expect(await runner.finalContent()).toBe('It is warm in Rome and warm in Oslo.');
    expect(towns.sort()).toEqual(['Oslo', 'Rome']);
  });

  test('parses a structured answer', async () => {
    await using fabric = await doorsFabric({ replies: ['{"name":"Ada","age":36}'] });
    const Person = z.object({ name: z.string(), age: z.number() });
    const answer = await clientOf(fabric).chat.completions.parse({
      ...hi,
      response_format: zodResponseFormat(Person, 'person'),
    });
    expect(answer.choices[0]!.message.parsed).toEqual({ name: 'Ada', age: 36 });
    expect(fabric.model.requests[0]!.body.response_format).toMatchObject({
      type: 'json_schema',
      json_schema: { name: 'person', strict: true },
    });
  });

  test('keeps a conversation by its id', async () => {
    await using fabric = await doorsFabric({ replies: ['one', 'two'] });
    const openai = clientOf(fabric, { defaultHeaders: KEYED.headers });
    await openai.chat.completions.create(hi);
    const { data, response } = await openai.chat.completions
      .create({ ...hi, messages: [{ role: 'user', content: 'And now?' }] })
      .withResponse();
    expect(response.headers.get('x-conversation-id')).toBe('c1');
    expect(data.metadata ?? data).toMatchObject({ conversation_id: 'c1' });
    expect(await turnsOf(fabric, 'c1')).toEqual(['Hi', 'And now?']);
    expect(fabric.model.requests[1]!.body.messages).toHaveLength(4);
  });

  test('a conversation continues in the client of the fabric, and back', async () => {
    await using fabric = await doorsFabric({
      respond: ({ messages }) => `Answer to ${messages.at(-1)!.content}`,
    });
    const openai = clientOf(fabric);
    await openai.chat.completions.create(hi, KEYED);
    const native = fabric.client.conversation(CHAT, { id: 'c1', isResumed: true });
    await native.ask('From the fabric');
    const last = await openai.chat.completions.create(
      { ...hi, messages: [{ role: 'user', content: 'Back' }] },
      KEYED,
    );
    expect(last.choices[0]!.message.content).toBe('Answer to Back');
    expect(await turnsOf(fabric, 'c1')).toEqual(['Hi', 'From the fabric', 'Back']);
  });

  test.each([
    ['n', { n: 2 }],
    ['logprobs', { logprobs: true }],
    [
      'messages[0].content[0].type',
      {
        messages: [
          { role: 'user' as const, content: [{ type: 'image_url' as const, image_url: { url: 'data:,' } }] },
        ],
      },
    ],
  ])('%s is a BadRequestError', async (param, body) => {
    await using fabric = await doorsFabric();
    await expect(clientOf(fabric).chat.completions.create({ ...hi, ...body })).rejects.toMatchObject({
      constructor: OpenAI.BadRequestError,
      status: 400,
      type: 'invalid_request_error',
      param,
    });
  });

  test('an error in a stream is thrown', async () => {
    await using fabric = await doorsFabric({
      replies: [['Hel', { fail: new Error('overloaded') }], ...Array(8).fill(httpError(400))],
    });
    const stream = await clientOf(fabric).chat.completions.create({ ...hi, stream: true });
    const read = async () => {
      for await (const _ of stream);
    };
    await expect(read()).rejects.toBeInstanceOf(OpenAI.APIError);
  });

  test('a large message passes, and a larger one is refused', async () => {
    await using fabric = await doorsFabric({ replies: ['long'] });
    const openai = clientOf(fabric);
    const messages = (chars: number) => [{ role: 'user' as const, content: 'x'.repeat(chars) }];
    await openai.chat.completions.create({ ...hi, messages: messages(65_000) });
    await expect(openai.chat.completions.create({ ...hi, messages: messages(70_000) })).rejects.toMatchObject(
      { status: 400, code: 'PARAMS_INVALID', param: 'messages' },
    );
    await expect(
      openai.chat.completions.create({ ...hi, messages: messages(1_100_000) }),
    ).rejects.toMatchObject({ status: 413, code: 'MESSAGE_TOO_LARGE' });
  });
});

describe('D4: lost responses', () => {
  test.each([
    ['without a conversation', {}],
    ['in a kept conversation', KEYED],
  ])('%s: a model server that fails twice and two lost responses are one turn', async (_how, options) => {
    const fail = httpError(500, { type: 'server_error' });
    await using fabric = await doorsFabric({ replies: [fail, fail, 'The answer'] });
    await using proxy = await losingProxy(fabric.url, 2);
    const openai = clientOf(fabric, { baseURL: `${proxy.url}/v1` });
    const answer = await openai.chat.completions.create(hi, options);
    expect(answer.choices[0]!.message.content).toBe('The answer');
    expect(proxy.statuses).toEqual([200, 200, 200]);
    expect(proxy.requests.map((headers) => headers['x-stainless-retry-count'])).toEqual(['0', '1', '2']);
    expect(fabric.model.count).toBe(3);
    const { conversation_id: id } = answer.metadata as unknown as { conversation_id: string };
    expect(await turnsOf(fabric, id)).toEqual(['Hi']);
  });

  test('the same holds for a stream', async () => {
    await using fabric = await doorsFabric({ replies: ['The answer'] });
    await using proxy = await losingProxy(fabric.url, 2);
    const openai = clientOf(fabric, { baseURL: `${proxy.url}/v1` });
    const stream = openai.chat.completions.stream(hi);
    expect(await stream.finalContent()).toBe('The answer');
    expect(fabric.model.count).toBe(1);
  });

  test('an Idempotency-Key is one turn, however often it is sent', async () => {
    await using fabric = await doorsFabric({ replies: ['The answer'] });
    const openai = clientOf(fabric);
    const answers = await Promise.all(
      Array.from({ length: 5 }, () =>
        openai.chat.completions.create(hi, { headers: { 'Idempotency-Key': 'k1' } }),
      ),
    );
    expect(new Set(answers.map(({ id }) => id)).size).toBe(1);
    expect(fabric.model.count).toBe(1);
  });
});

describe.concurrent('D6: a client that leaves', () => {
  test.each([
    ['a stream', true],
    ['a whole answer', false],
  ])('the closed socket of %s closes that of the model after 5 s', async (_what, stream) => {
    const held = gate();
    await using fabric = await doorsFabric({ replies: [['Hel', held]] });
    const leaving = new AbortController();
    const answer = clientOf(fabric)
      .chat.completions.create({ ...hi, stream }, { signal: leaving.signal, maxRetries: 0 })
      .then(async (stream) => {
        if (Symbol.asyncIterator in stream) for await (const _ of stream);
      })
      .catch(() => {});
    const request = await fabric.model.arrival(1);
    await held.reached;
    const left = performance.now();
    leaving.abort();
    await answer;
    expect(await request.ended).toBe('disconnected');
    const ms = request.disconnectedAt! - left;
    expect(ms).toBeGreaterThan(4_900);
    expect(ms).toBeLessThan(5_250);
  });
});
