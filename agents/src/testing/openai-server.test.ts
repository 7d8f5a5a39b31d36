import { request as httpRequest } from 'node:http';
import { afterEach, describe, expect, it } from 'vitest';
import { type FakeOpenAI, type FakeOpenAIOptions, fakeOpenAI, httpError } from './openai-server.ts';
import { callTools, gate, reply, stall } from './script.ts';

const servers: FakeOpenAI[] = [];
const serve = async (options?: FakeOpenAIOptions): Promise<FakeOpenAI> => {
  const server = await fakeOpenAI(options);
  servers.push(server);
  return server;
};
afterEach(async () => {
  await Promise.all(servers.splice(0).map((server) => server.close()));
});

const hello = { model: 'm', messages: [{ role: 'user', content: 'hello' }] };
const post = (url: string, body: unknown = hello, init: RequestInit = {}): Promise<Response> =>
  fetch(`${url}/chat/completions`, { method: 'POST', body: JSON.stringify(body), ...init });

/** The packets of a streamed answer, as they arrive. */
const packets = (url: string): Promise<Buffer[]> =>
  new Promise((resolve, reject) => {
    const request = httpRequest(`${url}/chat/completions`, { method: 'POST' }, (response) => {
      const parts: Buffer[] = [];
      response.on('data', (part: Buffer) => parts.push(part));
      response.on('end', () => resolve(parts));
      response.on('error', reject);
    });
    request.on('error', reject);
    request.end(JSON.stringify({ ...hello, stream: true }));
  });

describe('the fake OpenAI server', () => {
  it('returns a whole completion when the request does not stream', async () => {
    const server = await serve({
      replies: [callTools({ id: 'c', name: 'f', arguments: { a: 1 } }, { text: 'so' })],
    });
    expect(await (await post(server.url)).json()).toMatchObject({
      object: 'chat.completion',
      choices: [
        {
          finish_reason: 'tool_calls',
          message: {
            content: 'so',
            tool_calls: [{ id: 'c', function: { name: 'f', arguments: '{"a":1}' } }],
          },
        },
      ],
      usage: { total_tokens: 15 },
    });
    server.done();
  });

  it('streams chunks with the role first and [DONE] last', async () => {
    const server = await serve({ replies: [reply('abc', { chunkChars: 1 })] });
    const text = Buffer.concat(await packets(server.url)).toString();
    const events = text.split('\n\n').filter(Boolean);
    expect(events[0]).toContain('"delta":{"role":"assistant","content":"a"}');
    expect(events.at(-1)).toBe('data: [DONE]');
    expect(text).not.toContain('usage');
  });

  it('splits the bytes of a character', async () => {
    const server = await serve({ replies: ['😀'], framing: { splitBytes: 1 } });
    const parts = await packets(server.url);
    expect(Buffer.concat(parts).toString()).toContain('"content":"😀"');
    // At least one packet has only a part of the four bytes.
    expect(parts.some((part) => part.toString().includes('\uFFFD'))).toBe(true);
  });

  it('joins events, ends lines in CRLF and sends comments', async () => {
    const server = await serve({
      replies: [reply('abcd', { chunkChars: 1 })],
      framing: { joinEvents: 100, crlf: true, comments: true },
    });
    const parts = await packets(server.url);
    expect(parts.length).toBe(1);
    expect(parts[0]?.toString()).toMatch(/^: keep-alive\r\ndata: .*\r\n\r\n: keep-alive\r\n/);
  });

  it('waits at a gate with the connection open', async () => {
    const middle = gate();
    const server = await serve({ replies: [['a', middle, 'b']] });
    const response = await post(server.url, { ...hello, stream: true });
    await middle.reached;
    const reader = response.body!.getReader();
    const first = new TextDecoder().decode((await reader.read()).value);
    expect(first).toContain('"a"');
    expect(first).not.toContain('"b"');
    middle.open();
    const second = new TextDecoder().decode((await reader.read()).value);
    expect(second).toContain('"b"');
    await reader.cancel();
  });

  it('cuts the connection in the middle', async () => {
    const server = await serve({ replies: [['a', { disconnect: true }]] });
    const response = await post(server.url, { ...hello, stream: true });
    await expect(response.text()).rejects.toThrow();
    expect(await server.requests[0]?.ended).toBe('cut');
    expect(server.requests[0]?.disconnectedAt).toBeUndefined();
  });

  it('records a disconnect of the client, before and after the first byte', async () => {
    const server = await serve({ replies: [[stall()], ['a', stall()]] });
    for (const n of [1, 2]) {
      const abort = new AbortController();
      const pending = post(server.url, { ...hello, stream: true }, { signal: abort.signal }).then(
        (response) => response.text(),
      );
      const request = await server.arrival(n);
      const at = performance.now();
      abort.abort();
      await expect(pending).rejects.toThrow();
      expect(await request.ended).toBe('disconnected');
      expect(request.disconnectedAt).toBeGreaterThanOrEqual(at);
    }
  });

  it('answers with a status, headers and the error of the API', async () => {
    const server = await serve({
      replies: [httpError(429, { code: 'x', message: 'slow down' }, { 'retry-after': '7' })],
    });
    const response = await post(server.url);
    expect(response.status).toBe(429);
    expect(response.headers.get('retry-after')).toBe('7');
    expect(await response.json()).toEqual({
      error: { message: 'slow down', type: 'invalid_request_error', param: null, code: 'x' },
    });
  });

  it('refuses what the API would refuse, and assertValid() throws', async () => {
    const server = await serve({ replies: ['unused'] });
    const response = await post(server.url, {
      model: 'm',
      messages: [{ role: 'tool', tool_call_id: 'x', content: 'ok' }],
    });
    expect(response.status).toBe(400);
    expect(await response.json()).toMatchObject({ error: { param: 'messages[0].tool_call_id' } });
    expect(() => server.assertValid()).toThrow('messages[0].tool_call_id');
    expect(() => server.done()).toThrow();
  });

  it('refuses other keys and models, and answers 500 to an unexpected request', async () => {
    const server = await serve({ apiKey: 'k', models: ['m'] });
    expect((await post(server.url)).status).toBe(401);
    const headers = { authorization: 'Bearer k' };
    expect((await post(server.url, { ...hello, model: 'other' }, { headers })).status).toBe(404);
    expect((await post(server.url, hello, { headers })).status).toBe(500);
    expect(() => server.done()).toThrow('request 3 was not expected');
  });

  it('answers with `respond` when no reply is left', async () => {
    const server = await serve({
      replies: ['first'],
      respond: (request, index) => `${index} ${request.messages.length}`,
    });
    await post(server.url);
    const body = (await (await post(server.url)).json()) as { choices: { message: { content: string } }[] };
    expect(body.choices[0]?.message.content).toBe('1 1');
    expect(server.count).toBe(2);
  });
});
