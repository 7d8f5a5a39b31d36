// The cases of the compliance suite of Open Responses (2026-04-24), by their ids. The requests are written anew; each response is checked
// against the published schemas. `docs/conformance.md` has the runs of the suite.
import { callTools, reply } from '@fame-fabric/agents/testing';
import { describe, expect, test } from 'vitest';
import { type DoorKitOptions, doorKit } from '../../testing/door-kit.ts';
import { hasPublishedSchemas, schemaFaults } from '../../testing/published-schemas.ts';
import { get, respond, send, textOf } from '../../testing/responses-client.ts';
import { openAiDoor } from '../openai-door.ts';

const open = (options: DoorKitOptions = {}) =>
  doorKit(openAiDoor, { replies: ['Hello there, friend.'], ...options });
const message = (role: string, content: unknown, more: object = {}) => ({
  type: 'message',
  role,
  content,
  ...more,
});
const weather = {
  type: 'function',
  name: 'get_weather',
  description: 'Returns the weather of a place.',
  parameters: { type: 'object', properties: { location: { type: 'string' } }, required: ['location'] },
};

describe('Open Responses', () => {
  test('basic-response', async () => {
    await using kit = await open();
    const { body } = await respond(kit, { input: [message('user', 'Greet me with three words.')] });
    expect(body).toMatchObject({ status: 'completed', output: [{ type: 'message' }] });
  });

  test('assistant-phase', async () => {
    await using kit = await open({ replies: ['Seven.'] });
    const { body } = await respond(kit, {
      input: [
        message('assistant', 'I look up the number.', { phase: 'commentary' }),
        message('assistant', 'The number is seven.', { phase: 'final_answer' }),
        message('user', 'Say the number again.'),
      ],
    });
    expect(body).toMatchObject({ status: 'completed', output: [{ type: 'message' }] });
  });

  test('response-output-phase-schema', async ({ skip }) => {
    skip(!hasPublishedSchemas(), 'The published schemas need Python 3.10 with pip.');
    await using kit = await open();
    const { body } = await respond(kit, { input: 'Hi' });
    const [item] = body.output;
    for (const phase of ['commentary', 'final_answer']) {
      const output = [{ ...item, phase }];
      expect(schemaFaults('openresponses', 'ResponseResource', { ...body, output })).toEqual([]);
    }
    const output = [{ ...item, phase: 'other' }];
    expect(schemaFaults('openresponses', 'ResponseResource', { ...body, output })).not.toEqual([]);
  });

  test('streaming-response', async () => {
    await using kit = await open({ replies: [reply('1, 2, 3', { chunkChars: 2 })] });
    const { events } = await respond(kit, { input: [message('user', 'Count to 3.')], stream: true });
    expect(events.at(-1)).toMatchObject({ type: 'response.completed', response: { status: 'completed' } });
  });

  test('system-prompt', async () => {
    await using kit = await open({ replies: ['Ahoy!'] });
    const { body } = await respond(kit, {
      input: [message('system', 'You talk like a sailor.'), message('user', 'Greet me.')],
    });
    expect(body).toMatchObject({ status: 'completed' });
    expect(kit.model.requests[0]!.messages[0]).toEqual({
      role: 'system',
      content: 'You talk like a sailor.',
    });
  });

  test('tool-calling', async () => {
    await using kit = await open({
      replies: [callTools([{ name: 'get_weather', arguments: { location: 'Ulm' } }])],
    });
    const { body } = await respond(kit, {
      input: [message('user', 'Is it raining in Ulm?')],
      tools: [weather],
    });
    expect(body.output).toMatchObject([{ type: 'function_call', name: 'get_weather' }]);
  });

  test('tool-calling-streaming', async () => {
    await using kit = await open({
      replies: [callTools([{ name: 'get_weather', arguments: { location: 'Ulm' } }])],
    });
    const { events } = await respond(kit, { input: 'Is it raining in Ulm?', tools: [weather], stream: true });
    const call = expect.objectContaining({ type: 'function_call' });
    for (const [type, fields] of [
      ['response.output_item.added', { item: call }],
      ['response.function_call_arguments.delta', { delta: '{"location":"Ulm"}' }],
      ['response.function_call_arguments.done', { arguments: '{"location":"Ulm"}' }],
      ['response.output_item.done', { item: call }],
    ] as const) {
      expect(events).toContainEqual(expect.objectContaining({ type, ...fields }));
    }
  });

  // Agents take text only. The suite expects an answer here: a disagreement that the door reports and does not hide.
  test('image-input', async () => {
    await using kit = await open();
    const image = { type: 'input_image', image_url: 'data:image/png;base64,iVBORw0KGgo=' };
    const answer = await respond(kit, {
      input: [message('user', [{ type: 'input_text', text: 'What is it?' }, image])],
    });
    expect(answer).toMatchObject({ status: 400, body: { error: { param: 'input[0].content[1].type' } } });
  });

  test('multi-turn', async () => {
    await using kit = await open({ replies: ['Ada.'] });
    const { body } = await respond(kit, {
      input: [message('user', 'I am Ada.'), message('assistant', 'Hello Ada.'), message('user', 'Who am I?')],
    });
    expect(textOf(body)).toBe('Ada.');
    expect(kit.model.requests[0]!.messages).toHaveLength(4);
  });

  test('compact-response', async () => {
    await using kit = await open({ replies: ['The launch is on Friday.', 'On Friday.'] });
    const compacted = await send(kit, 'POST', '/v1/responses/compact', {
      body: {
        model: 'chat',
        prompt_cache_key: 'key',
        input: [message('user', 'We launch on Friday.'), message('assistant', 'Noted: Friday.')],
      },
    });
    expect(compacted.body).toMatchObject({ object: 'response.compaction', output: [{ type: 'compaction' }] });
    const { body } = await respond(kit, { input: [...compacted.body.output, message('user', 'When?')] });
    expect(textOf(body)).toBe('On Friday.');
    expect(kit.model.requests[1]!.messages[1]!.content).toContain('The launch is on Friday.');
    expect(await kit.client.conversations('chat@fame.fabric').list()).toMatchObject({
      conversations: [{ turns: 1 }],
    });
  });

  test('compact-missing-model', async () => {
    await using kit = await open();
    const answer = await send(kit, 'POST', '/v1/responses/compact', { body: { input: 'Hi' } });
    expect(answer).toMatchObject({ status: 400, body: { error: { param: 'model' } } });
  });

  test('a stored response can be compacted', async () => {
    await using kit = await open({ replies: ['one', 'summary'] });
    const first = await respond(kit, { input: 'a' });
    const body = { model: 'chat', previous_response_id: first.body.id };
    const compacted = await send(kit, 'POST', '/v1/responses/compact', { body });
    expect(compacted).toMatchObject({ status: 200 });
    expect(kit.model.requests[1]!.messages.slice(1, 3).map(({ content }) => content)).toEqual(['a', 'one']);
    for (const wrong of [
      { previous_response_id: 'resp_x' },
      { input: 7 },
      { instructions: 7, input: 'x' },
      {},
    ]) {
      const answer = await send(kit, 'POST', '/v1/responses/compact', { body: { model: 'chat', ...wrong } });
      expect(answer).toMatchObject({ status: 400 });
    }
    expect(await get(kit, `/v1/responses/${compacted.body.id}`)).toMatchObject({ status: 404 });
    expect((await kit.client.conversations('chat@fame.fabric').list()).conversations).toHaveLength(1);
  });
});
