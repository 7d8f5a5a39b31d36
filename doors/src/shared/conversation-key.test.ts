import { describe, expect, test } from 'vitest';
import { conversationKey, isHelperPrompt } from './conversation-key.ts';

describe('conversationKey', () => {
  test('takes the first that is given', () => {
    const headers = { 'x-session-id': 's', 'x-openwebui-chat-id': 'o', 'x-conversation-id': 'c' };
    const metadata = { chat_id: 'm', conversation_id: 'n' };
    expect(conversationKey(headers, metadata)).toEqual({ id: 'c', sendsHistory: false });
    expect(conversationKey({ ...headers, 'x-conversation-id': ' ' }, metadata)).toEqual({
      id: 'o',
      sendsHistory: true,
    });
    expect(conversationKey({ 'x-session-id': 's' }, metadata)).toEqual({ id: 's', sendsHistory: false });
    expect(conversationKey({}, metadata)).toEqual({ id: 'n', sendsHistory: false });
    expect(conversationKey({}, { chat_id: 'm' })).toEqual({ id: 'm', sendsHistory: true });
    expect(conversationKey({}, { chat_id: 7 })).toBeUndefined();
    expect(conversationKey({})).toBeUndefined();
  });

  test.each(['x'.repeat(257), 'caf\u00e9', 'a\u0000b'])('refuses the id %j', (id) => {
    const error = expect.objectContaining({
      code: 'PARAMS_INVALID',
      details: { param: 'metadata.chat_id' },
    });
    expect(() => conversationKey({}, { chat_id: id })).toThrow(error);
  });
});

describe('isHelperPrompt', () => {
  test.each([
    [true, { 'x-openwebui-task': 'title_generation' }, {}, 'x'],
    [true, {}, { task: 'tags' }, 'x'],
    [true, { 'x-openwebui-chat-id': 'o' }, {}, '### Task:\nWrite a title.'],
    [false, {}, {}, '### Task:\nWrite a title.'],
    [false, { 'x-openwebui-chat-id': 'o' }, {}, 'My ### Task:'],
    [false, { 'x-openwebui-chat-id': 'o' }, {}, undefined],
    [false, { 'x-openwebui-task': '{{TASK}}' }, {}, 'x'],
    [false, { 'x-openwebui-task': '' }, { task: '' }, 'x'],
  ])('is %s', (expected, headers, metadata, message) => {
    expect(isHelperPrompt(headers, metadata, message)).toBe(expected);
  });
});
