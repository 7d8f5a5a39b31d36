import { expect, test } from 'vitest';
import { parseConversation } from './trace-conversation.ts';

test.each([
  ['abc', 'chat@fame.fabric', { address: 'chat@fame.fabric', id: 'abc' }],
  ['shop@fame.fabric/abc', 'chat@fame.fabric', { address: 'shop@fame.fabric', id: 'abc' }],
  ['shop@fame.fabric/a/b', undefined, { address: 'shop@fame.fabric', id: 'a/b' }],
  ['abc', undefined, undefined],
  ['/abc', 'chat@fame.fabric', undefined],
])('the conversation %s with the chat agent %s is %o', (text, chatAddress, target) => {
  expect(parseConversation(text, chatAddress)).toEqual(target);
});
