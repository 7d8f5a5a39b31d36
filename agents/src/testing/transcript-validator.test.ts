import { describe, expect, it } from 'vitest';
import { checkTranscript } from './transcript-validator.ts';

const user = { role: 'user', content: 'hi' };
const call = (id: string, args = '{}', name = 'f') => ({
  id,
  type: 'function',
  function: { name, arguments: args },
});
const calling = (...calls: unknown[]) => ({ role: 'assistant', content: null, tool_calls: calls });
const result = (id: string) => ({ role: 'tool', tool_call_id: id, content: 'ok' });
const tool = (name = 'f', parameters: unknown = { type: 'object', properties: {} }) => ({
  type: 'function',
  function: { name, parameters },
});
/** Checks a request, with a tool if it has none. */
const check = (request: unknown) =>
  checkTranscript(
    JSON.stringify(request).includes('tool_calls') ? { tools: [tool()], ...(request as object) } : request,
  );
const params = (request: unknown): string[] => check(request).map((violation) => violation.param);

describe('the transcript validator accepts', () => {
  it.each([
    [
      'a plain conversation',
      { messages: [{ role: 'system', content: 's' }, user, { role: 'assistant', content: 'a' }, user] },
    ],
    [
      'calls and their results, in any order',
      { messages: [user, calling(call('a'), call('b')), result('b'), result('a'), user] },
    ],
    [
      'text beside calls',
      { messages: [user, { ...calling(call('a')), content: 'one moment' }, result('a')] },
    ],
    [
      'the same id in a later turn',
      { messages: [user, calling(call('a')), result('a'), calling(call('a')), result('a')] },
    ],
    ['parts', { messages: [{ role: 'user', content: [{ type: 'text', text: 'hi' }] }] }],
    [
      'tools and a forced one',
      { messages: [user], tools: [tool()], tool_choice: { type: 'function', function: { name: 'f' } } },
    ],
  ])('%s', (_name, request) => {
    expect(check(request)).toEqual([]);
  });
});

describe('the transcript validator refuses', () => {
  it.each([
    ['no messages', { messages: [] }, 'messages'],
    ['a body that is not an object', 7, 'body'],
    ['an unknown role', { messages: [{ role: 'bot', content: 'x' }] }, 'messages[0].role'],
    ['an empty message of the user', { messages: [{ role: 'user', content: ' ' }] }, 'messages[0].content'],
    ['an empty answer', { messages: [user, { role: 'assistant', content: '' }] }, 'messages[1].content'],
    [
      'an empty text beside calls',
      { messages: [user, { ...calling(call('a')), content: '' }, result('a')] },
      'messages[1].content',
    ],
    [
      'an empty result',
      { messages: [user, calling(call('a')), { ...result('a'), content: '' }] },
      'messages[2].content',
    ],
    ['half of a character', { messages: [{ role: 'user', content: 'a \ud83d' }] }, 'messages[0].content'],
    ['two messages of the user in a row', { messages: [user, user] }, 'messages[1].role'],
    [
      'two answers in a row',
      { messages: [user, { role: 'assistant', content: 'a' }, { role: 'assistant', content: 'b' }] },
      'messages[2].role',
    ],
    [
      'arguments that are no object',
      { messages: [user, calling(call('a', '[1]')), result('a')] },
      'messages[1].tool_calls[0].function.arguments',
    ],
    [
      'our own record of fields',
      { messages: [user, { role: 'assistant', content: 'a', provider: {} }] },
      'messages[1].provider',
    ],
    ['content that is null', { messages: [{ role: 'user', content: null }] }, 'messages[0].content'],
    ['content that is a number', { messages: [{ role: 'user', content: 5 }] }, 'messages[0].content'],
    [
      'an assistant message without anything',
      { messages: [user, { role: 'assistant', content: null }] },
      'messages[1]',
    ],
    [
      'an empty list of calls',
      { messages: [user, { role: 'assistant', content: 'x', tool_calls: [] }] },
      'messages[1].tool_calls',
    ],
    ['calls of a user', { messages: [{ ...user, tool_calls: [call('a')] }] }, 'messages[0].tool_calls'],
    [
      'a call without an answer at the end',
      { messages: [user, calling(call('a'))] },
      'messages[1].tool_calls[0]',
    ],
    [
      'a call without an answer before the next message',
      { messages: [user, calling(call('a'), call('b')), result('a'), user] },
      'messages[1].tool_calls[1]',
    ],
    [
      'an answer after the next message',
      { messages: [user, calling(call('a')), user, result('a')] },
      'messages[1].tool_calls[0] messages[3].tool_call_id',
    ],
    ['an answer without a call', { messages: [user, result('a')] }, 'messages[1].tool_call_id'],
    [
      'a second answer',
      { messages: [user, calling(call('a')), result('a'), result('a')] },
      'messages[3].tool_call_id',
    ],
    [
      'one id for two calls',
      { messages: [user, calling(call('a'), call('a')), result('a')] },
      'messages[1].tool_calls[1].id',
    ],
    [
      'an id that is too long',
      { messages: [user, calling(call('a'.repeat(41))), result('a'.repeat(41))] },
      'messages[1].tool_calls[0].id',
    ],
    [
      'arguments that are not JSON',
      { messages: [user, calling(call('a', '{"x":')), result('a')] },
      'messages[1].tool_calls[0].function.arguments',
    ],
    [
      'arguments that are not a string',
      { messages: [user, calling({ ...call('a'), function: { name: 'f', arguments: {} } }), result('a')] },
      'messages[1].tool_calls[0].function.arguments',
    ],
    [
      'a call with a bad name',
      { messages: [user, calling(call('a', '{}', 'no spaces')), result('a')] },
      'messages[1].tool_calls[0].function.name',
    ],
    ['a tool with a bad name', { messages: [user], tools: [tool('a.b')] }, 'tools[0].function.name'],
    [
      'a name of 65 characters',
      { messages: [user], tools: [tool('x'.repeat(65))] },
      'tools[0].function.name',
    ],
    ['two tools of one name', { messages: [user], tools: [tool(), tool()] }, 'tools[1].function.name'],
    ['an empty list of tools', { messages: [user], tools: [] }, 'tools'],
    [
      'a schema whose type is not object',
      { messages: [user], tools: [tool('f', { type: 'string' })] },
      'tools[0].function.parameters',
    ],
    [
      'an array without items',
      { messages: [user], tools: [tool('f', { type: 'object', properties: { a: { type: 'array' } } })] },
      'tools[0].function.parameters.properties.a',
    ],
    ['a choice without tools', { messages: [user], tool_choice: 'auto' }, 'tool_choice'],
    [
      'a choice that is not offered',
      { messages: [user], tools: [tool()], tool_choice: { type: 'function', function: { name: 'g' } } },
      'tool_choice',
    ],
    ['an unknown choice', { messages: [user], tools: [tool()], tool_choice: 'must' }, 'tool_choice'],
    ['a temperature of 3', { messages: [user], temperature: 3 }, 'temperature'],
    ['half a token', { messages: [user], max_tokens: 0.5 }, 'max_tokens'],
    [
      'a format of another type',
      { messages: [user], response_format: { type: 'xml' } },
      'response_format.type',
    ],
    [
      'a format without its schema',
      { messages: [user], response_format: { type: 'json_schema' } },
      'response_format.json_schema',
    ],
    [
      'a schema without a name',
      { messages: [user], response_format: { type: 'json_schema', json_schema: { schema: {} } } },
      'response_format.json_schema.name',
    ],
    ['five stop texts', { messages: [user], stop: ['a', 'b', 'c', 'd', 'e'] }, 'stop'],
    ['a stop that is no text', { messages: [user], stop: 1 }, 'stop'],
    ['stream options without a stream', { messages: [user], stream_options: {} }, 'stream_options'],
  ])('%s', (_name, request, param) => {
    expect(params(request).join(' ')).toBe(param);
  });

  it('calls in the messages of a request without tools', () => {
    const messages = [user, calling(call('a')), result('a')];
    expect(checkTranscript({ messages })[0]?.param).toBe('tools');
    expect(checkTranscript({ messages, tools: [tool()] })).toEqual([]);
  });

  it('a request over the wire without a model', () => {
    expect(checkTranscript({ messages: [user] }, { wire: true })[0]?.param).toBe('model');
  });

  it('reports every fault, each in one sentence', () => {
    const found = checkTranscript({ messages: [user, result('a'), result('b')], temperature: -1 });
    expect(found.map((violation) => violation.message)).toEqual([
      'messages[1].tool_call_id answers a, which the preceding assistant message did not call.',
      'messages[2].tool_call_id answers b, which the preceding assistant message did not call.',
      'temperature must be a number from 0 to 2.',
    ]);
  });
});
