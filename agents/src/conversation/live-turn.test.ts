import { setImmediate as nextTurn } from 'node:timers/promises';
import { expect, it } from 'vitest';
import { noUsage } from '../model/usage.ts';
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

it('gives each follower the same events, and from inside a text its rest first', async () => {
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
  for (const texts of [early, second, follow(turn)]) {
    await nextTurn();
    expect(texts).toEqual(['one ', 'two ', 'three ', 'four']);
  }
  expect(inside).toEqual(['wo ', 'three ', 'four']);
});

it('gives every follower of a released turn the reason, at the position of its last event', async () => {
  const { turn, add } = turnWithText();
  add('a');
  const figures = {
    usage: noUsage(),
    cost: 'unknown',
    model: null,
    first_token_ms: null,
    duration_ms: null,
  } as const;
  const error = { code: 'NODE_GONE', message: 'The agent stopped.', retryable: true };
  turn.release({ state: 'failed', error, text: 'a', ...figures });
  const position = cursorAt(FIRST, 1, 1);
  for (const after of [0, position]) {
    const events: ConversationEvent[] = [];
    for await (const event of turn.follow(after)) events.push(event);
    expect(events.at(-1)).toMatchObject({ type: 'error', seq: position, code: 'NODE_GONE' });
    expect(events).toHaveLength(after === 0 ? 2 : 1);
  }
});
