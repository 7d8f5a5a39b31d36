import { mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, onTestFinished, test, vi } from 'vitest';
import { SavedConversations } from './saved-conversations.ts';

const directory = (): string => {
  const path = mkdtempSync(join(tmpdir(), 'fame-saved-'));
  onTestFinished(() => rmSync(path, { recursive: true }));
  return path;
};
const open = (text: string) => ({ turnId: `t-${text}`, text });

test('lists the latest first, with titles and unanswered messages', () => {
  const dataDir = directory();
  const saved = new SavedConversations(dataDir, vi.fn());
  saved.messageSent('a', 'chat@fame.fabric', open('My name is Ada'));
  saved.messageSettled('a');
  saved.messageSent('b', 'chat@fame.fabric', open('two\nlines'));
  saved.messageSent('a', 'chat@fame.fabric', open('and now?'));
  const again = new SavedConversations(dataDir, vi.fn()).list();
  expect(again).toMatchObject([
    { id: 'a', title: 'My name is Ada', open: { turnId: 't-and now?', text: 'and now?' } },
    { id: 'b', title: 'two lines', address: 'chat@fame.fabric', open: { text: 'two\nlines' } },
  ]);
  saved.messageSettled('a');
  expect(saved.get('a')).not.toHaveProperty('open');
  saved.remove('a');
  expect(saved.list().map(({ id }) => id)).toEqual(['b']);
  expect(statSync(join(dataDir, 'chats.json')).mode & 0o777).toBe(0o600);
});

test('keeps the latest fifty', () => {
  const saved = new SavedConversations(directory(), vi.fn());
  for (let n = 0; n < 60; n++) saved.messageSent(`c${n}`, 'chat@fame.fabric', open('x'));
  expect(saved.list()).toHaveLength(50);
  expect(saved.list()[0]?.id).toBe('c59');
});

test('a file that cannot be read is reported once, and nothing is saved', () => {
  const dataDir = directory();
  writeFileSync(join(dataDir, 'chats.json'), '{ not json');
  const onFault = vi.fn();
  const saved = new SavedConversations(dataDir, onFault);
  saved.messageSent('a', 'chat@fame.fabric', open('x'));
  saved.messageSent('a', 'chat@fame.fabric', open('x'));
  expect(saved.list()).toEqual([]);
  expect(onFault).toHaveBeenCalledTimes(1);
});
