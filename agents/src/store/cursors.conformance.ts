// Contract tests of cursors. `store.conformance.ts` runs them with each implementation of the store.
import { expect, test } from 'vitest';
import type { AcquiredConversation, ConversationStore, Fence, JournalEvent, NewEvent } from './store.ts';

interface CursorBench {
  store(): ConversationStore;
  begin(id: string): Promise<AcquiredConversation>;
  append(id: string, fence: Fence, after: number, events: NewEvent[]): Promise<void>;
  event(kind: NewEvent['kind'], turnId?: string, body?: NewEvent['body']): NewEvent;
}

const FENCE = 2 ** 32;
const ROW = 2 ** 14;
const LEASE = 10_000;

/** The characters of texts, and the kinds of other events. */
const contentOf = (events: readonly JournalEvent[]): string =>
  events.map(({ kind, body }) => (kind === 'text' ? body.text : `<${kind}>`)).join('');

export function cursorConformance({ store, begin, append, event }: CursorBench): void {
  const text = (piece: string, offset: number) => event('text', 't', { text: piece, offset });

  /** Two acquisitions without rows of their own between two with some. */
  const written = async (): Promise<readonly JournalEvent[]> => {
    const { fence } = await begin('c');
    await append('c', fence, 1, [event('turn_accepted', 't'), text('Hello', 0), text(' you', 5)]);
    await store().acquire('c', LEASE);
    await store().acquire('c', LEASE);
    const later = (await store().acquire('c', LEASE))!;
    await append('c', later.fence, 4, [
      event('turn_resumed', 't', { keep: 0 }),
      text('Hi', 0),
      event('turn_completed', 't', { text: 'Hi', in_history: true }),
    ]);
    return store().read('c');
  };

  test('cursors are computed from the acquisition, the row and the characters', async () => {
    const cursors = (await written()).map(({ cursor }) => cursor);
    expect(cursors).toEqual([
      1,
      FENCE + ROW,
      FENCE + ROW + 5,
      FENCE + 2 * ROW + 4,
      4 * FENCE + ROW,
      4 * FENCE + ROW + 2,
      4 * FENCE + 3 * ROW,
    ]);
  });

  test('every way to read an event gives it the same cursor', async () => {
    const all = new Map((await written()).map((one) => [one.seq, one.cursor]));
    const { fence, record } = (await store().acquire('c', LEASE))!;
    await append('c', fence, record.lastSeq, [
      event('turn_accepted', 'open'),
      event('text', 'open', { text: 'x' }),
    ]);
    const acquired = (await store().acquire('c', LEASE))!;
    const others = [
      acquired.started,
      ...acquired.history.flat(),
      ...(await store().history('c')).flat(),
      ...(await store().read('c', { turnId: 't', after: 2 })),
    ];
    for (const { seq, cursor } of others) expect(cursor, `seq ${seq}`).toBe(all.get(seq));
    expect(acquired.open[0]!.map(({ cursor }) => cursor)).toEqual([5 * FENCE + ROW, 5 * FENCE + ROW + 1]);
  });

  test('a reader continues after any cursor, with the rest of a text', async () => {
    const events = await written();
    const whole = contentOf(events);
    for (const one of events) {
      const chars = one.kind === 'text' ? String(one.body.text).length : 1;
      for (let missing = 0; missing < chars; missing++) {
        const before = contentOf(events.filter(({ seq }) => seq < one.seq));
        const part = one.kind === 'text' ? String(one.body.text).slice(0, chars - missing) : `<${one.kind}>`;
        const rest = await store().read('c', { afterCursor: one.cursor - missing });
        expect(before + part + contentOf(rest), `${one.seq} - ${missing}`).toBe(whole);
        const [first] = await store().read('c', { afterCursor: one.cursor - missing, limit: 1 });
        expect(first, `${one.seq} - ${missing}`).toEqual(rest[0]);
      }
    }
    expect(contentOf(await store().read('c', { afterCursor: 0 }))).toBe(whole);
    const [rest] = await store().read('c', { afterCursor: FENCE + ROW + 2 });
    expect(rest!.body).toEqual({ text: 'llo', offset: 2 });
  });

  test('a page ends early when its bodies are long, and has one event at least', async () => {
    const events = await written();
    const sizes = events.map(({ body }) => JSON.stringify(body).length);
    const [, second, third] = sizes;
    for (const [maxChars, count] of [
      [1, 1],
      [second!, 1],
      [second! + third!, 2],
      [1_000, events.length - 1],
    ] as const) {
      expect(await store().read('c', { after: 1, maxChars })).toEqual(events.slice(1, 1 + count));
    }
    // Page by page, a reader gets everything from any cursor on.
    for (const { cursor, kind } of events) {
      for (const from of kind === 'text' ? [cursor - 1, cursor] : [cursor]) {
        const pages: JournalEvent[] = [];
        for (let after = from; ; after = pages.at(-1)!.cursor) {
          const page = await store().read('c', { afterCursor: after, maxChars: 1 });
          if (page.length === 0) break;
          pages.push(...page);
        }
        expect(pages).toEqual(await store().read('c', { afterCursor: from }));
      }
    }
  });

  test('a reader that is ahead of what its acquisition wrote continues with the next one', async () => {
    const whole = contentOf(await written());
    const next = whole.slice(whole.indexOf('<turn_resumed>'));
    // A text and a row of the first acquisition that were lost, and acquisitions that wrote nothing.
    for (const lost of [FENCE + 2 * ROW + 9, FENCE + 7 * ROW, 2 * FENCE + ROW, 3 * FENCE + 5]) {
      expect(contentOf(await store().read('c', { afterCursor: lost })), String(lost)).toBe(next);
    }
    for (const end of [4 * FENCE + 3 * ROW, 4 * FENCE + 9 * ROW, 9 * FENCE]) {
      expect(await store().read('c', { afterCursor: end }), String(end)).toEqual([]);
    }
  });

  test('a conversation under the id of a removed one has its own acquisitions', async () => {
    await written();
    await store().acquire('c', 0);
    await store().remove('c');
    const { fence } = await begin('c');
    await append('c', fence, 1, [event('turn_accepted', 't'), text('Hello', 0)]);
    expect((await store().read('c')).map(({ cursor }) => cursor)).toEqual([1, FENCE + ROW, FENCE + ROW + 5]);
  });
}
