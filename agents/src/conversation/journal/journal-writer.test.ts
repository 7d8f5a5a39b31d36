import { FabricError } from '@fame-fabric/shared';
import { ManualClock, settle } from '@fame-fabric/shared/testing';
import { beforeEach, describe, expect, test } from 'vitest';
import { MAX_ACQUISITION_ROWS } from '../../store/cursor.ts';
import { MemoryStore } from '../../store/memory-store.ts';
import type { Append, JournalEvent } from '../../store/store.ts';
import type { TextPiece } from '../../turn/turn-text.ts';
import type { Entry } from './journal.ts';
import { JournalWriter } from './journal-writer.ts';

/** A store whose appends the test lets through one by one. */
class SlowStore extends MemoryStore {
  readonly waiting: { go(): void; fail(error: Error): void }[] = [];
  isSlow = true;

  override async append(append: Append): Promise<void> {
    const written = super.append(append);
    if (!this.isSlow) return written;
    await written;
    await new Promise<void>((go, fail) => this.waiting.push({ go, fail }));
  }
}

const FENCE = 2 ** 32;
const ROW = 2 ** 14;
const clock = new ManualClock();
let store: SlowStore;
let journal: JournalWriter;
let seen: JournalEvent[];
let isClosed: boolean;

beforeEach(async () => {
  store = new SlowStore({ clock });
  await store.create({
    id: 'c',
    agent: 'chat@fame.fabric',
    startCallId: 's',
    historyTurns: 10,
    totals: {},
    started: { kind: 'conversation_started', at: clock.now(), body: {} },
  });
  const { fence, record } = (await store.acquire('c', 10_000))!;
  journal = new JournalWriter(store, { id: 'c', fence, lastSeq: record.lastSeq, leaseMs: 10_000, clock });
  seen = [];
  isClosed = false;
  journal.feed.subscribe({
    event: (event) => seen.push(event),
    closed: () => {
      isClosed = true;
    },
  });
});

const model: TextPiece['source'] = { from: 'model' };
const say = (text: string, offset = 0, source: TextPiece['source'] = model): unknown =>
  journal.addText('t', { text, offset, source });
const called = { kind: 'model_called', turnId: 't', body: {} } as unknown as Entry;
const shown = (events: readonly JournalEvent[] = seen): string =>
  events.map(({ kind, body }) => (kind === 'text' ? body.text : `<${kind}>`)).join('|');
const rows = async (): Promise<string> => shown((await store.read('c')).slice(1));

describe('the order of the feed', () => {
  test('text is shown at once, another entry once it is durable, and later text after that entry', async () => {
    say('a');
    say('b', 1);
    expect(shown()).toBe('a|b');
    const appended = journal.append([called]);
    say('c', 2);
    say('d', 3);
    await settle();
    expect(shown()).toBe('a|b');
    store.waiting.shift()!.go();
    const [event] = await appended;
    expect(shown()).toBe('a|b|<model_called>|cd');
    expect(event).toEqual(seen[2]);
    say('e', 4);
    expect(shown()).toBe('a|b|<model_called>|cd|e');
    expect(await rows()).toBe('ab|<model_called>');
  });

  test('cursors rise, and are those of the rows that are written', async () => {
    store.isSlow = false;
    say('ab');
    say('c', 2);
    say('tool', 3, { from: 'tool', step: 1, index: 0 });
    await journal.append([called]);
    say('d', 7);
    await journal.append([called, called]);
    expect(seen.map(({ cursor }) => cursor)).toEqual([
      FENCE + 2,
      FENCE + 3,
      FENCE + ROW + 4,
      FENCE + 3 * ROW,
      FENCE + 3 * ROW + 1,
      FENCE + 5 * ROW,
      FENCE + 6 * ROW,
    ]);
    const stored = await store.read('c', { after: 1 });
    const byCursor = new Map(seen.map((event) => [event.cursor, event]));
    for (const { cursor, seq, kind } of stored) expect(byCursor.get(cursor)).toMatchObject({ seq, kind });
    expect(stored.map(({ body }) => body.offset)).toEqual([0, 3, undefined, 7, undefined, undefined]);
  });

  test('answers of the store in another order do not change the order of the feed', async () => {
    const first = journal.append([called]);
    const second = journal.append([{ ...called, kind: 'model_replied' } as Entry]);
    await settle();
    store.waiting.pop()!.go();
    await settle();
    expect(shown()).toBe('');
    store.waiting.pop()!.go();
    await Promise.all([first, second]);
    expect(shown()).toBe('<model_called>|<model_replied>');
  });

  test('a new listener receives the shown text that is not durable, and then the rest', async () => {
    say('a');
    const written = journal.append([]);
    say('b', 1);
    void journal.append([called]);
    say('c', 2);
    await settle();
    const late: JournalEvent[] = [];
    journal.feed.subscribe({ event: (event) => late.push(event) });
    expect(shown(late)).toBe('a|b');
    say('d', 3);
    for (const { go } of store.waiting.splice(0)) go();
    await written;
    await settle();
    expect(shown(late)).toBe('a|b|<model_called>|cd');
    const copied = shown(late);
    say('e', 4);
    expect(shown(late)).toBe(`${copied}|e`);
  });
});

describe('the writing of text', () => {
  test('is due after 1,000 ms, or at 8,192 characters', async () => {
    store.isSlow = false;
    say('a');
    clock.advance(999);
    await settle();
    expect(await rows()).toBe('');
    clock.advance(1);
    await settle();
    expect(await rows()).toBe('a');
    say('x'.repeat(8_191), 1);
    await settle();
    expect(await rows()).toBe('a');
    say('y', 8_192);
    await settle();
    expect(await rows()).toBe(`a|${'x'.repeat(8_191)}y`);
    expect(clock.timerCount).toBe(0);
  });

  test('cuts rows at 16,384 characters, never inside a surrogate pair', async () => {
    store.isSlow = false;
    const text = `${'x'.repeat(8_000)}${'😀'.repeat(20_000)}`;
    say(text.slice(0, 8_000));
    say(text.slice(8_000), 8_000);
    await journal.append([called]);
    const texts = (await store.read('c')).filter(({ kind }) => kind === 'text');
    expect(texts.map(({ body }) => body.text).join('')).toBe(text);
    for (const { body, cursor } of texts) {
      expect(String(body.text).isWellFormed()).toBe(true);
      expect(cursor % ROW || ROW).toBe(String(body.text).length);
    }
    expect(shown().replaceAll('|', '')).toBe(`${text}<model_called>`);
  });

  test('a pair that does not fit the rest of a row starts the next one', async () => {
    store.isSlow = false;
    const source = { from: 'tool', step: 1, index: 0 } as const;
    journal.addText('t', { text: 'x'.repeat(8_191), offset: 0, source });
    journal.addText('t', { text: `${'y'.repeat(8_192)}😀`, offset: 8_191, source });
    await settle();
    expect((await store.read('c')).slice(1).map(({ body }) => String(body.text).length)).toEqual([16_383, 2]);
  });

  test('makes the model wait while more than 32,768 characters are not durable', async () => {
    const piece = 'x'.repeat(8_192);
    const waits = [0, 1, 2, 3, 4].map((i) => say(piece, 8_192 * i));
    expect(waits.map((wait) => wait instanceof Promise)).toEqual([false, false, false, false, true]);
    await settle();
    for (const { go } of store.waiting.splice(0)) go();
    await waits[4];
    expect(say(piece, 40_960)).toBeUndefined();
  });
});

describe('a failed append', () => {
  test('closes the feed, shows nothing that was not shown, and refuses further text', async () => {
    const failed = journal.append([called]);
    say('a');
    await settle();
    store.waiting.shift()!.fail(new FabricError('STORE_UNAVAILABLE', 'The disk is gone.'));
    await expect(failed).rejects.toMatchObject({ code: 'STORE_UNAVAILABLE' });
    expect(shown()).toBe('');
    expect(isClosed).toBe(true);
    expect(() => say('b', 1)).toThrow('The disk is gone.');
    await expect(journal.append([called])).rejects.toMatchObject({ code: 'STORE_UNAVAILABLE' });
    expect(clock.timerCount).toBe(0);
  });

  test('of text in the background leaves no rejection unhandled', async () => {
    await store.acquire('c', 10_000);
    say('a');
    clock.advance(1_000);
    await settle();
    expect(() => say('b', 1)).toThrow('Another process has acquired the conversation.');
  });
});

test('an acquisition has a bounded number of rows', async () => {
  store.isSlow = false;
  const many = (count: number) => Array.from({ length: count }, () => called);
  await journal.append(many(200_000));
  expect(journal.isSpent).toBe(false);
  await journal.append(many(1));
  expect(journal.isSpent).toBe(true);
  await journal.append(many(MAX_ACQUISITION_ROWS - 200_002));
  const last = seen.at(-1)!.cursor;
  expect(last).toBeLessThan(2 * FENCE);
  await expect(journal.append(many(1))).rejects.toMatchObject({ code: 'STORE_CONFLICT' });
  expect(seen.at(-1)!.cursor).toBe(last);
});
