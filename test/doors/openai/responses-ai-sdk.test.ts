// D1: the AI SDK of Vercel with its Open Responses provider, unmodified, against the OpenAI door over HTTP.
import { callTools, reply } from '@fame-fabric/agents/testing';
import { describe, expect, test } from 'vitest';
import { type DoorsFabric, doorsFabric } from '../fabric.ts';
import { createOpenResponses, generateText, jsonSchema, stepCountIs, streamText, tool } from './clients.mjs';

const modelOf = ({ v1 }: Pick<DoorsFabric, 'v1'>) =>
  createOpenResponses({ name: 'fame', url: `${v1}/responses` })('chat');

describe('D1: the AI SDK with Open Responses', () => {
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
    expect(await result.finishReason).toBe('stop');
    expect((await result.usage).totalTokens).toBe(15);
  });

  test.each(['generate', 'stream'])('runs tools in several steps: %s', async (kind) => {
    await using fabric = await doorsFabric({
      replies: [
        callTools({ name: 'weather', arguments: { town: 'Rome' } }),
        callTools({ name: 'weather', arguments: { town: 'Oslo' } }),
        'Both are warm.',
      ],
    });
    const towns: string[] = [];
    const options = {
      model: modelOf(fabric),
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
    };
    let text = '';
    if (kind === 'generate') text = (await generateText(options)).text;
    else for await (const part of streamText(options).textStream) text += part;
    expect(text).toBe('Both are warm.');
    expect(towns).toEqual(['Rome', 'Oslo']);
  });

  test('reports errors', async () => {
    await using fabric = await doorsFabric();
    const model = createOpenResponses({ name: 'fame', url: `${fabric.v1}/responses` })('missing');
    await expect(generateText({ model, prompt: 'Hi', maxRetries: 0 })).rejects.toMatchObject({
      statusCode: 404,
    });
  });
});
