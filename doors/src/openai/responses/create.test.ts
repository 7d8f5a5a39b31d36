// Responses over a fabric in memory: whole ones, streams, tools, settings and errors. `responses-client.ts` checks each against the
// published schemas.
import { ToolSet, tool } from '@fame-fabric/agents';
import { callTools, failing, reply } from '@fame-fabric/agents/testing';
import { FabricError } from '@fame-fabric/shared';
import { describe, expect, test } from 'vitest';
import { z } from 'zod';
import { type DoorKitOptions, doorKit } from '../../testing/door-kit.ts';
import { get, respond, send, textOf, withoutTimes } from '../../testing/responses-client.ts';
import { openAiDoor } from '../openai-door.ts';

const open = (options: DoorKitOptions = {}) => doorKit(openAiDoor, { replies: [], ...options });

const weather = {
  type: 'function',
  name: 'weather',
  description: 'Weather of a town.',
  parameters: { type: 'object', properties: { town: { type: 'string' } } },
  strict: true,
};
const look = tool({
  name: 'look',
  description: 'Looks',
  parameters: z.object({ at: z.string() }),
  execute: ({ at }) => `saw ${at}`,
});

describe('a whole response', () => {
  test('has the text, the usage and the settings, and GET returns the same', async () => {
    await using kit = await open({ replies: ['Hello Ada'] });
    const settings = {
      instructions: 'Be short.',
      metadata: { topic: 'tea' },
      temperature: 0.5,
      max_output_tokens: 64,
      truncation: 'disabled',
      tools: [weather],
      tool_choice: { type: 'function', name: 'weather' },
    };
    const { status, headers, body } = await respond(kit, { input: 'Hi', ...settings });
    expect(status).toBe(200);
    expect(body).toMatchObject({
      object: 'response',
      status: 'completed',
      model: 'chat@fame.fabric',
      output: [{ type: 'message', status: 'completed', role: 'assistant' }],
      usage: { input_tokens: 10, output_tokens: 5, total_tokens: 15 },
      store: true,
      background: false,
      previous_response_id: null,
      ...settings,
    });
    expect(textOf(body)).toBe('Hello Ada');
    expect(await get(kit, `/v1/responses/${body.id}`)).toMatchObject({
      status: 200,
      body: withoutTimes(body),
    });
    const turn = await kit.client
      .conversations('chat@fame.fabric')
      .turn(String(headers['x-conversation-id']), String(headers['x-turn-id']));
    expect(turn).toMatchObject({ state: 'completed', text: 'Hello Ada' });
  });

  test('takes the messages of a history, and text in parts', async () => {
    await using kit = await open({ replies: ['Ada'] });
    await respond(kit, {
      input: [
        { role: 'developer', content: 'Be kind.' },
        { type: 'message', role: 'user', content: [{ type: 'input_text', text: 'I am Ada.' }] },
        {
          type: 'message',
          role: 'assistant',
          content: [{ type: 'output_text', text: 'Hello', annotations: [] }],
        },
        { type: 'reasoning', summary: [] },
        { role: 'user', content: 'Who' },
        { role: 'user', content: 'am I?' },
      ],
    });
    expect(kit.model.requests[0]!.messages).toEqual([
      { role: 'system', content: 'Be kind.' },
      { role: 'user', content: 'I am Ada.' },
      { role: 'assistant', content: 'Hello' },
      { role: 'user', content: 'Who\n\nam I?' },
    ]);
  });

  test.each([
    ['length', 'max_output_tokens'],
    ['content_filter', 'content_filter'],
  ] as const)('a reply that ends with %s is incomplete', async (finish, reason) => {
    await using kit = await open({ replies: [reply('Half', { finish })] });
    const { body } = await respond(kit, { input: 'Hi' });
    expect(body).toMatchObject({ status: 'incomplete', incomplete_details: { reason } });
    expect(body.output[0]).toMatchObject({ status: 'incomplete' });
  });

  test('text.format goes to the model, and the response repeats it', async () => {
    await using kit = await open({ replies: ['{}'] });
    const format = {
      type: 'json_schema',
      name: 'answer',
      description: 'An answer',
      schema: { type: 'object', properties: {} },
      strict: true,
    };
    const { body } = await respond(kit, { input: 'Hi', text: { format } });
    expect(body.text).toEqual({ format });
    const { type, ...json_schema } = format;
    expect(kit.model.requests[0]).toMatchObject({ response_format: { type, json_schema } });
  });
});

describe('a stream', () => {
  test('has the events in order, and its last one is the stored response', async () => {
    await using kit = await open({ replies: [reply('Hello Ada', { chunkChars: 3 })] });
    const { events } = await respond(kit, { input: 'Hi', stream: true });
    const types: string[] = events.map(({ type }) => type);
    expect(types.filter((type, i) => type !== types[i - 1])).toEqual([
      'response.created',
      'response.in_progress',
      'response.output_item.added',
      'response.content_part.added',
      'response.output_text.delta',
      'response.output_text.done',
      'response.content_part.done',
      'response.output_item.done',
      'response.completed',
    ]);
    const deltas = events.filter(({ type }) => type === 'response.output_text.delta');
    expect(deltas.map(({ delta }) => delta).join('')).toBe('Hello Ada');
    const { response } = events.at(-1)!;
    expect(await get(kit, `/v1/responses/${response.id}`)).toMatchObject({ body: withoutTimes(response) });
  });

  test('a turn that is refused has a status and no stream', async () => {
    await using kit = await open();
    const answer = await respond(kit, { input: 'x'.repeat(70_000), stream: true });
    expect(answer).toMatchObject({
      status: 400,
      body: { error: { param: 'input', code: 'PARAMS_INVALID' } },
    });
  });

  test('a failure in the middle of the text is response.failed, with the text so far', async () => {
    await using kit = await open({
      replies: [failing(new FabricError('MODEL_AUTH', 'The key is wrong'), 'Half')],
    });
    const { events } = await respond(kit, { input: 'Hi', stream: true });
    const { type, response } = events.at(-1)!;
    expect(type).toBe('response.failed');
    expect(response).toMatchObject({ status: 'failed', error: { code: 'MODEL_AUTH' } });
    expect(textOf(response)).toBe('Half');
    expect(await get(kit, `/v1/responses/${response.id}`)).toMatchObject({ body: { status: 'failed' } });
  });
});

describe('tools', () => {
  test('the response returns calls of functions, and their outputs continue it', async () => {
    await using kit = await open({
      replies: [callTools([{ name: 'weather', arguments: { town: 'Ulm' } }]), 'It rains.'],
    });
    const { body } = await respond(kit, { input: 'Weather?', tools: [weather] });
    const [call] = body.output;
    expect(body.status).toBe('completed');
    expect(call).toMatchObject({ type: 'function_call', name: 'weather', arguments: '{"town":"Ulm"}' });
    const output = { type: 'function_call_output', call_id: call.call_id, output: 'rain' };
    const wrong = await respond(kit, { input: 'Well?', previous_response_id: body.id });
    expect(wrong).toMatchObject({ status: 400, body: { error: { param: 'input' } } });
    expect(wrong.body.error.message).toBe(`No tool output found for function call ${call.call_id}.`);
    const next = await respond(kit, { input: [output], previous_response_id: body.id });
    expect(textOf(next.body)).toBe('It rains.');
    const items = await get(kit, `/v1/responses/${next.body.id}/input_items`);
    expect(items.body.data).toMatchObject([output]);
  });

  test('calls and outputs may come in one input, without a stored response', async () => {
    await using kit = await open({ replies: ['It rains.'] });
    const call = { type: 'function_call', call_id: 'c1', name: 'weather', arguments: '{}' };
    const { body } = await respond(kit, {
      input: [
        { role: 'user', content: 'Weather?' },
        call,
        { type: 'function_call_output', call_id: 'c1', output: 'rain' },
      ],
      tools: [weather],
      store: false,
    });
    expect(textOf(body)).toBe('It rains.');
    expect(kit.model.requests[0]!.messages.map(({ role }) => role)).toEqual([
      'system',
      'user',
      'assistant',
      'tool',
    ]);
  });

  test('calls of the agent itself are items of a type of their own, for clients that ask', async () => {
    await using kit = await open({
      chat: { tools: new ToolSet([look]) },
      replies: [
        callTools([{ name: 'look', arguments: { at: 'it' } }], { text: 'Let me look.' }),
        'I saw it.',
        callTools([{ name: 'look', arguments: { at: 'it' } }], { text: 'Again.' }),
        'Done.',
      ],
    });
    const { events } = await respond(kit, { input: 'Look', stream: true, include: ['fame:steps'] });
    const { response } = events.at(-1)!;
    expect(response.output).toMatchObject([
      { type: 'message' },
      { type: 'fame:tool_call', status: 'completed', name: 'look', arguments: '{"at":"it"}' },
      { type: 'message' },
    ]);
    expect(await get(kit, `/v1/responses/${response.id}`)).toMatchObject({ body: withoutTimes(response) });
    const plain = await respond(kit, { input: 'Look' });
    expect(plain.body.output).toMatchObject([{ type: 'message' }, { type: 'message' }]);
  });

  test('a streamed call has the events of its arguments', async () => {
    await using kit = await open({ replies: [callTools([{ name: 'weather', arguments: {} }])] });
    const { events } = await respond(kit, { input: 'Weather?', tools: [weather], stream: true });
    expect(events.map(({ type }) => type)).toEqual([
      'response.created',
      'response.in_progress',
      'response.output_item.added',
      'response.function_call_arguments.delta',
      'response.function_call_arguments.done',
      'response.output_item.done',
      'response.completed',
    ]);
  });
});

describe('refusals', () => {
  test.each([
    [{ input: 'x', tools: [{ type: 'web_search' }] }, 'tools[0].type'],
    [{ input: 'x', tools: [{ type: 'function' }] }, 'tools[0].name'],
    [{ input: 'x', tool_choice: { type: 'file_search' } }, 'tool_choice'],
    [{ input: 'x', top_logprobs: 3 }, 'top_logprobs'],
    [{ input: 'x', include: ['message.output_text.logprobs'] }, 'include'],
    [{ input: 'x', prompt: { id: 'p' } }, 'prompt'],
    [{ input: 'x', temperature: 'hot' }, 'temperature'],
    [{ input: 'x', temperature: 7 }, 'temperature'],
    [{ input: 'x', max_output_tokens: 0 }, 'max_output_tokens'],
    [{ input: 'x', truncation: 'some' }, 'truncation'],
    [{ input: 'x', text: { format: { type: 'xml' } } }, 'text.format.type'],
    [{ input: 'x', metadata: { a: 1 } }, 'metadata.a'],
    [{ input: 'x', metadata: { 'fame:request': '{}' } }, 'metadata'],
    [{ input: 'x', store: 'no' }, 'store'],
    [{ input: 'x', store: false, background: true }, 'store'],
    [{ input: 'x', previous_response_id: 'resp_x', conversation: 'conv_x' }, 'previous_response_id'],
    [{ input: 'x', previous_response_id: 'resp_x' }, 'previous_response_id'],
    [{ input: 'x', previous_response_id: 7 }, 'previous_response_id'],
    [{ input: [] }, 'input'],
    [{ input: ' ' }, 'input'],
    [{}, 'input'],
    [{ input: [{ role: 'assistant', content: 'x' }] }, 'input'],
    [{ input: [{ role: 'missing', content: 'x' }] }, 'input[0].role'],
    [
      { input: [{ role: 'user', content: [{ type: 'input_image', image_url: 'data:,' }] }] },
      'input[0].content[0].type',
    ],
    [{ input: [{ type: 'item_reference', id: 'msg_x' }] }, 'input[0]'],
    [{ input: [{ type: 'computer_call' }] }, 'input[0].type'],
    [{ input: [{ type: 'compaction', encrypted_content: 'x' }] }, 'input[0].encrypted_content'],
    [{ input: [{ type: 'function_call_output', call_id: 'c', output: 'x' }] }, 'input'],
    [{ input: 'x', model: 'missing' }, 'model'],
    [{ input: 'x', model: '' }, 'model'],
  ])('%j names %s', async (body, param) => {
    await using kit = await open();
    const answer = await respond(kit, body);
    expect([400, 404]).toContain(answer.status);
    expect(answer.body.error.param).toBe(param);
    expect(kit.model.count).toBe(0);
  });

  test('a body that is not an object is refused', async () => {
    await using kit = await open();
    for (const body of [[], 'x', null, 7]) {
      expect(await send(kit, 'POST', '/v1/responses', { body })).toMatchObject({ status: 400 });
    }
  });

  test('an error of the model has its status, and no client repeats it', async () => {
    await using kit = await open({ replies: [failing(new FabricError('MODEL_UNAVAILABLE', 'Down'))] });
    const answer = await respond(kit, { input: 'Hi' });
    expect(answer).toMatchObject({ status: 502, body: { error: { code: 'MODEL_UNAVAILABLE' } } });
    expect(answer.headers['x-should-retry']).toBe('false');
  });
});
