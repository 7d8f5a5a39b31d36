// D1: the AI SDK of Vercel with its OpenAI-compatible provider, unmodified, against the OpenAI door over HTTP.
import { callTools, httpError, reply } from '@fame-fabric/agents/testing';
import { describe, expect, test } from 'vitest';
import { CHAT, type DoorsFabric, doorsFabric } from '../fabric.ts';
import {
  createOpenAICompatible,
  generateText,
  jsonSchema,
  Output,
  type ProviderOptions,
  stepCountIs,
  streamText,
  tool,
} from './clients.mjs';
import { losingProxy } from './losing-proxy.ts';

const modelOf = ({ v1 }: Pick<DoorsFabric, 'v1'>, options: Partial<ProviderOptions> = {}) =>
  createOpenAICompatible({ name: 'fame', baseURL: v1, includeUsage: true, ...options })('chat');

describe('D1: the AI SDK', () => {
  test('generates text', async () => {
    await using fabric = await doorsFabric({ replies: ['Hello Ada'] });
    const { text, finishReason, usage } = await generateText({ model: modelOf(fabric), prompt: 'Hi' });
    expect([text, finishReason, usage.totalTokens]).toEqual(['Hello Ada', 'stop', 15]);
  });

  test('streams text', async () => {
    await using fabric = await doorsFabric({ replies: [reply('Hello Ada', { chunkChars: 2 })] });
    const result = streamText({ model: modelOf(fabric), prompt: 'Hi' });
    const parts: string[] = [];
    for await (const part of result.textStream) parts.push(part);
    expect(parts.join('')).toBe('Hello Ada');
    expect(parts.length).toBeGreaterThan(1);
    expect(await result.finishReason).toBe('stop');
    expect((await result.usage).totalTokens).toBe(15);
  });

  test('runs tools in several steps, and continues a kept conversation', async () => {
    await using fabric = await doorsFabric({
      replies: [
        callTools({ name: 'weather', arguments: { town: 'Rome' } }),
        callTools({ name: 'weather', arguments: { town: 'Oslo' } }),
        'Both are warm.',
      ],
    });
    const towns: string[] = [];
    const headers = { 'X-Conversation-Id': 'c1' };
    const { text, steps } = await generateText({
      model: modelOf(fabric, { headers }),
      prompt: 'Weather in Rome and Oslo?',
      stopWhen: stepCountIs(5),
      tools: {
        weather: tool({
          description: 'Weather of a town.',
          inputSchema: jsonSchema({ type: 'object', properties: { town: { type: 'string' } } }),
          execute: ({ town }) => {
            towns.push(town);
            return `warm in ${town}`;
          },
        }),
      },
    });
    expect([text, steps.length, towns]).toEqual(['Both are warm.', 3, ['Rome', 'Oslo']]);
    const { events } = await fabric.client.conversations(CHAT).readEvents('c1');
    expect(events.filter(({ type }) => type === 'turn')).toHaveLength(3);
  });

  test('generates an object', async () => {
    await using fabric = await doorsFabric({ replies: ['{"name":"Ada"}'] });
    const schema = jsonSchema({
      type: 'object',
      properties: { name: { type: 'string' } },
      required: ['name'],
      additionalProperties: false,
    });
    const { output } = await generateText({
      model: modelOf(fabric, { supportsStructuredOutputs: true }),
      prompt: 'Who?',
      output: Output.object({ schema }),
    });
    expect(output).toEqual({ name: 'Ada' });
  });

  test('an unknown model is an error of the call', async () => {
    await using fabric = await doorsFabric();
    const model = createOpenAICompatible({ name: 'fame', baseURL: fabric.v1 })('missing');
    await expect(generateText({ model, prompt: 'Hi' })).rejects.toMatchObject({
      statusCode: 404,
      isRetryable: false,
    });
  });

  test('an image is an error of the call', async () => {
    await using fabric = await doorsFabric();
    const image = new Uint8Array([137, 80, 78, 71]);
    const messages = [{ role: 'user', content: [{ type: 'file', data: image, mediaType: 'image/png' }] }];
    await expect(generateText({ model: modelOf(fabric), messages })).rejects.toMatchObject({
      statusCode: 400,
      message: expect.stringContaining('image_url are not supported'),
    });
  });

  test('a model server that fails at first is one turn', async () => {
    const fail = httpError(500, { type: 'server_error' });
    await using fabric = await doorsFabric({ replies: [fail, 'The answer'] });
    const { text } = await generateText({ model: modelOf(fabric), prompt: 'Hi' });
    expect([text, fabric.model.count]).toEqual(['The answer', 2]);
  });

  test('a lost response is one turn with an Idempotency-Key', async () => {
    await using fabric = await doorsFabric({ replies: ['The answer'] });
    await using proxy = await losingProxy(fabric.url, 1);
    const model = modelOf({ v1: `${proxy.url}/v1` });
    const { text } = await generateText({ model, prompt: 'Hi', headers: { 'Idempotency-Key': 'k1' } });
    expect([text, fabric.model.count]).toEqual(['The answer', 1]);
  });

  test('an aborted stream ends', async () => {
    await using fabric = await doorsFabric({ replies: [['Hel', { wait: new Promise(() => {}) }]] });
    const leaving = new AbortController();
    const result = streamText({
      model: modelOf(fabric),
      prompt: 'Hi',
      abortSignal: leaving.signal,
      onError: () => {},
    });
    const parts: string[] = [];
    for await (const part of result.textStream) {
      parts.push(part);
      leaving.abort();
    }
    expect(parts).toEqual(['Hel']);
  });
});
