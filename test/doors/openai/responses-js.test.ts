// D1: the Responses API through the official `openai` library for JavaScript, unmodified, over HTTP: state, tools, streams, background,
// cancel, resume after the death of the door, retries and hostile input.
import { AgentWorker, ChatAgent } from '@fame-fabric/agents';
import { callTools, gate, reply, scriptedModel } from '@fame-fabric/agents/testing';
import { Link, silentLog } from '@fame-fabric/shared';
import { wsDial } from '@fame-fabric/shared/node';
import OpenAI from 'openai';
import { zodTextFormat } from 'openai/helpers/zod';
import { describe, expect, test } from 'vitest';
import { z } from 'zod';
import { startOurSentinel } from '../../kit/sentinel.ts';
import { type DoorsFabric, doorsFabric } from '../fabric.ts';
import { losingProxy } from './losing-proxy.ts';

const clientOf = ({ v1 }: Pick<DoorsFabric, 'v1'>, options: ConstructorParameters<typeof OpenAI>[0] = {}) =>
  new OpenAI({ baseURL: v1, apiKey: 'any', ...options });

const hi = { model: 'chat', input: 'Hi' };
const weather = {
  type: 'function' as const,
  name: 'weather',
  description: 'Weather of a town.',
  parameters: { type: 'object', properties: { town: { type: 'string' } }, required: ['town'] },
  strict: false,
};

describe('D1: Responses with openai for JavaScript', () => {
  test('creates, retrieves and continues responses', async () => {
    await using fabric = await doorsFabric({ replies: ['Hello Ada', 'Ada'] });
    const openai = clientOf(fabric);
    const first = await openai.responses.create({
      ...hi,
      instructions: 'Be short.',
      metadata: { topic: 'tea' },
    });
    expect([first.status, first.output_text, first.usage?.total_tokens]).toEqual([
      'completed',
      'Hello Ada',
      15,
    ]);
    const stored = await openai.responses.retrieve(first.id);
    expect(stored).toMatchObject({ id: first.id, output_text: 'Hello Ada', metadata: { topic: 'tea' } });
    const next = await openai.responses.create({ ...hi, input: 'Who am I?', previous_response_id: first.id });
    expect(next.output_text).toBe('Ada');
    const texts = fabric.model.requests.at(-1)!.body.messages.map(({ content }) => content);
    expect(texts.slice(1)).toEqual(['Hi', 'Hello Ada', 'Who am I?']);
    const items = [];
    for await (const item of openai.responses.inputItems.list(next.id)) items.push(item);
    expect(items).toMatchObject([{ type: 'message', role: 'user', content: [{ text: 'Who am I?' }] }]);
  });

  test('streams with its helper', async () => {
    const text = 'Gr\u00fc\u00dfe \u{1f44b} an Ada';
    await using fabric = await doorsFabric({ replies: [reply(text, { chunkChars: 1 })] });
    const stream = clientOf(fabric).responses.stream(hi);
    const deltas: string[] = [];
    stream.on('response.output_text.delta', ({ delta }) => deltas.push(delta));
    const final = await stream.finalResponse();
    expect([deltas.join(''), final.output_text, final.status]).toEqual([text, text, 'completed']);
  });

  test('runs its tools, in a conversation', async () => {
    await using fabric = await doorsFabric({
      replies: [callTools([{ name: 'weather', arguments: { town: 'Rome' } }]), 'It is warm.'],
    });
    const openai = clientOf(fabric);
    const { id } = await openai.conversations.create({ metadata: { topic: 'weather' } });
    const asked = await openai.responses.create({ ...hi, conversation: id, tools: [weather] });
    const [call] = asked.output;
    if (call?.type !== 'function_call') throw new Error(`no call in ${JSON.stringify(asked.output)}`);
    expect(JSON.parse(call.arguments)).toEqual({ town: 'Rome' });
    const output = { type: 'function_call_output' as const, call_id: call.call_id, output: 'warm' };
    const answer = await openai.responses.create({
      ...hi,
      input: [output],
      conversation: id,
      tools: [weather],
    });
    expect(answer.output_text).toBe('It is warm.');
    const items = [];
    for await (const { type } of openai.conversations.items.list(id, { order: 'asc', limit: 2 }))
      items.push(type);
    expect(items).toEqual(['message', 'function_call', 'function_call_output', 'message']);
    expect(await openai.conversations.retrieve(id)).toMatchObject({ metadata: { topic: 'weather' } });
  });

  test('parses structured output', async () => {
    await using fabric = await doorsFabric({ replies: ['{"town":"Rome"}'] });
    const format = zodTextFormat(z.object({ town: z.string() }), 'town');
    const { output_parsed } = await clientOf(fabric).responses.parse({ ...hi, text: { format } });
    expect(output_parsed).toEqual({ town: 'Rome' });
    expect(fabric.model.requests[0]!.body.response_format).toMatchObject({ type: 'json_schema' });
  });

  test('runs responses in the background, and cancels one', async () => {
    const held = gate();
    await using fabric = await doorsFabric({
      replies: [
        ['Hel', held, 'lo'],
        ['On', gate()],
      ],
    });
    const openai = clientOf(fabric);
    const first = await openai.responses.create({ ...hi, background: true });
    expect(['queued', 'in_progress']).toContain(first.status);
    held.open();
    const now = () => openai.responses.retrieve(first.id);
    await expect.poll(async () => (await now()).status).toBe('completed');
    expect((await now()).output_text).toBe('Hello');
    const second = await openai.responses.create({ ...hi, input: 'Again', background: true });
    expect(await openai.responses.cancel(second.id)).toMatchObject({ id: second.id, status: 'cancelled' });
    expect(await openai.responses.retrieve(second.id)).toMatchObject({ status: 'cancelled' });
  });

  test('resumes a stream after the door was killed', async () => {
    const held = gate();
    const model = scriptedModel([['one ', 'two ', held, 'three']]);
    let sentinel = await startOurSentinel();
    const link = new Link({ url: sentinel.url, dial: wsDial });
    const worker = new AgentWorker([new ChatAgent({ model })], { link, log: silentLog });
    await worker.start();
    try {
      const openai = clientOf({ v1: `${sentinel.http}/v1` }, { maxRetries: 0 });
      const stream = await openai.responses.create({ ...hi, background: true, stream: true });
      let id = '';
      let after = 0;
      let text = '';
      const reading = (async () => {
        for await (const event of stream) {
          after = event.sequence_number;
          if (event.type === 'response.created') id = event.response.id;
          if (event.type === 'response.output_text.delta') text += event.delta;
          if (text === 'one two ') sentinel.proc.kill();
        }
      })();
      await expect(reading).rejects.toThrow();
      await sentinel.proc.exited;
      sentinel = await startOurSentinel({ port: sentinel.port, dataDir: sentinel.dataDir });
      const again = clientOf({ v1: `${sentinel.http}/v1` }, { maxRetries: 8 });
      await expect
        .poll(() =>
          again.responses.retrieve(id).then(
            ({ status }) => status,
            () => 'away',
          ),
        )
        .toBe('in_progress');
      const rest = await again.responses.retrieve(id, { stream: true, starting_after: after });
      held.open();
      for await (const event of rest) {
        expect(event.sequence_number).toBeGreaterThan(after);
        after = event.sequence_number;
        if (event.type === 'response.output_text.delta') text += event.delta;
        if (event.type === 'response.completed')
          expect(event.response.output_text ?? text).toBe('one two three');
      }
      expect(text).toBe('one two three');
      expect(model.count).toBe(1);
    } finally {
      await worker.drain(0);
      await sentinel.proc.stop();
    }
  });

  test('two lost responses are one turn', async () => {
    await using fabric = await doorsFabric({ replies: ['one', 'two', 'three'] });
    await using proxy = await losingProxy(fabric.url, 2);
    const response = await clientOf({ v1: `${proxy.url}/v1` }).responses.create(hi);
    expect([response.output_text, fabric.model.requests.length, proxy.statuses]).toEqual([
      'one',
      1,
      [200, 200, 200],
    ]);
    expect((await clientOf(fabric).responses.retrieve(response.id)).output_text).toBe('one');
  });

  test('gets errors of its own classes', async () => {
    await using fabric = await doorsFabric();
    const openai = clientOf(fabric);
    await expect(openai.responses.retrieve('resp_x')).rejects.toBeInstanceOf(OpenAI.NotFoundError);
    await expect(openai.responses.create({ ...hi, model: 'missing' })).rejects.toMatchObject({
      status: 404,
      code: 'model_not_found',
      param: 'model',
    });
    await expect(openai.responses.create({ ...hi, tools: [{ type: 'web_search' }] })).rejects.toMatchObject({
      status: 400,
      param: 'tools[0].type',
    });
    const image = { type: 'input_image' as const, detail: 'auto' as const, image_url: 'data:,' };
    await expect(
      openai.responses.create({ ...hi, input: [{ role: 'user', content: [image] }] }),
    ).rejects.toBeInstanceOf(OpenAI.BadRequestError);
    await expect(openai.responses.delete('resp_x')).rejects.toBeInstanceOf(OpenAI.NotFoundError);
  });

  test('cannot harm the door', async () => {
    await using fabric = await doorsFabric({ replies: ['still here'] });
    const post = async (body: string, type = 'application/json') => {
      const response = await fetch(`${fabric.v1}/responses`, {
        method: 'POST',
        headers: { 'content-type': type },
        body,
      });
      return [response.status, ((await response.json()) as { error: { type: string } }).error.type];
    };
    const input = (value: unknown): string => JSON.stringify({ model: 'chat', input: value });
    const deep = `${'['.repeat(50_000)}${']'.repeat(50_000)}`;
    const refused = 'invalid_request_error';
    expect(await post('{')).toEqual([400, refused]);
    expect(await post('', 'application/json')).toEqual([400, refused]);
    expect((await post('x', 'text/plain'))[1]).toBe(refused);
    expect(await post(input('x'.repeat(1_100_000)))).toEqual([413, refused]);
    expect(await post(`{"model":"chat","input":${deep}}`)).toEqual([400, refused]);
    expect(await post(input([[[[]]]]))).toEqual([400, refused]);
    expect(await post(input([{ role: { toString: 1 }, content: 'x' }]))).toEqual([400, refused]);
    expect(await post(input(Array.from({ length: 5_000 }, () => ({ role: 'user', content: 'x' }))))).toEqual([
      400,
      refused,
    ]);
    for (const id of [
      'x'.repeat(5_000),
      '%00',
      'resp_',
      `resp_${Buffer.from('[1,2,3]').toString('base64url')}`,
      '..%2F..',
    ]) {
      expect((await fetch(`${fabric.v1}/responses/${id}`)).status).toBeGreaterThanOrEqual(400);
      expect((await fetch(`${fabric.v1}/conversations/${id}/items`)).status).toBeLessThan(500);
    }
    expect((await clientOf(fabric).responses.create(hi)).output_text).toBe('still here');
    expect(fabric.model.requests).toHaveLength(1);
  });
});
