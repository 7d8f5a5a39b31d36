import { describe, expect, it } from 'vitest';
import type { ModelRequest } from '../model.ts';
import { allowedTokens } from './answer-limit.ts';
import { Dialects, TRAIT_MS } from './dialect.ts';
import { requestBody } from './request-body.ts';

const tool = { type: 'function' as const, function: { name: 'add', parameters: { type: 'object' } } };
const request: ModelRequest = {
  messages: [
    { role: 'system', content: 'Be brief.' },
    { role: 'user', content: 'Hi' },
  ],
  tools: [tool],
  tool_choice: 'auto',
  temperature: 0.5,
  max_tokens: 100,
  stop: ['END'],
};
const errorOf = (reason: string, status = 400, param = '') => ({
  status,
  kind: '',
  param,
  reason,
  location: undefined,
});

describe('the dialect of a server', () => {
  it.each([
    ['noTools', 'gemma:2b does not support tools'],
    ['noTools', 'Function calling is not enabled for models/gemma-3-27b-it'],
    ['noTools', 'This model does not support function calling.'],
    ['noTools', 'Tool use is not supported by this model'],
    ['noTools', 'Tools are not supported in streaming mode.'],
    ['noTools', 'tools param requires --jinja flag'],
    ['noTools', "Unrecognized request argument supplied: 'tools'"],
    ['noTools', 'body.tools: Extra inputs are not permitted', 422, 'tools'],
    ['noTools', 'No endpoints found that support tool use.', 404],
    ['noToolChoice', 'deepseek-reasoner does not support this tool_choice'],
    ['noSystem', 'Developer instruction is not enabled for models/gemma-3-27b-it'],
    ['noSystem', 'System role not supported'],
    ['noSystem', "This model does not support 'system' messages"],
    ['noSystem', 'Conversation roles must alternate user/assistant/user/assistant/...', 500],
    ['noStreamOptions', 'body.stream_options: Extra inputs are not permitted', 422],
    ['maxCompletionTokens', "'max_tokens' is not supported. Use 'max_completion_tokens' instead."],
    ['noTemperature', 'invalid temperature: only 1 is allowed for this model'],
    ['noTemperature', 'Unsupported value', 400, 'temperature'],
    ['noStop', "Unsupported parameter: 'stop' is not supported with this model."],
  ])('learns %s from %j', (trait, reason, status = 400, param = '') => {
    const dialects = new Dialects(() => 0);
    expect(dialects.learn('m', errorOf(reason, status, param), request)).toBe(trait);
    expect(dialects.learn('m', errorOf(reason, status, param), request)).toBeUndefined();
    expect([...dialects.of('m')]).toEqual([trait]);
    expect(dialects.of('other').size).toBe(0);
  });

  it.each([
    'Invalid schema for function add.',
    'The temperature of the GPU is high',
    "max_tokens is too large: 9. This model supports at most 8 completion tokens ('max_completion_tokens').",
    'You stopped paying',
  ])('learns nothing from %j', (reason) => {
    expect(new Dialects(() => 0).learn('m', errorOf(reason), request)).toBeUndefined();
  });

  it('learns nothing about parts that the request did not have, or that its caller requires', () => {
    const plain: ModelRequest = { messages: [{ role: 'user', content: 'Hi' }] };
    const learn = (reason: string, of: ModelRequest) => new Dialects(() => 0).learn('m', errorOf(reason), of);
    for (const reason of ['does not support tools', 'System role not supported', 'invalid temperature'])
      expect(learn(reason, plain)).toBeUndefined();
    expect(learn('does not support tools', { ...request, tool_choice: 'required' })).toBeUndefined();
  });

  it('forgets traits after ten minutes, and the oldest model beyond the limit', () => {
    let now = 0;
    const dialects = new Dialects(() => now);
    dialects.learn('m', errorOf('does not support tools'), request);
    now = TRAIT_MS - 1;
    expect(dialects.of('m').has('noTools')).toBe(true);
    now = TRAIT_MS;
    expect(dialects.of('m').has('noTools')).toBe(false);
    for (let i = 0; i <= 64; i += 1) dialects.learn(`m${i}`, errorOf('does not support tools'), request);
    expect(dialects.of('m0').size).toBe(0);
    expect(dialects.of('m64').size).toBe(1);
  });
});

describe('the body of a request', () => {
  it('puts the system message into the first message of the user', () => {
    const { messages } = requestBody(request, 'm', new Set(['noSystem']));
    expect(messages).toEqual([{ role: 'user', content: 'Be brief.\n\nHi' }]);
    const opening = { messages: [request.messages[0]!, { role: 'assistant' as const, content: 'Hello.' }] };
    expect(requestBody(opening, 'm', new Set(['noSystem'])).messages).toEqual([
      { role: 'user', content: 'Be brief.' },
      { role: 'assistant', content: 'Hello.' },
    ]);
  });

  it('omits what the server refuses', () => {
    const body = requestBody(
      request,
      'm',
      new Set(['noTools', 'noTemperature', 'noStop', 'noStreamOptions']),
    );
    expect(JSON.parse(JSON.stringify(body))).toEqual({
      model: 'm',
      messages: request.messages,
      stream: true,
      max_tokens: 100,
    });
    expect(requestBody(request, 'm', new Set(['noToolChoice']))).toMatchObject({ tools: [tool] });
    expect(requestBody(request, 'm', new Set(['noToolChoice'])).tool_choice).toBeUndefined();
  });

  it('is well-formed text everywhere, and does not change the request', () => {
    const half = 'cut \ud83d';
    const given: ModelRequest = {
      messages: [{ role: 'user', content: half }],
      tools: [{ ...tool, function: { ...tool.function, description: half } }],
      stop: [half],
    };
    const text = JSON.stringify(requestBody(given, 'm', new Set()));
    expect(text).not.toMatch(/\\ud[89a-f]/i);
    expect(text.match(/cut \ufffd/g)).toHaveLength(3);
    expect(given.messages[0]!.content).toBe(half);
  });
});

describe('the limit of an answer', () => {
  it.each([
    [
      'maximum context length is 4096 tokens. However, you requested 4120 tokens (24 in the messages, 4096 in the completion).',
      4_072,
    ],
    [
      "'max_tokens' is too large: 4096. This model's maximum context length is 4096 tokens and your request has 24 input tokens (4096 > 4096 - 24).",
      4_072,
    ],
    [
      '`inputs` tokens + `max_new_tokens` must be <= 4096. Given: 24 `inputs` tokens and 4096 `max_new_tokens`',
      4_072,
    ],
    [
      'max_tokens is too large: 40000. This model supports at most 2048 completion tokens, whereas you provided 40000.',
      2_048,
    ],
    ['Invalid max_tokens value, the valid range of max_tokens is [1, 2048]', 2_048],
    ['max_tokens: 4096 > 2048, which is the maximum allowed number of output tokens', 2_048],
    ['`max_tokens` must be less than or equal to `2048`', 2_048],
    [
      'maximum context length is 4096 tokens. However, you requested 8190 tokens (4094 in the messages, 4096 in the completion).',
      undefined,
    ],
    ['max_tokens is too large. This model supports at most 8192 completion tokens', undefined],
    ['Invalid schema', undefined],
  ])('is read from %j', (reason, allowed) => {
    expect(allowedTokens(reason, 4_096)).toBe(allowed);
  });
});
