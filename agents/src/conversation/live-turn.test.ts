import { setImmediate as nextTurn } from 'node:timers/promises';
import { ManualClock } from '@fame-fabric/shared/testing';
import { describe, expect, it } from 'vitest';
import { noUsage } from '../model/usage.ts';
import { cursorAt } from '../store/cursor.ts';
import type { ConversationEvent, TurnOutcome } from './conversation.ts';
import { LiveTurn } from './live-turn.ts';

const FIRST = { fence: 1, firstSeq: 1 };

const OUTCOME = { state: 'completed', text: '' } as TurnOutcome;

/** A turn, and a function that adds text to one row of its conversation. */
function turnWithText(row = 1) {
  const clock = new ManualClock();
  const turn = new LiveTurn({
    id: 't',
    clock,
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
  return { turn, add, clock };
}

/** Follows a turn; the texts of its events appear in the list. */
function follow(turn: LiveTurn, after?: number): string[] {
  const texts: string[] = [];
  void (async () => {
    for await (const event of turn.follow(after)) texts.push((event as { text: string }).text);
  })();
  return texts;
}

it('shows a text at once, and the texts of the next 5 ms as one', async () => {
  const { turn, add, clock } = turnWithText();
  const texts = follow(turn);
  await nextTurn();
  add('a');
  await nextTurn();
  expect(texts).toEqual(['a']);
  for (const text of ['b', 'c', 'd', 'e']) {
    add(text);
    clock.advance(1);
    await nextTurn();
    expect(texts).toEqual(['a']);
  }
  clock.advance(1);
  await nextTurn();
  expect(texts).toEqual(['a', 'bcde']);
  clock.advance(5);
  add('f');
  await nextTurn();
  expect(texts).toEqual(['a', 'bcde', 'f']);
  expect(clock.timerCount).toBe(0);
});

it('shows gathered text before the event that follows it', async () => {
  const { turn, add, clock } = turnWithText();
  const events: ConversationEvent[] = [];
  void (async () => {
    for await (const event of turn.follow()) events.push(event);
  })();
  add('a');
  add('b');
  const body = { call_id: 'x', name: 'f', step: 1, index: 0 };
  turn.receive({ seq: 2, cursor: cursorAt(FIRST, 2), at: 0, kind: 'tool_started', turnId: 't', body });
  await nextTurn();
  expect(events.map(({ type }) => type)).toEqual(['text', 'text', 'tool_call']);
  expect(clock.timerCount).toBe(0);
});

it('gives each follower the same events, and from inside a text its rest first', async () => {
  const { turn, add, clock } = turnWithText();
  const early = follow(turn);
  for (const text of ['one ', 'two ']) {
    add(text);
    clock.advance(5);
    await nextTurn();
  }
  const second = follow(turn);
  const inside = follow(turn, cursorAt(FIRST, 1, 'one t'.length));
  await nextTurn();
  for (const text of ['three ', 'four']) {
    add(text);
    clock.advance(5);
    await nextTurn();
  }
  for (const texts of [early, second, follow(turn)]) {
    await nextTurn();
    expect(texts).toEqual(['one ', 'two ', 'three ', 'four']);
  }
  expect(inside).toEqual(['wo ', 'three ', 'four']);
});

it('delivers the events that a follower gets, each in the step in which it is published', async () => {
  const { turn, add, clock } = turnWithText();
  const texts: string[] = [];
  const { signal } = new AbortController();
  const take = (event: ConversationEvent): undefined => void texts.push((event as { text: string }).text);
  const delivered = turn.deliver(0, take, signal);
  add('one ');
  expect(texts).toEqual(['one ']);
  clock.advance(5);
  add('two');
  turn.end(OUTCOME);
  await delivered;
  expect(texts).toEqual(['one ', 'two']);
  await turn.deliver(cursorAt(FIRST, 1, 'on'.length), take, signal);
  expect(texts.slice(2)).toEqual(['e ', 'two']);
  const later: ConversationEvent[] = [];
  await turn.deliver(cursorAt({ fence: 2, firstSeq: 1 }, 1, 1), (event) => void later.push(event), signal);
  expect(later.map(({ type }) => type)).toEqual(['restart', 'text', 'text']);
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

describe('progress', () => {
  /** Follows a turn with its reasoning; stops reading while `isSlow`. */
  function followAll(turn: LiveTurn) {
    const texts: string[] = [];
    const reader = turn.follow(0, undefined, ['reasoning', 'waiting']);
    const readAll = async (): Promise<void> => {
      for await (const event of reader) {
        if (event.type === 'text') texts.push(event.text);
        if (event.type === 'reasoning') texts.push(`(${event.text})`);
        if (event.type === 'waiting') texts.push(`[${event.attempt}]`);
      }
    };
    return { texts, reader, readAll };
  }

  it('keeps its place between the events, even for a slow reader', async () => {
    const { turn, add, clock } = turnWithText();
    const fast = followAll(turn);
    const slow = followAll(turn);
    void fast.readAll();
    void slow.reader.next(); // begins to follow
    await nextTurn();
    const retry = { reason: 'unreachable', waitMs: 500, attempts: 4 } as const;
    turn.progress.waiting({ ...retry, attempt: 2 });
    turn.progress.waiting({ ...retry, attempt: 3 });
    turn.progress.reasoning('one ');
    turn.progress.reasoning('two');
    add('a');
    add('b');
    turn.progress.reasoning('three');
    add('c');
    clock.advance(5);
    await nextTurn();
    await nextTurn();
    expect(fast.texts.join(' ')).toBe('[3] (one two) a bc (three)');
    void slow.readAll();
    await nextTurn();
    expect(slow.texts.join(' ')).toBe('(one two) a bc (three)'); // the wait went to the first read
  });

  it('is dropped beyond a limit for a slow reader, which gets the whole text', async () => {
    const { turn, add, clock } = turnWithText();
    const { texts, reader, readAll } = followAll(turn);
    void reader.next();
    await nextTurn();
    add('a');
    await nextTurn();
    const megabyte = 'x'.repeat(1_048_576);
    for (let at = 0; at < megabyte.length; at += 1_000)
      turn.progress.reasoning(megabyte.slice(at, at + 1_000));
    for (let n = 0; n < 100; n++) {
      add('b');
      turn.progress.reasoning('y');
    }
    clock.advance(5);
    await nextTurn();
    turn.end(OUTCOME);
    await readAll();
    const shown = texts.filter((text) => text.startsWith('(')).join('');
    expect(shown.length).toBeLessThanOrEqual(16_384 + 2);
    expect(shown.length).toBeGreaterThan(16_000);
    expect(texts.filter((text) => !text.startsWith('(')).join('')).toBe('b'.repeat(100));
  });

  it('of an attempt that goes on after its turn was released is dropped', async () => {
    const { turn } = turnWithText();
    const error = { code: 'NODE_GONE', message: 'Another process continues.', retryable: true };
    const reader = turn.follow(0, undefined, ['reasoning']);
    const last = reader.next();
    await nextTurn();
    turn.release({ state: 'failed', error, usage: noUsage() } as TurnOutcome);
    turn.progress.reasoning('late');
    expect(await last).toMatchObject({ value: { type: 'error' } });
    turn.progress.reasoning('later');
    expect(await reader.next()).toEqual({ done: true, value: undefined });
  });

  it('ends with the turn, and a reader that leaves is no longer served', async () => {
    const { turn } = turnWithText();
    const { texts, readAll } = followAll(turn);
    const leaver = followAll(turn);
    void leaver.reader.next();
    const leaving = new AbortController();
    const aborted = turn.follow(0, leaving.signal, ['reasoning']);
    const last = aborted.next();
    const all = readAll();
    await nextTurn();
    leaving.abort();
    expect(await last).toEqual({ done: true, value: undefined });
    turn.progress.reasoning('one');
    await nextTurn();
    expect(await leaver.reader.return()).toMatchObject({ done: true });
    turn.end(OUTCOME);
    await all;
    expect(texts).toEqual(['(one)']);
  });
});
