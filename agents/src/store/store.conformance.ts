// Contract tests of `ConversationStore`. Each implementation's test calls `storeConformance` with a way to open its store;
// `another` opens a second writer on the same conversations, as a second process would.
import type { Clock } from '@fame-fabric/shared';
import { ManualClock } from '@fame-fabric/shared/testing';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type {
  AcquiredConversation,
  Append,
  ConversationStore,
  Fence,
  NewConversation,
  NewEvent,
} from './store.ts';

interface StoreBench {
  store: ConversationStore;
  another(): Promise<ConversationStore>;
  /** Closes all opened stores. */
  close(): Promise<void>;
}
interface OpenOptions {
  clock: Clock;
  maxBytes?: number | undefined;
}

const LEASE = 10_000;
const conflict = expect.objectContaining({ code: 'STORE_CONFLICT' });

export function storeConformance(name: string, open: (options: OpenOptions) => Promise<StoreBench>): void {
  describe(name, () => {
    const clock = new ManualClock();
    let bench: StoreBench;
    let store: ConversationStore;
    beforeEach(async () => {
      bench = await open({ clock });
      store = bench.store;
    });
    afterEach(() => bench.close());

    const event = (kind: NewEvent['kind'], turnId?: string, body: NewEvent['body'] = {}): NewEvent => ({
      kind,
      at: clock.now(),
      turnId,
      body,
    });
    const conversation = (id: string, more: Partial<NewConversation> = {}): NewConversation => ({
      id,
      agent: 'chat@fame.fabric',
      startCallId: `start-${id}`,
      historyTurns: 2,
      totals: { tokens: 0 },
      started: event('conversation_started', undefined, { system_prompt: 'Be kind.' }),
      ...more,
    });
    const begin = async (id: string, more: Partial<NewConversation> = {}): Promise<AcquiredConversation> => {
      await store.create(conversation(id, more));
      return (await store.acquire(id, LEASE))!;
    };
    const append = (
      id: string,
      fence: Fence,
      after: number,
      events: NewEvent[],
      more: Partial<Append> = {},
    ) => store.append({ conversationId: id, fence, after, events, leaseMs: LEASE, ...more });
    const wholeTurn = (turnId: string, inHistory = true): NewEvent[] => [
      event('turn_accepted', turnId, { user_message: turnId }),
      event('text', turnId, { text: 'a' }),
      event('model_replied', turnId, { message: { role: 'assistant', content: turnId } }),
      event('turn_completed', turnId, { text: turnId, in_history: inHistory }),
    ];

    test('creating a conversation again returns the existing one', async () => {
      const first = await store.create(conversation('c'));
      expect(first).toMatchObject({
        created: true,
        record: { id: 'c', lastSeq: 1, turns: 0, state: 'working' },
      });
      const again = await store.create(conversation('c', { startCallId: 'other' }));
      expect(again).toMatchObject({ created: false, record: { startCallId: 'start-c' } });
      expect(await store.record('c')).toEqual(first.record);
      expect(await store.record('unknown')).toBeUndefined();
      expect(await store.peek('unknown')).toBeUndefined();
      expect(await store.acquire('unknown', LEASE)).toBeUndefined();
    });

    test('events are returned unchanged, in order and without gaps', async () => {
      const { fence } = await begin('c');
      const odd = {
        text: 'naïve 😀 \ud83d "quoted" \u0000 \n',
        list: [1, null, { a: true }],
        none: undefined,
      };
      await append('c', fence, 1, [event('turn_accepted', 't', odd)]);
      await append('c', fence, 2, [event('text', 't', { text: 'x' }), event('text', 't', { text: 'y' })]);
      const events = await store.read('c');
      expect(events.map((one) => one.seq)).toEqual([1, 2, 3, 4]);
      expect(events[1]).toEqual({
        seq: 2,
        kind: 'turn_accepted',
        turnId: 't',
        at: clock.now(),
        body: { text: odd.text, list: odd.list },
      });
      expect((await store.read('c', { after: 2, limit: 1 })).map((one) => one.seq)).toEqual([3]);
      expect(await store.read('c', { turnId: 'other' })).toEqual([]);
      expect(await store.read('unknown')).toEqual([]);
    });

    test('bodies of any length are returned complete', async () => {
      const { fence } = await begin('c');
      // Surrogate pairs at even and at odd offsets: a cut at a fixed length would split one of them.
      const texts = ['', 'x'].map((start) => `${start}${'😀'.repeat(75_000)}`);
      await append('c', fence, 1, [
        event('turn_accepted', 't'),
        ...texts.map((text) => event('text', 't', { text })),
      ]);
      const back = await store.read('c', { after: 2 });
      expect(back.map(({ body }, i) => body.text === texts[i])).toEqual([true, true]);
    });

    test('an append with the wrong `after` or an old fence changes nothing', async () => {
      const { fence } = await begin('c');
      await append('c', fence, 1, wholeTurn('t1'));
      await expect(append('c', fence, 1, wholeTurn('t2'))).rejects.toEqual(conflict);
      await expect(append('c', fence, 9, wholeTurn('t2'))).rejects.toEqual(conflict);
      const later = (await store.acquire('c', LEASE))!;
      await expect(append('c', fence, 5, wholeTurn('t2'))).rejects.toEqual(conflict);
      await expect(append('unknown', fence, 0, wholeTurn('t2'))).rejects.toEqual(conflict);
      expect((await store.record('c'))!.lastSeq).toBe(5);
      await append('c', later.fence, 5, wholeTurn('t2'));
      expect(await store.record('c')).toMatchObject({ lastSeq: 9, turns: 2 });
    });

    test('concurrent appends keep their order', async () => {
      const { fence } = await begin('c');
      await append('c', fence, 1, [event('turn_accepted', 't')]);
      await Promise.all(
        Array.from({ length: 50 }, (_, i) => append('c', fence, i + 2, [event('text', 't', { n: i })])),
      );
      const events = await store.read('c', { after: 2 });
      expect(events.map((one) => one.body.n)).toEqual(Array.from({ length: 50 }, (_, i) => i));
    });

    test('a refused append does not affect others of the same commit', async () => {
      const [a, b] = [await begin('a'), await begin('b')];
      const results = await Promise.allSettled([
        append('a', a.fence, 1, wholeTurn('t')),
        append('b', b.fence, 7, wholeTurn('t')),
        append('b', b.fence, 1, wholeTurn('t')),
      ]);
      expect(results.map((one) => one.status)).toEqual(['fulfilled', 'rejected', 'fulfilled']);
    });

    test('of two concurrent writers only one succeeds', async () => {
      const other = await bench.another();
      const { fence } = await begin('c');
      await append('c', fence, 1, [], { leaseMs: 0 });
      const taken = (await other.acquire('c', LEASE))!;
      const results = await Promise.allSettled([
        store.append({ conversationId: 'c', fence, after: 1, events: wholeTurn('x'), leaseMs: LEASE }),
        other.append({
          conversationId: 'c',
          fence: taken.fence,
          after: 1,
          events: wholeTurn('y'),
          leaseMs: LEASE,
        }),
      ]);
      expect(results.map((one) => one.status)).toEqual(['rejected', 'fulfilled']);
      expect((await store.read('c'))[1]!.turnId).toBe('y');
    });

    test('a held conversation cannot be acquired until its lease expires', async () => {
      const other = await bench.another();
      const { fence } = await begin('c');
      await expect(other.acquire('c', LEASE)).rejects.toMatchObject({
        code: 'STORE_CONFLICT',
        details: { retryAfterMs: LEASE },
      });
      clock.advance(LEASE - 1);
      expect(await store.renew(['c', 'unknown'], LEASE)).toEqual(['c']);
      clock.advance(LEASE - 1);
      await expect(other.acquire('c', LEASE)).rejects.toEqual(conflict);
      clock.advance(1);
      expect(await other.acquire('c', LEASE)).toBeDefined();
      expect(await store.renew(['c'], LEASE)).toEqual([]);
      await expect(append('c', fence, 1, wholeTurn('late'))).rejects.toEqual(conflict);
    });

    test.each([31_000, 3_600_000, -86_400_000, 31 * 86_400_000])(
      'HD11: after a step of the clock by %i ms a renewed lease holds, and one that is not renewed expires',
      async (ms) => {
        const other = await bench.another();
        await begin('c');
        clock.stepWall(ms);
        expect(await store.renew(['c'], LEASE)).toEqual(['c']);
        clock.advance(LEASE - 1);
        await expect(other.acquire('c', LEASE)).rejects.toEqual(conflict);
        clock.stepWall(ms);
        clock.advance(1);
        expect(await other.acquire('c', LEASE)).toBeDefined();
      },
    );

    test('a released conversation can be acquired at once, and its writer may append until then', async () => {
      const other = await bench.another();
      const { fence } = await begin('c');
      await append('c', fence, 1, wholeTurn('t1'), { leaseMs: 0 });
      await append('c', fence, 5, wholeTurn('t2'), { leaseMs: 0 });
      expect(await other.acquire('c', LEASE)).toMatchObject({ record: { lastSeq: 9 } });
    });

    test('the conversations of a closed writer can be acquired at once', async () => {
      const other = await bench.another();
      await store.create(conversation('c'));
      await other.acquire('c', LEASE);
      await expect(store.acquire('c', LEASE)).rejects.toEqual(conflict);
      await other.close();
      expect(await store.acquire('c', LEASE)).toBeDefined();
    });

    test('acquiring returns the last turns of the history and every open turn', async () => {
      const { fence } = await begin('c');
      let after = 1;
      for (const [turn, inHistory] of [
        ['t1', true],
        ['t2', true],
        ['t3', false],
        ['t4', true],
      ] as const) {
        await append('c', fence, after, wholeTurn(turn, inHistory));
        after += 4;
      }
      await append('c', fence, after, [
        event('turn_accepted', 'o1', { user_message: 'one' }),
        event('turn_accepted', 'o2', { user_message: 'two' }),
        event('text', 'o1', { text: 'half' }),
      ]);
      const acquired = (await store.acquire('c', LEASE))!;
      expect(acquired.started.body).toEqual({ system_prompt: 'Be kind.' });
      expect(acquired.history.map((turn) => turn.map((one) => `${one.turnId} ${one.kind}`))).toEqual([
        ['t2 turn_accepted', 't2 model_replied', 't2 turn_completed'],
        ['t4 turn_accepted', 't4 model_replied', 't4 turn_completed'],
      ]);
      expect(acquired.open.map((turn) => turn.map((one) => `${one.turnId} ${one.kind}`))).toEqual([
        ['o1 turn_accepted', 'o1 text'],
        ['o2 turn_accepted'],
      ]);
      expect(await store.history('c')).toEqual(acquired.history);
    });

    test('peek returns a turn by its id', async () => {
      const { fence } = await begin('c');
      await append('c', fence, 1, wholeTurn('t'));
      await append('c', fence, 5, [event('turn_accepted', 'o')]);
      expect(await store.peek('c', 't')).toEqual({
        agent: 'chat@fame.fabric',
        state: 'working',
        lastSeq: 6,
        epoch: fence.epoch,
        isFull: false,
        turn: { turnId: 't', state: 'completed', acceptedSeq: 2, endedSeq: 5, inHistory: true },
      });
      expect((await store.peek('c', 'o'))!.turn).toMatchObject({ state: 'open', endedSeq: 0 });
      expect((await store.peek('c', 'unknown'))!.turn).toBeUndefined();
    });

    test('a turn id is accepted once', async () => {
      const { fence } = await begin('c');
      await append('c', fence, 1, wholeTurn('t'));
      await expect(append('c', fence, 5, [event('turn_accepted', 't')])).rejects.toEqual(conflict);
      await append('c', fence, 5, wholeTurn('t2'));
      expect(await store.record('c')).toMatchObject({ turns: 2, lastSeq: 9 });
    });

    test('an append replaces totals and state', async () => {
      const { fence } = await begin('c');
      await append('c', fence, 1, wholeTurn('t'), { totals: { tokens: 7 }, state: 'input-required' });
      expect(await store.record('c')).toMatchObject({ totals: { tokens: 7 }, state: 'input-required' });
      await append('c', fence, 5, [event('conversation_ended')], { state: 'completed' });
      expect(await store.record('c')).toMatchObject({ totals: { tokens: 7 }, state: 'completed' });
    });

    test('unfinished lists conversations with open turns and no live holder', async () => {
      const other = await bench.another();
      for (const id of ['mine', 'done', 'free']) {
        const { fence } = await begin(id);
        clock.advance(1);
        await append(id, fence, 1, id === 'done' ? wholeTurn('t') : [event('turn_accepted', 't')], {
          leaseMs: id === 'free' ? 0 : LEASE,
        });
      }
      await begin('theirs', { agent: 'other@fame.fabric' }).then(({ fence }) =>
        append('theirs', fence, 1, [event('turn_accepted', 't')], { leaseMs: 0 }),
      );
      expect(await other.unfinished('chat@fame.fabric', 10)).toEqual(['free']);
      clock.advance(LEASE + 1);
      expect(await other.unfinished('chat@fame.fabric', 10)).toEqual(['mine', 'free']);
      expect(await other.unfinished('chat@fame.fabric', 1)).toEqual(['mine']);
    });

    test('the list shows the latest changed first, page by page', async () => {
      for (const id of ['a', 'b', 'c', 'd']) {
        await store.create(conversation(id, id === 'b' ? { agent: 'other@fame.fabric' } : {}));
        if (id !== 'c') clock.advance(1);
      }
      const ids = (records: readonly { id: string }[]) => records.map((record) => record.id);
      expect(ids(await store.list())).toEqual(['d', 'c', 'b', 'a']);
      const page = await store.list({ limit: 2 });
      expect(ids(page)).toEqual(['d', 'c']);
      expect(ids(await store.list({ limit: 2, before: page[1]! }))).toEqual(['b', 'a']);
      expect(ids(await store.list({ agent: 'other@fame.fabric' }))).toEqual(['b']);
    });

    test('remove deletes a conversation with its events, unless it is held', async () => {
      const { fence } = await begin('c');
      await append('c', fence, 1, wholeTurn('t'));
      await expect(store.remove('c')).rejects.toEqual(conflict);
      await append('c', fence, 5, [], { leaseMs: 0 });
      expect(await store.remove('c')).toBe(true);
      expect(await store.remove('c')).toBe(false);
      expect(await store.record('c')).toBeUndefined();
      await begin('c');
      expect(await store.read('c')).toHaveLength(1);
    });

    test('a sweep removes expired conversations, oldest first, and no held one', async () => {
      for (const id of ['old', 'held', 'young']) {
        const { fence } = await begin(id);
        await append(id, fence, 1, wholeTurn('t'), { leaseMs: id === 'held' ? 600_000 : 0 });
        clock.advance(100);
      }
      const before = clock.now() - 150;
      expect((await store.sweep({ expiredBefore: before })).removed).toEqual([
        { id: 'old', state: 'working' },
      ]);
      expect((await store.list()).map((record) => record.id)).toEqual(['young', 'held']);
    });

    test('a sweep above the size limit removes ended conversations, oldest first', async () => {
      const big = { user_message: 'x'.repeat(300_000) };
      for (const id of ['a', 'b', 'c']) {
        const { fence } = await begin(id);
        const state = id === 'b' ? 'working' : 'completed';
        await append(id, fence, 1, [event('turn_accepted', 't', big)], { leaseMs: 0, state });
        clock.advance(1);
      }
      const { bytes } = await store.sweep({});
      const report = await store.sweep({ maxBytes: bytes - 1 });
      expect(report.removed).toEqual([{ id: 'a', state: 'completed' }]);
      expect(report.bytes).toBeLessThan(bytes - 200_000);
      expect((await store.sweep({ maxBytes: 1 })).removed.map((one) => one.id)).toEqual(['c']);
    });

    test('a closed store rejects calls, and closing is idempotent', async () => {
      await store.close();
      await store.close();
      await expect(store.record('c')).rejects.toMatchObject({ code: 'STORE_UNAVAILABLE' });
    });

    test('a full store refuses new turns and conversations, lets running turns end and stays readable', async () => {
      await bench.close();
      bench = await open({ clock, maxBytes: 262_144 });
      store = bench.store;
      const { fence } = await begin('c');
      await append('c', fence, 1, [event('turn_accepted', 't', { user_message: 'x'.repeat(300_000) })]);
      const full = expect.objectContaining({ code: 'STORE_FULL' });
      expect(await store.peek('c')).toMatchObject({ isFull: true });
      await expect(append('c', fence, 2, [event('turn_accepted', 't2')])).rejects.toEqual(full);
      await expect(store.create(conversation('d'))).rejects.toEqual(full);
      await append('c', fence, 2, [event('turn_failed', 't', { in_history: false })], { leaseMs: 0 });
      expect(await store.read('c')).toHaveLength(3);
      expect(await store.remove('c')).toBe(true);
      expect(await store.create(conversation('d'))).toMatchObject({ created: true });
      expect(await store.peek('d')).toMatchObject({ isFull: false });
    });
  });
}
