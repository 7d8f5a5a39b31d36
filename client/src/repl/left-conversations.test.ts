import { mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, onTestFinished, test, vi } from 'vitest';
import { LeftConversations } from './left-conversations.ts';

const directory = (): string => {
  const path = mkdtempSync(join(tmpdir(), 'fame-left-'));
  onTestFinished(() => rmSync(path, { recursive: true }));
  return path;
};
const open = (text: string) => ({ turnId: `t-${text}`, text });

test('the latest first, each with what it began with and what has no answer yet', () => {
  const dataDir = directory();
  const left = new LeftConversations(dataDir, vi.fn());
  left.asked('a', 'chat@fame.fabric', open('My name is Ada'));
  left.answered('a');
  left.asked('b', 'chat@fame.fabric', open('two\nlines'));
  left.asked('a', 'chat@fame.fabric', open('and now?'));
  const again = new LeftConversations(dataDir, vi.fn()).list();
  expect(again).toMatchObject([
    { id: 'a', title: 'My name is Ada', open: { turnId: 't-and now?', text: 'and now?' } },
    { id: 'b', title: 'two lines', address: 'chat@fame.fabric', open: { text: 'two\nlines' } },
  ]);
  left.answered('a');
  expect(left.get('a')).not.toHaveProperty('open');
  left.forget('a');
  expect(left.list().map(({ id }) => id)).toEqual(['b']);
  expect(statSync(join(dataDir, 'chats.json')).mode & 0o777).toBe(0o600);
});

test('fifty are remembered', () => {
  const left = new LeftConversations(directory(), vi.fn());
  for (let n = 0; n < 60; n++) left.asked(`c${n}`, 'chat@fame.fabric', open('x'));
  expect(left.list()).toHaveLength(50);
  expect(left.list()[0]?.id).toBe('c59');
});

test('a file that cannot be read is told once, and nothing is kept', () => {
  const dataDir = directory();
  writeFileSync(join(dataDir, 'chats.json'), '{ not json');
  const onFault = vi.fn();
  const left = new LeftConversations(dataDir, onFault);
  left.asked('a', 'chat@fame.fabric', open('x'));
  left.asked('a', 'chat@fame.fabric', open('x'));
  expect(left.list()).toEqual([]);
  expect(onFault).toHaveBeenCalledTimes(1);
});
