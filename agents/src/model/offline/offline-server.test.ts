import { request as httpRequest } from 'node:http';
import { systemClock } from '@fame-fabric/shared';
import { ManualClock } from '@fame-fabric/shared/testing';
import { afterEach, describe, expect, it, vi } from 'vitest';
import type { ModelChunk } from '../model.ts';
import { openaiModel } from '../openai/openai-model.ts';
import { type OfflineServer, startOfflineServer } from './offline-server.ts';

const servers: OfflineServer[] = [];
const start = async (clock = systemClock, chunkDelayMs = 0): Promise<OfflineServer> => {
  const server = await startOfflineServer({ port: 0, chunkDelayMs, clock });
  servers.push(server);
  return server;
};
afterEach(async () => {
  await Promise.all(servers.splice(0).map((server) => server.close()));
});

const post = (server: OfflineServer, body: unknown, init: RequestInit = {}): Promise<Response> =>
  fetch(`${server.url}/chat/completions`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', authorization: 'Bearer anything' },
    body: typeof body === 'string' ? body : JSON.stringify(body),
    ...init,
  });
const hello = { model: 'gpt-any', messages: [{ role: 'user', content: 'My name is Ada. What is my name?' }] };

describe('the offline server', () => {
  it('returns a whole completion', async () => {
    const response = await post(await start(), hello);
    expect(response.status).toBe(200);
    const body = (await response.json()) as Record<string, unknown>;
    expect(body).toMatchObject({
      object: 'chat.completion',
      model: 'offline',
      choices: [{ index: 0, message: { role: 'assistant' }, finish_reason: 'stop' }],
    });
    expect(JSON.stringify(body.choices)).toContain('Your name is Ada.');
    expect((body.usage as { total_tokens: number }).total_tokens).toBeGreaterThan(0);
  });

  it('returns tool calls in a whole completion', async () => {
    const response = await post(await start(), {
      model: 'm',
      messages: [{ role: 'user', content: 'What is the weather in Paris?' }],
      tools: [
        {
          type: 'function',
          function: {
            name: 'get_current_weather',
            parameters: {
              type: 'object',
              properties: { location: { type: 'string' } },
              required: ['location'],
            },
          },
        },
      ],
    });
    const { choices } = (await response.json()) as { choices: unknown[] };
    expect(choices[0]).toMatchObject({
      finish_reason: 'tool_calls',
      message: {
        content: null,
        tool_calls: [
          { type: 'function', function: { name: 'get_current_weather', arguments: '{"location":"Paris"}' } },
        ],
      },
    });
  });

  it('streams events that end in [DONE], with usage only when it is asked for', async () => {
    const server = await start();
    const plain = await (await post(server, { ...hello, stream: true })).text();
    expect(plain).toMatch(/^data: \{"id":"chatcmpl-/);
    expect(plain).toContain('"role":"assistant"');
    expect(plain.endsWith('data: [DONE]\n\n')).toBe(true);
    expect(plain).not.toContain('"usage"');
    const counted = await (
      await post(server, { ...hello, stream: true, stream_options: { include_usage: true } })
    ).text();
    expect(counted).toContain('"usage":{"prompt_tokens"');
  });

  it('serves the OpenAI model', async () => {
    const server = await start();
    const model = openaiModel({ model: 'gpt-any', apiKey: 'k', baseURL: server.url });
    const chunks: ModelChunk[] = [];
    for await (const chunk of model.stream({ messages: [{ role: 'user', content: 'what is 12*(3+4)?' }] }))
      chunks.push(chunk);
    expect(chunks.map((chunk) => chunk.choices[0]?.delta.content ?? '').join('')).toContain('84');
    expect(chunks.at(-1)?.usage?.total_tokens).toBeGreaterThan(0);
    expect(chunks[0]?.model).toBe('offline');
  });

  it('lists its model', async () => {
    const server = await start();
    const list = (await (await fetch(`${server.url}/models`)).json()) as { data: { id: string }[] };
    expect(list.data.map((model) => model.id)).toEqual(['offline']);
    expect(await (await fetch(`${server.url}/models/offline`)).json()).toMatchObject({ id: 'offline' });
  });

  it.each([
    ['a body that is not JSON', '{', 400],
    ['no messages', '{"model":"m"}', 400],
    ['a message that is not an object', '{"model":"m","messages":[1]}', 400],
    ['tools without a name', '{"model":"m","messages":[{"role":"user","content":"x"}],"tools":[{}]}', 400],
    ['a list', '[]', 400],
    ['a stop that is no text', '{"messages":[{"role":"user","content":"x"}],"stop":[1]}', 400],
    [
      'a format without its schema',
      '{"messages":[{"role":"user","content":"x"}],"response_format":{"type":"json_schema"}}',
      400,
    ],
    ['an unknown format', '{"messages":[{"role":"user","content":"x"}],"response_format":"json"}', 400],
  ])('refuses %s in the shape of the API', async (_name, body, status) => {
    const response = await post(await start(), body);
    expect(response.status).toBe(status);
    expect(await response.json()).toMatchObject({
      error: { message: expect.any(String), type: 'invalid_request_error' },
    });
  });

  it('refuses other paths and methods', async () => {
    const server = await start();
    expect((await fetch(`${server.url}/nope`)).status).toBe(404);
    expect((await fetch(`${server.url}/chat/completions`)).status).toBe(405);
  });

  it('refuses a body beyond its limit and keeps serving', async () => {
    const server = await start();
    const status = await new Promise<number>((resolve, reject) => {
      const request = httpRequest(`${server.url}/chat/completions`, { method: 'POST' }, (response) => {
        resolve(response.statusCode ?? 0);
        request.destroy();
      });
      request.on('error', reject);
      request.write('x'.repeat(1024 * 1024 + 1));
    });
    expect(status).toBe(413);
    expect((await post(server, hello)).status).toBe(200);
  });

  it('stops answering when the client hangs up', async () => {
    const clock = new ManualClock();
    const server = await start(clock, 10);
    const abort = new AbortController();
    const story = { model: 'm', stream: true, messages: [{ role: 'user', content: 'tell me a story' }] };
    const response = await post(server, story, { signal: abort.signal });
    expect(response.status).toBe(200);
    await vi.waitFor(() => expect(clock.timerCount).toBe(1));
    abort.abort();
    await vi.waitFor(() => expect(clock.timerCount).toBe(0));
  });

  it('rejects with CONFIG_INVALID when it cannot listen', async () => {
    const server = await start();
    const port = Number(new URL(server.url).port);
    await expect(startOfflineServer({ port })).rejects.toMatchObject({ code: 'CONFIG_INVALID' });
  });
});
