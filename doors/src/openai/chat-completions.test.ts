// The Chat Completions API over a fabric in memory: models, whole answers, streams, tools and errors.
import { defineAgent, operation } from '@fame-fabric/agents';
import { callTools, reply } from '@fame-fabric/agents/testing';
import { describe, expect, test } from 'vitest';
import { assistant, chat, system, user } from '../testing/chat-client.ts';
import { type DoorKitOptions, doorKit } from '../testing/door-kit.ts';
import { openAiDoor } from './openai-door.ts';

const open = (options: DoorKitOptions = {}) => doorKit(openAiDoor, { replies: [], ...options });
const echo = defineAgent({
  address: 'echo@fame.fabric',
  operations: { echo: operation({ run: (params) => params }) },
});
const weather = {
  type: 'function',
  function: { name: 'weather', description: 'Weather of a town.', parameters: { properties: {} }, extra: 1 },
};

describe('models', () => {
  test('lists chat agents only', async () => {
    await using kit = await open({ agents: [echo] });
    const response = await kit.inject({ url: '/v1/models' });
    expect(response.json()).toEqual({
      object: 'list',
      data: [{ id: 'chat@fame.fabric', object: 'model', created: 0, owned_by: 'fame-fabric' }],
    });
  });

  test.each(['chat@fame.fabric', 'chat', 'chat%40fame.fabric'])('finds the model %s', async (name) => {
    await using kit = await open();
    const response = await kit.inject({ url: `/v1/models/${name}` });
    expect(response.json()).toMatchObject({ id: 'chat@fame.fabric', object: 'model' });
  });

  test.each([
    ['missing', [], 'GET /v1/models lists the models.'],
    ['echo', [echo], 'echo@fame.fabric is not a chat agent. Its operations are at /agents/echo@fame.fabric.'],
  ])('the error for the model %s says how to find one', async (model, agents, fix) => {
    await using kit = await open({ agents });
    const { body } = await chat(kit, { model, messages: [user('hi')] });
    expect(body.error?.message).toContain(fix);
  });

  test('without a chat agent, the error for a model says how to start one', async () => {
    await using kit = await doorKit(openAiDoor);
    const { status, body } = await chat(kit, { messages: [user('hi')] });
    expect([status, body.error?.message]).toEqual([
      404,
      expect.stringContaining('`npx fame-fabric agent` starts one.'),
    ]);
  });

  test.each(['missing', 'echo', 'missing@fame.fabric'])('%s is not a model', async (name) => {
    await using kit = await open({ agents: [echo] });
    const error = { type: 'invalid_request_error', param: 'model', code: 'model_not_found' };
    const response = await kit.inject({ url: `/v1/models/${name}` });
    expect(response.statusCode).toBe(404);
    expect(response.json()).toMatchObject({ error });
    const answer = await chat(kit, { model: name, messages: [user('hi')] });
    expect(answer).toMatchObject({ status: 404, body: { error } });
    expect(answer.headers['x-should-retry']).toBe('false');
  });
});

describe('a whole answer', () => {
  test('has the text, the reason, the usage and the ids', async () => {
    await using kit = await open({ replies: ['Hello Ada'] });
    const { status, headers, body } = await chat(kit, { messages: [user('Hi')] });
    expect(status).toBe(200);
    expect(body).toEqual({
      id: `chatcmpl-${headers['x-turn-id']}`,
      object: 'chat.completion',
      created: expect.any(Number),
      model: 'chat@fame.fabric',
      choices: [
        {
          index: 0,
          message: { role: 'assistant', content: 'Hello Ada', refusal: null },
          logprobs: null,
          finish_reason: 'stop',
        },
      ],
      usage: {
        prompt_tokens: 10,
        completion_tokens: 5,
        total_tokens: 15,
        prompt_tokens_details: { cached_tokens: 0 },
      },
      metadata: { conversation_id: headers['x-conversation-id'], turn_id: headers['x-turn-id'] },
    });
    expect(Math.abs((body.created as number) * 1_000 - Date.now())).toBeLessThan(60_000);
  });

  test('the model receives all messages and the settings', async () => {
    await using kit = await open({ replies: ['Bob'] });
    await chat(kit, {
      messages: [
        system('Be brief.'),
        user([
          { type: 'text', text: 'I am Ada,' },
          { type: 'text', text: 'who are you?' },
        ]),
        assistant('I am Bob.'),
        user('Your name again?'),
      ],
      temperature: 0.2,
      max_tokens: 9,
      max_completion_tokens: 7,
      stop: ['END'],
      response_format: {
        type: 'json_schema',
        json_schema: { name: 'a', schema: { type: 'object' }, other: 1 },
      },
      user: 'u1',
      seed: 7,
    });
    expect(kit.model.requests[0]).toMatchObject({
      messages: [
        { role: 'system', content: 'Be brief.' },
        { role: 'user', content: 'I am Ada,\nwho are you?' },
        { role: 'assistant', content: 'I am Bob.' },
        { role: 'user', content: 'Your name again?' },
      ],
      temperature: 0.2,
      max_tokens: 7,
      stop: ['END'],
      response_format: { type: 'json_schema', json_schema: { name: 'a', schema: { type: 'object' } } },
    });
  });

  test('the conversation is not listed, and has ended', async () => {
    await using kit = await open({ replies: ['one'] });
    const { body } = await chat(kit, { messages: [user('Hi')] });
    const conversations = kit.client.conversations('chat@fame.fabric');
    expect(await conversations.list()).toMatchObject({ conversations: [] });
    expect(body.metadata.conversation_id).toMatch(/^once-/);
  });

  test.each(['length', 'content_filter'] as const)('%s is the finish reason', async (finish) => {
    await using kit = await open({ replies: [reply('cut', { finish })] });
    const { body } = await chat(kit, { messages: [user('Hi')] });
    expect(body.choices[0]!.finish_reason).toBe(finish);
  });
});

describe('a stream', () => {
  test('has the role first, the text in pieces, the reason and [DONE]', async () => {
    await using kit = await open({ replies: [reply('Hello Ada', { chunkChars: 5 })] });
    const { headers, chunks, isDone } = await chat(kit, { messages: [user('Hi')], stream: true });
    expect(headers).toMatchObject({
      'content-type': 'text/event-stream; charset=utf-8',
      'cache-control': 'no-store',
      'x-accel-buffering': 'no',
      'x-conversation-id': expect.any(String),
      'x-turn-id': expect.any(String),
    });
    expect(chunks[0]).toEqual({
      id: `chatcmpl-${headers['x-turn-id']}`,
      object: 'chat.completion.chunk',
      created: expect.any(Number),
      model: 'chat@fame.fabric',
      choices: [
        {
          index: 0,
          delta: { role: 'assistant', content: '', refusal: null },
          logprobs: null,
          finish_reason: null,
        },
      ],
      metadata: { conversation_id: headers['x-conversation-id'], turn_id: headers['x-turn-id'] },
    });
    expect(chunks.map(({ choices }) => choices[0]!.delta.content ?? '').join('')).toBe('Hello Ada');
    expect(chunks.at(-1)!.choices).toEqual([{ index: 0, delta: {}, logprobs: null, finish_reason: 'stop' }]);
    expect(new Set(chunks.map(({ id }) => id)).size).toBe(1);
    expect(chunks.some((chunk) => 'usage' in chunk)).toBe(false);
    expect(isDone).toBe(true);
  });

  test('include_usage adds a chunk with the usage and without choices', async () => {
    await using kit = await open({ replies: ['Hello'] });
    const options = { stream: true, stream_options: { include_usage: true } };
    const { chunks } = await chat(kit, { messages: [user('Hi')], ...options });
    expect(chunks.at(-1)).toMatchObject({ choices: [], usage: { total_tokens: 15 } });
    expect(chunks.slice(0, -1).every(({ usage, choices }) => usage === null && choices.length === 1)).toBe(
      true,
    );
  });

  test('an error before the first event is a status', async () => {
    await using kit = await open({ replies: [[{ fail: new Error('no model') }]] });
    const answer = await chat(kit, { messages: [user('Hi')], stream: true });
    expect(answer.status).toBe(500);
    expect(answer.body.error).toMatchObject({ type: 'server_error', param: null });
  });

  test('an error after text is an event, and no [DONE] follows', async () => {
    await using kit = await open({ replies: [['Hel', { fail: new Error('cut') }]] });
    const { status, chunks, isDone } = await chat(kit, { messages: [user('Hi')], stream: true });
    expect(status).toBe(200);
    expect(chunks.at(-1)).toMatchObject({ error: { type: 'server_error', code: expect.any(String) } });
    expect(isDone).toBe(false);
  });
});

describe('tools of the caller', () => {
  const question = { tools: [weather], tool_choice: 'auto', messages: [user('Weather in Rome?')] };
  const call = { id: 'call_a', name: 'weather', arguments: { town: 'Rome' } };

  test('the response returns their calls, and their results continue the conversation', async () => {
    await using kit = await open({ replies: [callTools(call), 'Sunny'] });
    const first = await chat(kit, question);
    // The agent replaces the id of the model.
    const { id } = first.body.choices[0]!.message.tool_calls![0] as { id: string };
    const calls = [{ id, type: 'function', function: { name: 'weather', arguments: '{"town":"Rome"}' } }];
    expect(first.body.choices[0]).toMatchObject({
      message: { content: null, tool_calls: calls },
      finish_reason: 'tool_calls',
    });
    const second = await chat(kit, {
      ...question,
      messages: [
        ...question.messages,
        first.body.choices[0]!.message,
        { role: 'tool', tool_call_id: id, content: '25 degrees' },
      ],
    });
    expect(second.body.choices[0]!.message.content).toBe('Sunny');
    expect(kit.model.requests[1]!.messages.slice(-3)).toMatchObject([
      { role: 'user' },
      { role: 'assistant', tool_calls: calls },
      { role: 'tool', tool_call_id: id, content: '25 degrees' },
    ]);
  });

  test('a stream has the calls before the reason', async () => {
    await using kit = await open({
      replies: [callTools([call, { ...call, id: 'call_b' }], { text: 'Let me see.' })],
    });
    const { chunks } = await chat(kit, { ...question, stream: true });
    const calls = chunks.flatMap(({ choices }) => choices[0]!.delta.tool_calls ?? []);
    expect(calls).toMatchObject([
      { index: 0, id: expect.any(String), type: 'function', function: { name: 'weather' } },
      { index: 1, id: expect.any(String) },
    ]);
    expect(chunks.at(-1)!.choices[0]).toMatchObject({ delta: {}, finish_reason: 'tool_calls' });
  });

  test('results continue a kept conversation', async () => {
    await using kit = await open({ replies: [callTools(call), 'Sunny'] });
    const headers = { 'x-conversation-id': 'c1' };
    const first = await chat(kit, question, headers);
    const { message } = first.body.choices[0]!;
    const { id } = message.tool_calls![0] as { id: string };
    const messages = [
      ...question.messages,
      message,
      { role: 'tool', tool_call_id: id, content: '25 degrees' },
    ];
    const second = await chat(kit, { ...question, messages }, headers);
    expect(second.body).toMatchObject({
      choices: [{ message: { content: 'Sunny' } }],
      metadata: { conversation_id: 'c1' },
    });
  });
});

describe('errors', () => {
  test.each([
    ['n', { n: 2 }],
    ['logprobs', { logprobs: true }],
    ['top_logprobs', { top_logprobs: 3 }],
    ['modalities', { modalities: ['text', 'audio'] }],
    ['audio', { audio: { voice: 'x', format: 'wav' } }],
    ['functions', { functions: [] }],
    ['temperature', { temperature: 'hot' }],
    ['temperature', { temperature: 9 }],
    ['max_tokens', { max_tokens: 0 }],
    ['stop', { stop: 7 }],
    ['stream', { stream: 'yes' }],
    ['tools', { tools: {} }],
    ['tools[0].type', { tools: [{ type: 'custom' }] }],
    ['tool_choice', { tool_choice: 'maybe' }],
    ['response_format.type', { response_format: { type: 'xml' } }],
    ['model', { model: 7 }],
    ['messages', { messages: undefined }],
    ['messages', { messages: [] }],
    ['messages', { messages: [user('a'), assistant('b')] }],
    ['messages', { messages: [user('  ')] }],
    ['messages[0]', { messages: ['hi'] }],
    ['messages[0].role', { messages: [{ role: 'robot', content: 'x' }] }],
    ['messages[0].content', { messages: [user(null)] }],
    [
      'messages[0].content[0].type',
      { messages: [user([{ type: 'image_url', image_url: { url: 'data:' } }])] },
    ],
    ['messages[0].content[0].type', { messages: [user([{ type: 'input_audio', input_audio: {} }])] }],
    ['messages[0].content[0].type', { messages: [user([{ type: 'file', file: {} }])] }],
    ['messages[1].tool_call_id', { messages: [user('a'), { role: 'tool', content: 'x' }] }],
  ])('%s is named if it is at fault', async (param, body) => {
    await using kit = await open();
    const { status, body: answer } = await chat(kit, { messages: [user('Hi')], ...body });
    expect([status, answer.error]).toEqual([
      400,
      { message: expect.any(String), type: 'invalid_request_error', param, code: 'PARAMS_INVALID' },
    ]);
    expect(kit.model.count).toBe(0);
  });

  test.each([
    ['an unknown path', '/v1/nothing', '{}', 404, 'NO_ROUTE'],
    ['no JSON', '/v1/chat/completions', '{"model":', 400, 'PROTO_MALFORMED'],
  ])('%s is refused in the form of the API', async (_what, url, payload, status, code) => {
    await using kit = await open();
    const headers = { 'content-type': 'application/json' };
    const response = await kit.inject({ method: 'POST', url, headers, payload });
    expect(response.statusCode).toBe(status);
    expect(response.json()).toEqual({
      error: { message: expect.any(String), type: 'invalid_request_error', param: null, code },
    });
  });

  test.each([
    ['POST', '/v1/chat/completion', 404, 'Did you mean /v1/chat/completions?'],
    ['POST', '/v1/embeddings', 404, 'This door has /v1/models, '],
    ['GET', '/v1/chat/completions', 405, '/v1/chat/completions takes POST, not GET'],
  ] as const)('%s %s is answered with the fix', async (method, url, status, text) => {
    await using kit = await open();
    const response = await kit.inject({ method, url, ...(method === 'POST' ? { payload: {} } : {}) });
    expect(response.statusCode).toBe(status);
    expect(response.json().error.message).toContain(text);
    expect(response.headers.allow).toBe(status === 405 ? 'POST' : undefined);
  });

  test('a body without the content type of JSON is refused with the fix', async () => {
    await using kit = await open();
    const headers = { 'content-type': 'application/x-www-form-urlencoded' };
    const url = '/v1/chat/completions';
    const response = await kit.inject({ method: 'POST', url, headers, payload: '{}' });
    expect(response.statusCode).toBe(415);
    expect(response.json().error.message).toContain('Content-Type: application/json');
  });

  test('a large body is refused', async () => {
    await using kit = await open();
    const answer = await chat(kit, { messages: [user('x'.repeat(1_100_000))] });
    expect(answer).toMatchObject({ status: 413, body: { error: { code: 'MESSAGE_TOO_LARGE' } } });
    expect(answer.body.error?.message).toContain('. Send less.');
  });

  test('a message beyond the limit of the agent is refused', async () => {
    await using kit = await open();
    const answer = await chat(kit, { messages: [user('x'.repeat(70_000))] });
    expect(answer).toMatchObject({
      status: 400,
      body: { error: { code: 'PARAMS_INVALID', param: 'messages' } },
    });
  });

  test('a missing credential is an authentication error', async () => {
    await using kit = await open({ isCredentialNeeded: true });
    const answer = await chat(kit, { messages: [user('hi')] });
    expect(answer).toMatchObject({ status: 401, body: { error: { type: 'authentication_error' } } });
  });
});
