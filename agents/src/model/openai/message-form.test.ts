import { expect, it } from 'vitest';
import type { ModelMessage } from '../model.ts';
import { wireMessages, wireName } from './message-form.ts';

const calling = (name: string, args: string, more: object = {}): ModelMessage => ({
  role: 'assistant',
  content: null,
  tool_calls: [{ id: 'id1', type: 'function', function: { name, arguments: args } }],
  ...more,
});
const user: ModelMessage = { role: 'user', content: 'Hi' };
const result: ModelMessage = { role: 'tool', tool_call_id: 'id1', content: 'ok' };
const argumentsOf = (args: string): string =>
  (wireMessages([user, calling('f', args)], 'm')[1] as Extract<ModelMessage, { role: 'assistant' }>)
    .tool_calls![0]!.function.arguments;

it.each([
  ['{"a": 1}', '{"a": 1}'],
  ['', '{}'],
  ['null', '{}'],
  ['"{\\"a\\":1}"', '{"a":1}'],
  ['{"a":1,}', '{"_raw":"{\\"a\\":1,}"}'],
  ['[1]', '{"_raw":"[1]"}'],
  ['{"a":"\ud83d', '{"_raw":"{\\"a\\":\\"\ufffd"}'],
])('writes the arguments %j as one JSON object', (args, expected) => {
  expect(argumentsOf(args)).toBe(expected);
});

it('bounds invalid arguments', () => {
  expect(argumentsOf(`{"a":"${'x'.repeat(10_000)}`).length).toBeLessThan(2_100);
});

it.each([
  ['get_weather', 'get_weather'],
  ['functions.get_weather', 'get_weather'],
  ['get_weather<|channel|>commentary', 'get_weather'],
  ['', 'unknown_function'],
  ['get weather', 'unknown_function'],
  ['x'.repeat(65), 'unknown_function'],
])('writes the name %j as %j', (name, expected) => {
  expect(wireName(name)).toBe(expected);
});

it('sends the fields of a server back to their model: of a call always, of a message within its turn', () => {
  const provider = {
    model: 'm',
    message: { reasoning_content: 'Hmm' },
    calls: [{ id: 'id1', sentId: 'functions.f:0', fields: { extra_content: { a: 1 }, id: 'no' } }],
  };
  const turn = [user, calling('f', '{}', { provider }), result];
  const sent = { id: 'functions.f:0', type: 'function', function: { name: 'f', arguments: '{}' } };
  const sentResult = { ...result, tool_call_id: 'functions.f:0' };
  const call = { role: 'assistant', content: null, tool_calls: [{ extra_content: { a: 1 }, ...sent }] };
  expect(wireMessages(turn, 'm')).toEqual([user, { reasoning_content: 'Hmm', ...call }, sentResult]);
  expect(wireMessages([...turn, { role: 'assistant', content: 'Done' }, user], 'm').slice(0, 3)).toEqual([
    user,
    call,
    sentResult,
  ]);
  expect(wireMessages(turn, 'other')).toEqual([user, calling('f', '{}'), result]);
});

it('leaves all other messages as they are', () => {
  const messages: ModelMessage[] = [
    { role: 'system', content: 's' },
    user,
    { role: 'assistant', content: 'Hi' },
  ];
  expect(wireMessages(messages, 'm')).toEqual(messages);
});

it('gives a message without text a text, because some servers refuse an empty one', () => {
  const empty = (message: ModelMessage) => wireMessages([message], 'm')[0]!.content;
  expect(empty({ role: 'assistant', content: '' })).toBe('(empty)');
  expect(empty({ role: 'assistant', content: null })).toBe('(empty)');
  expect(empty({ role: 'user', content: ' \n' })).toBe('(empty)');
  expect(empty({ role: 'tool', tool_call_id: 'id1', content: '' })).toBe('(empty)');
  expect(empty(calling('f', '{}', { content: '' }))).toBeNull();
  expect(empty(calling('f', '{}', { content: 'Let me look.' }))).toBe('Let me look.');
});

it('joins texts of one role in a row, because templates of some models take alternating roles only', () => {
  const say = (content: string): ModelMessage => ({ role: 'assistant', content });
  expect(wireMessages([user, user, say('a'), say('b'), user], 'm')).toEqual([
    { role: 'user', content: 'Hi\n\nHi' },
    { role: 'assistant', content: 'a\n\nb' },
    user,
  ]);
  const called = wireMessages([user, say('a'), calling('f', '{}'), result, calling('f', '{}'), result], 'm');
  expect(called.map(({ role, content }) => `${role} ${content}`)).toEqual([
    'user Hi',
    'assistant a',
    'tool ok',
    'assistant null',
    'tool ok',
  ]);
  expect(called[1]!.tool_calls).toHaveLength(1);
});
