import { setImmediate as nextTurn } from 'node:timers/promises';
import { expect, it } from 'vitest';
import { cursorAt } from '../store/cursor.ts';
import type { ConversationEvent } from './conversation.ts';
import { LiveTurn } from './live-turn.ts';

const afterMicrotasks = (): Promise<void> => new Promise((resolve) => process.nextTick(resolve));
const FIRST = { fence: 1, firstSeq: 1 };

/** A turn, and a function that adds text to one row of its conversation. */
function turnWithText(row = 1) {
  const turn = new LiveTurn({
    id: 't',
    conversationId: 'c',
    userMessage: 'hi',
    acceptedAt: 0,
    date: 0,
    deadline: 1_000,
    epoch: 1,
  });
  let chars = 0;
  const add = (text: string): void => {
    const body = { text, offset: chars, from: 'model' };
    chars += text.length;
    turn.receive({ seq: row, cursor: cursorAt(FIRST, row, chars), at: 0, kind: 'text', turnId: 't', body });
  };
  return { turn, add };
}

/** Follows a turn; the texts of its events appear in the list. */
function follow(turn: LiveTurn, after?: number): string[] {
  const texts: string[] = [];
  void (async () => {
    for await (const event of turn.follow(after)) texts.push((event as { text: string }).text);
  })();
  return texts;
}

it('shows the first text before the next turn of the event loop, and the texts that arrive with it as one', async () => {
  const { turn, add } = turnWithText();
  const texts = follow(turn);
  await nextTurn();
  add('a');
  await afterMicrotasks();
  expect(texts).toEqual(['a']);
  for (const text of ['b', 'c', 'd']) {
    add(text);
    await afterMicrotasks();
  }
  expect(texts).toEqual(['a']);
  await nextTurn();
  expect(texts).toEqual(['a', 'bcd']);
});

it('gives each follower every character once, however far it has read', async () => {
  const { turn, add } = turnWithText();
  const early = follow(turn);
  for (const text of ['one ', 'two ']) {
    add(text);
    await nextTurn();
  }
  const second = follow(turn);
  const inside = follow(turn, cursorAt(FIRST, 1, 'one t'.length));
  await nextTurn();
  for (const text of ['three ', 'four']) {
    add(text);
    await nextTurn();
  }
  expect(early).toEqual(['one ', 'two ', 'three ', 'four']);
  expect(second).toEqual(['one two ', 'three ', 'four']);
  expect(inside.join('')).toBe('wo three four');
});

it('joins what a slow follower has missed, from its own position', async () => {
  const { turn, add } = turnWithText();
  const slow = turn.follow();
  add('a');
  const seen: ConversationEvent[] = [(await slow.next()).value as ConversationEvent];
  add('b');
  await nextTurn();
  add('c');
  seen.push((await slow.next()).value as ConversationEvent);
  expect(seen.map((event) => (event as { text: string }).text)).toEqual(['a', 'bc']);
  expect(seen.map(({ seq }) => seq)).toEqual([cursorAt(FIRST, 1, 1), cursorAt(FIRST, 1, 3)]);
  await slow.return();
});
