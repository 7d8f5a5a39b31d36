import { expect, test } from 'vitest';
import * as client from './index.ts';
import * as internal from './internal.ts';
import * as node from './node.ts';
import * as repl from './repl.ts';

test('the package exports these names and no others', () => {
  expect(Object.keys(client).sort()).toEqual([
    'Client',
    'Conversation',
    'Conversations',
    'connect',
    'createEnvelopePrinter',
    'isUndecided',
  ]);
  expect(Object.keys(node)).toEqual(['connect']);
  expect(Object.keys(repl).sort()).toEqual([
    'HistoryFile',
    'MessageInput',
    'PipedInput',
    'Repl',
    'SavedConversations',
    'TerminalInput',
    'chooseConversation',
    'completeCommand',
    'readMessages',
  ]);
  expect(Object.keys(internal)).toEqual(['connectionText']);
});
