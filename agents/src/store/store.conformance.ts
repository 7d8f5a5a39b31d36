// Contract tests of `ConversationStore`. Each implementation's test calls `storeConformance` with a way to open its store;
// `another` opens a second writer on the same conversations, as a second process would.
import type { Clock } from '@fame-fabric/shared';
import { ManualClock } from '@fame-fabric/shared/testing';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { fenceOf } from './cursor.ts';
import { cursorConformance } from './cursors.conformance.ts';
import type { QuotaChange } from './quota.ts';
import type {
  AcquiredConversation,
  Append,
  ConversationStore,
  Fence,
  FindOptions,
  NewConversation,
  NewEvent,
  OwnerLimits,
  ReachRequest,
  RetryRequest,
  RoomReport,
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
  ownerLimits?: OwnerLimits | undefined;
  onRoom?: ((report: RoomReport) => void) | undefined;
}

const LEASE = 10_000;
const DAY = 86_400_000;
const HOUR = 3_600_000;
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

    describe('cursors', () => cursorConformance({ store: () => store, begin, append, event }));

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

    test('a conversation that is acquired at its creation can be written by its writer, and acquired by any other', async () => {
      const other = await bench.another();
      const { created, record, fence } = await store.create(conversation('c', { isAcquired: true }));
      expect({ created, fence }).toEqual({ created: true, fence: { holder: store.holder, epoch: 1 } });
      expect(record).toMatchObject({ id: 'c', lastSeq: 1 });
      const peek = await other.peek('c');
      expect([peek?.epoch, peek?.holder]).toEqual([1, undefined]);
      const again = await store.create(conversation('c', { isAcquired: true }));
      expect(again).toEqual({ created: false, record, fence: undefined });
      await append('c', fence!, 1, wholeTurn('t1'), { leaseMs: 0 });
      expect((await store.read('c')).map(({ cursor }) => fenceOf(cursor))).toEqual([0, 1, 1, 1, 1]);
      const taken = (await other.acquire('c', LEASE))!;
      expect(taken).toMatchObject({ fence: { holder: other.holder, epoch: 2 }, record: { lastSeq: 5 } });
      await expect(append('c', fence!, 5, wholeTurn('t2'))).rejects.toEqual(conflict);
    });

    test('a conversation that is created without an acquisition has no writer', async () => {
      expect((await store.create(conversation('c'))).fence).toBeUndefined();
      const peek = await store.peek('c');
      expect([peek?.epoch, peek?.holder]).toEqual([0, undefined]);
      const unacquired = { holder: store.holder, epoch: 0 };
      await expect(append('c', unacquired, 1, wholeTurn('t1'))).rejects.toEqual(conflict);
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
        cursor: expect.any(Number),
        at: clock.now(),
        body: { text: odd.text, list: odd.list },
      });
      expect((await store.read('c', { after: 2, limit: 1 })).map((one) => one.seq)).toEqual([3]);
      expect((await store.read('c', { after: 1, until: 3 })).map((one) => one.seq)).toEqual([2, 3]);
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

    test('a refused acquisition and a peek name the live writer', async () => {
      const other = await bench.another();
      expect(store.holder).toMatch(/^[0-9A-Za-z]{16}$/);
      expect(other.holder).not.toBe(store.holder);
      await store.create(conversation('c'));
      const holder = async (from: ConversationStore) => (await from.peek('c'))?.holder;
      expect(await holder(other)).toBeUndefined();
      const { fence } = (await store.acquire('c', LEASE))!;
      await expect(other.acquire('c', LEASE)).rejects.toMatchObject({ details: { holder: store.holder } });
      expect([await holder(store), await holder(other)]).toEqual([store.holder, store.holder]);
      clock.advance(LEASE);
      expect(await holder(other)).toBeUndefined();
      await append('c', fence, 1, wholeTurn('t1'));
      expect(await holder(other)).toBe(store.holder);
      await append('c', fence, 5, [], { leaseMs: 0 });
      expect(await holder(other)).toBeUndefined();
      await other.acquire('c', LEASE);
      expect(await holder(store)).toBe(other.holder);
      await other.close();
      expect(await holder(store)).toBeUndefined();
    });

    test('all writers have one secret', async () => {
      const other = await bench.another();
      const key = await store.replicaKey();
      expect(Buffer.from(key, 'base64url')).toHaveLength(32);
      expect([await other.replicaKey(), await store.replicaKey()]).toEqual([key, key]);
    });

    test('a released conversation wakes the other writers, if the store sends notifications', async () => {
      const other = await bench.another();
      if (!store.onRelease) return;
      const wakes = { own: 0, other: 0 };
      const stopOwn = store.onRelease(() => wakes.own++);
      const stop = other.onRelease!(() => wakes.other++);
      const { fence } = await begin('c');
      await append('c', fence, 1, wholeTurn('t1'));
      expect(wakes).toEqual({ own: 0, other: 0 });
      await append('c', fence, 5, [], { leaseMs: 0 });
      await expect.poll(() => wakes).toEqual({ own: 0, other: 1 });
      stop();
      stopOwn();
      await append('c', fence, 5, wholeTurn('t2'), { leaseMs: 0 });
      expect(wakes).toEqual({ own: 0, other: 1 });
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

    test('the history is returned as it was after an earlier event', async () => {
      const { fence } = await begin('c');
      for (const [i, turn] of ['t1', 't2', 't3', 't4'].entries())
        await append('c', fence, 1 + 4 * i, wholeTurn(turn, turn !== 't3'));
      const until = async (seq: number): Promise<unknown[]> =>
        (await store.history('c', { until: seq })).map((turn) => turn[0]!.turnId);
      const ended = async (turnId: string): Promise<number> =>
        (await store.peek('c', turnId))!.turn!.endedSeq;
      expect(await until(await ended('t1'))).toEqual(['t1']);
      expect(await until((await ended('t2')) - 1)).toEqual(['t1']);
      expect(await until(await ended('t2'))).toEqual(['t1', 't2']);
      expect(await until(await ended('t3'))).toEqual(['t1', 't2']);
      expect(await until(await ended('t4'))).toEqual(['t2', 't4']);
      expect(await until(1)).toEqual([]);
    });

    test('a conversation is created in the given state', async () => {
      const { record } = await store.create(conversation('c', { state: 'input-required' }));
      expect(record.state).toBe('input-required');
      expect((await store.peek('c'))!.state).toBe('input-required');
    });

    test('the origin of a fork is part of its record', async () => {
      const forkedFrom = { conversationId: 'c', turnId: 't' };
      await begin('c');
      await begin('fork', { forkedFrom });
      expect((await store.record('c'))!.forkedFrom).toBeUndefined();
      expect(await store.record('fork')).toMatchObject({ forkedFrom });
      expect((await store.list()).find(({ id }) => id === 'fork')).toMatchObject({ forkedFrom });
      expect(await (await bench.another()).record('fork')).toMatchObject({ forkedFrom });
    });

    test('peek returns a turn by its id', async () => {
      const { fence } = await begin('c');
      await append('c', fence, 1, wholeTurn('t'));
      await append('c', fence, 5, [event('turn_accepted', 'o')]);
      expect(await store.peek('c', 't')).toEqual({
        publicId: 'c',
        agent: 'chat@fame.fabric',
        holder: store.holder,
        state: 'working',
        lastSeq: 6,
        epoch: fence.epoch,
        isFull: false,
        isDormant: false,
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

    test('the start and the end of a turn set the time of the last change, and events within a turn do not', async () => {
      const { fence } = await begin('c');
      const changes: number[] = [];
      const [accepted, ...rest] = wholeTurn('t');
      for (const [i, one] of [accepted!, ...rest].entries()) {
        clock.advance(1_000);
        await append('c', fence, 1 + i, [one]);
        changes.push(clock.now() - (await store.record('c'))!.changedAt);
      }
      expect(changes).toEqual([0, 1_000, 2_000, 0]);
      clock.advance(1_000);
      await append('c', fence, 5, [], { state: 'input-required' });
      expect((await store.record('c'))!.changedAt).toBe(clock.now());
    });

    test('the turn of an approval is found by the id of its question', async () => {
      const { fence } = await begin('c');
      const question = (id: string, turnId: string) => event('approval_requested', turnId, { call_id: id });
      await append('c', fence, 1, [
        event('turn_accepted', 't1'),
        question('a', 't1'),
        event('approval_answered', 't1', { call_id: 'a' }),
        event('turn_completed', 't1', { in_history: true }),
        event('turn_accepted', 't2'),
        event('tool_started', 't2', { call_id: 'b' }),
        question(`'"$.\u0000`, 't2'),
      ]);
      expect(await store.turnOfApproval('c', 'a')).toBe('t1');
      expect(await store.turnOfApproval('c', `'"$.\u0000`)).toBe('t2');
      expect(await store.turnOfApproval('c', 'b')).toBeUndefined();
      expect(await store.turnOfApproval('unknown', 'a')).toBeUndefined();
    });

    test('a dormant conversation is not unfinished until it is acquired', async () => {
      const { fence } = await begin('c');
      await append('c', fence, 1, [event('turn_accepted', 't')]);
      await append('c', fence, 2, [], { leaseMs: 0, isDormant: true });
      const other = await bench.another();
      expect(await other.unfinished('chat@fame.fabric', 10)).toEqual([]);
      expect(await other.peek('c')).toMatchObject({ isDormant: true });
      const again = (await other.acquire('c', LEASE))!;
      expect(await store.peek('c')).toMatchObject({ isDormant: false });
      clock.advance(LEASE + 1);
      expect(await store.unfinished('chat@fame.fabric', 10)).toEqual(['c']);
      await other.append({ conversationId: 'c', fence: again.fence, after: 2, events: [], leaseMs: 0 });
      expect(await store.peek('c')).toMatchObject({ isDormant: false });
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

    describe('find', () => {
      const options = { agent: 'chat@fame.fabric', limit: 50 };
      /** The ids of all pages, and the number of pages. */
      const all = async (more: Partial<FindOptions> = {}) => {
        const ids: string[] = [];
        let { from } = more;
        for (let pages = 1; ; pages++) {
          const page = await store.find({ ...options, ...more, from });
          ids.push(...page.records.map(({ id }) => id));
          if (!page.next) return { ids, pages };
          from = page.next;
        }
      };
      const turn = (turnId: string, text: string, end: NewEvent['kind'] = 'turn_completed'): NewEvent[] => [
        event('turn_accepted', turnId, { user_message: text }),
        event(end, turnId, { in_history: true }),
      ];

      test('returns the latest changed first, page by page, of one agent and without ephemeral ones', async () => {
        for (const id of ['a', 'b', 'c', 'd', 'e']) {
          const more = id === 'b' ? { agent: 'other@fame.fabric' } : { isEphemeral: id === 'd' };
          await store.create(conversation(id, more));
          if (id !== 'c') clock.advance(1);
        }
        expect(await all()).toEqual({ ids: ['e', 'c', 'a'], pages: 1 });
        expect(await all({ limit: 1 })).toEqual({ ids: ['e', 'c', 'a'], pages: 4 });
        expect((await store.list()).map(({ id }) => id)).toEqual(['e', 'c', 'b', 'a']);
        await store.trash('c');
        await store.trash('d');
        expect((await all()).ids).toEqual(['e', 'a']);
        expect((await store.list({ inTrash: true })).map(({ id }) => id).sort()).toEqual(['c', 'd']);
      });

      test('filters by state and by the outcome of the last turn', async () => {
        for (const [id, end, state] of [
          ['fresh', undefined, 'working'],
          ['failed', 'turn_failed', 'input-required'],
          ['cancelled', 'turn_cancelled', 'working'],
          ['better', 'turn_failed', 'completed'],
        ] as const) {
          const { fence } = await begin(id);
          if (end) await append(id, fence, 1, turn('t1', 'one', end), { state });
          if (id === 'better') await append(id, fence, 3, turn('t2', 'two'), { state });
          clock.advance(1);
        }
        const outcomes = (await store.list()).map(({ lastOutcome }) => lastOutcome);
        expect(outcomes).toEqual(['completed', 'cancelled', 'failed', undefined]);
        expect((await all({ failed: true })).ids).toEqual(['failed']);
        expect((await all({ failed: false })).ids).toEqual(['better', 'cancelled', 'fresh']);
        expect((await all({ state: 'working' })).ids).toEqual(['cancelled', 'fresh']);
        expect((await all({ state: 'completed', failed: true })).ids).toEqual([]);
        expect((await all({ state: 'completed', limit: 1 })).ids).toEqual(['better']);
      });

      test('searches ids and the texts of users, in any case', async () => {
        for (const id of ['Needle-id', 'text', 'start', 'none']) {
          const messages = [
            { role: 'assistant', content: 'needle' },
            { role: 'user', content: id === 'start' ? 'A NEEDLE here' : 'hay' },
          ];
          const started = event('conversation_started', undefined, { system_prompt: 'needle', messages });
          const { fence } = await begin(id, { started });
          const long = `${'é'.repeat(40_000)} neEdle`;
          await append(id, fence, 1, [...turn('t1', 'hay'), ...turn('t2', id === 'text' ? long : 'hay')]);
          await append(id, fence, 5, [event('turn_accepted', 't3', { user_message: 'hay' })]);
          await append(id, fence, 6, [event('text', 't3', { text: 'needle' })]);
          clock.advance(1);
        }
        expect((await all({ search: 'nEEdle' })).ids).toEqual(['start', 'text', 'Needle-id']);
        expect((await all({ search: 'ÉÉ NEEDLE' })).ids).toEqual(['text']);
        expect((await all({ search: '%' })).ids).toEqual([]);
      });

      test('one call does a bounded amount of work and continues where it stopped', async () => {
        for (const [id, count, chars] of [
          ['many', 4_500, 3],
          ['large', 100, 60_000],
        ] as const) {
          const { fence } = await begin(id);
          const turns = Array.from({ length: count }, (_, n) => turn(`t${n}`, 'x'.repeat(chars)));
          await append(id, fence, 1, turns.flat());
          const last = turn('t9999', `the last of ${id}`);
          await append(id, fence, 1 + 2 * count, last);
          clock.advance(1);
        }
        expect(await all({ search: 'no such' })).toEqual({ ids: [], pages: 5 });
        expect((await all({ search: 'the last of' })).ids).toEqual(['large', 'many']);
        // A conversation that changed meanwhile comes first in a new search.
        const { next } = await store.find({ ...options, search: 'the last of large' });
        expect(next).toMatchObject({ id: 'large', turnId: expect.any(String) });
        await store.acquire('large', LEASE).then((one) => append('large', one!.fence, 203, turn('new', 'x')));
        expect(await all({ search: 'the last of', from: next! })).toEqual({ ids: ['many'], pages: 3 });
      });

      test('one call passes over a bounded number of conversations of other agents', async () => {
        const others = Array.from({ length: 2_100 }, (_, n) =>
          store.create(conversation(`c${n}`, { agent: 'other@fame.fabric' })),
        );
        await Promise.all(others);
        clock.stepWall(-1);
        await store.create(conversation('mine'));
        clock.stepWall(1);
        expect(await all()).toEqual({ ids: ['mine'], pages: 2 });
      });
    });

    describe('owners', () => {
      const agent = 'chat@fame.fabric';
      const add = async (id: string, more: Partial<NewConversation> = {}) =>
        (await store.create(conversation(id, more))).record;
      const reach = (publicId: string, principal: string, more: Partial<ReachRequest> = {}) =>
        store.reach({ agent, publicId, principal, mayUseAny: false, ...more });

      test('one public id is a conversation for each agent and owner, and stays the same one', async () => {
        const owners = [
          { principal: 'local' },
          { principal: 'ada' },
          { principal: 'local', agent: 'other@fame.fabric' },
        ];
        const records = [];
        for (const owner of owners) records.push(await add('c', owner));
        expect(records.map(({ publicId, principal }) => [publicId, principal])).toEqual([
          ['c', 'local'],
          ['c', 'ada'],
          ['c', 'local'],
        ]);
        expect(records[0]!.id).toBe('c');
        expect(new Set(records.map(({ id }) => id)).size).toBe(3);
        for (const [i, owner] of owners.entries()) {
          const again = await store.create(conversation('c', owner));
          expect(again).toMatchObject({ created: false, record: { id: records[i]!.id } });
          expect(await reach('c', owner.principal, owner)).toBe(records[i]!.id);
          expect(await store.peek(records[i]!.id)).toMatchObject({ publicId: 'c' });
          expect(await store.record(records[i]!.id)).toMatchObject(owner);
        }
      });

      test('the id in the store of an owner may be taken as a public id by another owner', async () => {
        await add('c', { principal: 'eve' });
        const { id: ofBob } = await add('c', { principal: 'bob' });
        await store.remove(ofBob);
        await add(ofBob, { principal: 'eve' });
        const { id, publicId } = await add('c', { principal: 'bob' });
        expect(publicId).toBe('c');
        expect(await reach('c', 'bob')).toBe(id);
        expect(await reach(ofBob, 'bob')).toBeUndefined();
      });

      test('a principal reaches its own conversation, then a shared one, then with the right another one', async () => {
        const any = { mayUseAny: true };
        expect(await reach('c', 'eve', any)).toBeUndefined();
        const { id: ofAda } = await add('c', { principal: 'ada' });
        expect(await reach('c', 'ada')).toBe(ofAda);
        expect(await reach('c', 'eve')).toBeUndefined();
        expect(await reach('c', 'eve', any)).toBe(ofAda);
        const { id: ofBob } = await add('c', { principal: 'bob', sharedWith: ['eve', 'x"y'] });
        expect(await reach('c', 'eve')).toBe(ofBob);
        expect(await reach('c', 'x"y')).toBe(ofBob);
        expect(await reach('c', 'ev')).toBeUndefined();
        expect(await reach('c', 'eve', any)).toBe(ofBob);
        expect(await reach('c', 'eve', { ...any, owner: 'ada' })).toBe(ofAda);
        expect(await reach('c', 'eve', { owner: 'ada' })).toBeUndefined();
        const { id: ofEve } = await add('c', { principal: 'eve' });
        expect(await reach('c', 'eve', any)).toBe(ofEve);
        expect(await reach('c', 'eve', { owner: 'bob' })).toBe(ofBob);
        const { id: ofAll } = await add('d', { principal: 'bob', sharedWith: ['*'] });
        for (const principal of ['eve', 'anonymous', '*']) expect(await reach('d', principal)).toBe(ofAll);
        // The owner of the name * is no share.
        await add('e', { principal: '*' });
        expect(await reach('e', 'eve')).toBeUndefined();
      });

      test('a conversation in the trash is not reached, and returns beside a later one of its owner', async () => {
        await add('c', { principal: 'local' });
        const { id: first } = await add('c', { principal: 'ada' });
        await store.trash(first);
        expect(await reach('c', 'ada', { mayUseAny: true })).toBe('c');
        const { id: second } = await add('c', { principal: 'ada' });
        expect(await reach('c', 'ada')).toBe(second);
        const [trashed] = await store.list({ inTrash: true });
        expect(trashed).toMatchObject({ publicId: 'c', principal: 'ada' });
        expect(await store.restore(trashed!.id)).toBe(true);
        expect(await reach('c', 'ada')).toBe(second);
        expect(await reach(trashed!.id, 'ada')).toBe(trashed!.id);
        await store.remove(second);
        await store.trash(trashed!.id);
        await store.restore(trashed!.id);
        expect(await reach(trashed!.id, 'ada')).toBe(trashed!.id);
      });

      test('find returns the conversations of one owner', async () => {
        await add('a', { principal: 'ada' });
        await add('b', { principal: 'bob' });
        const found = async (principal?: string) =>
          (await store.find({ agent, principal, limit: 10 })).records.map(({ id }) => id).sort();
        expect(await found('ada')).toEqual(['a']);
        expect(await found('eve')).toEqual([]);
        expect(await found()).toEqual(['a', 'b']);
      });
    });

    describe('quotas', () => {
      const MINUTE = 60_000;
      const change = (used: number, reserved = 0, more: Partial<QuotaChange> = {}): QuotaChange => ({
        unit: 'tokens',
        endsAt: clock.now() + MINUTE,
        used,
        reserved,
        limit: 10,
        ...more,
      });

      test('a change is refused at its limit, with reservations, and all changes of a request with it', async () => {
        expect(await store.changeQuota('ada', [change(4), change(0, 5)])).toBeUndefined();
        expect(await store.changeQuota('ada', [change(0, 5)])).toBeUndefined();
        const turns = change(1, 0, { unit: 'turns' });
        const refused = { unit: 'tokens', isUsedUp: false };
        expect(await store.changeQuota('ada', [turns, change(0, 1)])).toEqual(refused);
        // The turn of the refused request does not count.
        const one = { ...turns, limit: 1 };
        expect(await store.changeQuota('ada', [one])).toBeUndefined();
        expect(await store.changeQuota('ada', [one])).toEqual({ unit: 'turns', isUsedUp: true });
        // The calls in flight end: one used 6, the other nothing.
        const end = { limit: undefined };
        await store.changeQuota('ada', [change(6, -5, end), change(0, -5, end)]);
        expect(await store.changeQuota('ada', [change(0)])).toEqual({ unit: 'tokens', isUsedUp: true });
      });

      test('each principal, unit and period has its own counter, which writers share', async () => {
        const other = await bench.another();
        await store.changeQuota('ada', [change(10)]);
        expect(await other.changeQuota('ada', [change(1)])).toEqual({ unit: 'tokens', isUsedUp: true });
        expect(await other.changeQuota('eve', [change(1)])).toBeUndefined();
        expect(await other.changeQuota('ada', [change(1, 0, { unit: 'cost' })])).toBeUndefined();
        clock.advance(MINUTE);
        expect(await other.changeQuota('ada', [change(1)])).toBeUndefined();
      });

      test('a limit of 0 refuses everything; without a limit nothing is refused', async () => {
        expect(await store.changeQuota('ada', [change(0, 0, { limit: 0 })])).toMatchObject({
          isUsedUp: true,
        });
        expect(await store.changeQuota('ada', [change(1e9, 0, { limit: undefined })])).toBeUndefined();
        // Parts of a currency.
        const cent = change(0.01, 0, { unit: 'cost', limit: 0.025 });
        for (let i = 0; i < 3; i++) expect(await store.changeQuota('ada', [cent])).toBeUndefined();
        expect(await store.changeQuota('ada', [cent])).toEqual({ unit: 'cost', isUsedUp: true });
      });
    });

    describe('limits of owners', () => {
      const openWith = async (ownerLimits: OwnerLimits): Promise<void> => {
        await bench.close();
        bench = await open({ clock, ownerLimits });
        store = bench.store;
      };
      const add = async (id: string, more: Partial<NewConversation> = {}, chars = 10) => {
        const body = { system_prompt: 'x'.repeat(chars) };
        const started = event('conversation_started', undefined, body);
        await store.create(conversation(id, { started, principal: 'ada', ...more }));
        clock.advance(1);
      };
      const ids = async (inTrash = false) => (await store.list({ inTrash })).map(({ id }) => id).sort();

      test('at the number of open conversations the oldest idle one of the owner moves to the trash', async () => {
        await openWith({ maxBytes: 0, maxConversations: 2 });
        for (const id of ['eve', 'eve-2']) await add(id, { principal: 'eve' });
        for (const id of ['local', 'local-2', 'local-3']) await add(id, { principal: 'local' });
        await add('ended', { state: 'completed' });
        for (const id of ['a', 'b', 'c']) await add(id);
        expect(await ids(true)).toEqual(['a']);
        expect(await ids()).toEqual(['b', 'c', 'ended', 'eve', 'eve-2', 'local', 'local-2', 'local-3']);
      });

      test('an owner whose conversations are all in use gets QUOTA_EXCEEDED, and others do not', async () => {
        await openWith({ maxBytes: 0, maxConversations: 1 });
        await add('a');
        await store.acquire('a', LEASE);
        await expect(add('b')).rejects.toMatchObject({
          code: 'QUOTA_EXCEEDED',
          message: expect.stringMatching(/ada.*FAME_MAX_CONVERSATIONS_PER_OWNER/),
        });
        // The same start again is no new conversation.
        expect(await store.create(conversation('a', { principal: 'ada' }))).toMatchObject({ created: false });
        await add('c', { principal: 'eve' });
      });

      test('at the size limit of an owner, its ended conversations are evicted first, then its idle ones', async () => {
        await openWith({ maxBytes: 1_000, maxConversations: 0 });
        await add('eve', { principal: 'eve' }, 900);
        await add('local', { principal: 'local' }, 5_000);
        await add('idle', {}, 400);
        await add('ended', { state: 'completed' }, 400);
        await add('a', {}, 400);
        await add('b', {}, 400);
        expect(await ids(true)).toEqual(['ended']);
        await add('c', {}, 400);
        expect(await ids(true)).toEqual(['ended', 'idle']);
        expect(await ids()).toEqual(['a', 'b', 'c', 'eve', 'local']);
      });

      test('a turn of an owner at its size limit evicts other conversations, never its own', async () => {
        await openWith({ maxBytes: 1_000, maxConversations: 0 });
        await add('old', {}, 400);
        await add('own', {}, 700);
        const { fence } = (await store.acquire('own', LEASE))!;
        await append('own', fence, 1, [event('turn_accepted', 't')]);
        expect(await ids()).toEqual(['own']);
        const message = { user_message: 'x'.repeat(400) };
        await append('own', fence, 2, [event('turn_completed', 't', message)]);
        await expect(append('own', fence, 3, [event('turn_accepted', 'u')])).rejects.toMatchObject({
          code: 'QUOTA_EXCEEDED',
        });
      });
    });

    describe('retry keys', () => {
      const LATE = 600_000;
      const request = (turnId: string, n: number, more: Partial<RetryRequest> = {}): RetryRequest => ({
        agent: 'chat@fame.fabric',
        principal: 'local',
        key: 'k',
        count: n,
        conversationId: turnId[0]!,
        turnId,
        lateMs: LATE,
        ...more,
      });
      /** Accepts a turn in the conversation that its first letter names. */
      const accept = async (turnId: string, n: number, more: Partial<RetryRequest> = {}) => {
        const id = turnId[0]!;
        const { fence, record } = await begin(id);
        const retry = request(turnId, n, more);
        await append(id, fence, record.lastSeq, [event('turn_accepted', turnId)], { retry });
      };
      const isRetry = expect.objectContaining({ code: 'STORE_CONFLICT', details: { isRetry: true } });
      const place = (turnId: string) => ({ conversationId: turnId[0]!, turnId });

      test('a retry joins the latest turn of its key, in any conversation, and a first request runs one', async () => {
        await begin('b');
        expect(await store.retried(request('b1', 1))).toBeUndefined();
        await accept('a1', 0);
        expect(await store.retried(request('b1', 1))).toEqual(place('a1'));
        expect(await store.retried(request('b1', 2))).toEqual(place('a1'));
        await expect(accept('b1', 1)).rejects.toEqual(isRetry);
        expect(await store.read('b')).toHaveLength(1);
        expect(await store.retried(request('b1', 0))).toBeUndefined();
        await accept('b1', 0);
        expect(await store.retried(request('c1', 1))).toEqual(place('b1'));
        // A repeated message is the turn with its id, even if its key has changed.
        expect(await store.retried(request('a1', 0))).toEqual(place('a1'));
      });

      test('keys belong to an agent and a principal', async () => {
        await accept('a1', 0);
        expect(await store.retried(request('b1', 1, { principal: 'anonymous' }))).toBeUndefined();
        expect(await store.retried(request('b1', 1, { agent: 'other@fame.fabric' }))).toBeUndefined();
        expect(await store.retried(request('b1', 1, { key: 'K' }))).toBeUndefined();
      });

      test('a delayed first request joins the turn of its retry, once', async () => {
        await accept('b1', 1);
        await expect(accept('a1', 0)).rejects.toEqual(isRetry);
        expect(await store.retried(request('a1', 0))).toEqual(place('b1'));
        // Its message arrives again.
        expect(await store.retried(request('a1', 0))).toEqual(place('b1'));
        expect(await store.retried(request('c1', 0))).toBeUndefined();
        await accept('c1', 0);
        expect(await store.retried(request('d1', 1))).toEqual(place('c1'));
      });

      test('a first request after the time limit of turns runs a turn', async () => {
        await accept('b1', 1);
        clock.advance(LATE - 1);
        const other = request('a1', 0, { key: 'other' });
        expect(await store.retried(other)).toBeUndefined();
        clock.advance(1);
        expect(await store.retried(request('a1', 0))).toBeUndefined();
      });

      test('a key is kept for 24 hours, and a sweep deletes it afterwards', async () => {
        await accept('a1', 0);
        clock.advance(DAY - 1);
        await store.sweep({});
        expect(await store.retried(request('b1', 1))).toEqual(place('a1'));
        clock.advance(1);
        expect(await store.retried(request('b1', 1))).toBeUndefined();
        await store.sweep({});
        clock.stepWall(-1);
        expect(await store.retried(request('b1', 1))).toBeUndefined();
        clock.stepWall(1);
      });

      test('a turn that is in the trash or deleted is not joined', async () => {
        await accept('a1', 0);
        clock.advance(LEASE);
        const { fence, record } = (await store.acquire('a', LEASE))!;
        await append('a', fence, record.lastSeq, [event('turn_completed', 'a1')], { leaseMs: 0 });
        await store.trash('a');
        expect(await store.retried(request('b1', 1))).toBeUndefined();
        await store.restore('a');
        expect(await store.retried(request('b1', 1))).toEqual(place('a1'));
        await store.remove('a');
        expect(await store.retried(request('b1', 1))).toBeUndefined();
        await begin('a');
        expect(await store.retried(request('b1', 1))).toBeUndefined();
        await accept('b1', 1);
      });

      test('of two writers that accept a turn of one key at once, one does', async () => {
        const other = await bench.another();
        const a = await begin('a');
        await store.create(conversation('b'));
        const b = (await other.acquire('b', LEASE))!;
        const of = (turnId: string, { fence }: AcquiredConversation, n: number): Append => ({
          conversationId: turnId[0]!,
          fence,
          after: 1,
          events: [event('turn_accepted', turnId)],
          leaseMs: LEASE,
          retry: request(turnId, n),
        });
        const results = await Promise.allSettled([
          store.append(of('a1', a, 1)),
          other.append(of('b1', b, 2)),
        ]);
        expect(results.map(({ status }) => status).sort()).toEqual(['fulfilled', 'rejected']);
        const winner = results[0]!.status === 'fulfilled' ? 'a1' : 'b1';
        expect(await store.retried(request('c1', 1))).toEqual(place(winner));
      });
    });

    test('a sweep deletes ephemeral conversations some time after their end, also from the trash', async () => {
      for (const id of ['ended', 'open', 'trashed', 'normal', 'held']) {
        const { fence } = await begin(id, { isEphemeral: id !== 'normal' });
        const state = id === 'open' || id === 'trashed' ? 'working' : 'completed';
        await append(id, fence, 1, wholeTurn('t'), { leaseMs: id === 'held' ? 600_000 : 0, state });
      }
      await store.trash('trashed');
      clock.advance(999);
      expect(await store.sweep({ ephemeralMs: 1_000 })).toMatchObject({ deleted: 0 });
      clock.advance(1);
      expect(await store.sweep({})).toMatchObject({ deleted: 0 });
      expect(await store.sweep({ ephemeralMs: 1_000, limit: 1 })).toMatchObject({
        deleted: 1,
        isDone: false,
      });
      expect(await store.sweep({ ephemeralMs: 1_000 })).toMatchObject({ deleted: 1, trashed: [] });
      const left = await Promise.all(['ended', 'open', 'normal', 'held'].map((id) => store.record(id)));
      expect(left.map((one) => one !== undefined)).toEqual([false, true, true, true]);
      expect(await store.record('open')).toMatchObject({ isEphemeral: true });
      expect(await store.list({ inTrash: true })).toEqual([]);
      expect(await store.read('ended')).toEqual([]);
    });

    test('HD11: a sweep deletes ephemeral conversations that ended before the clock was set back', async () => {
      const { fence } = await begin('c', { isEphemeral: true });
      await append('c', fence, 1, wholeTurn('t'), { leaseMs: 0, state: 'completed' });
      clock.stepWall(-DAY);
      expect(await store.sweep({ ephemeralMs: 1_000 })).toMatchObject({ deleted: 1 });
      clock.stepWall(DAY);
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

    test('a sweep moves expired conversations to the trash, oldest first, except held ones', async () => {
      for (const id of ['old', 'held', 'young']) {
        const { fence } = await begin(id);
        await append(id, fence, 1, wholeTurn('t'), { leaseMs: id === 'held' ? 600_000 : 0 });
        clock.advance(100);
      }
      const report = await store.sweep({ expiredBefore: clock.now() - 150 });
      expect(report).toMatchObject({ trashed: [{ id: 'old', state: 'working' }], deleted: 0, isDone: true });
      expect((await store.list()).map((record) => record.id)).toEqual(['young', 'held']);
      expect((await store.list({ inTrash: true })).map((record) => record.id)).toEqual(['old']);
    });

    test('HD11: a sweep after a jump of the clock does not remove conversations with running turns', async () => {
      const { fence } = await begin('running');
      await append('running', fence, 1, [event('turn_accepted', 't')]);
      const other = await bench.another();
      clock.stepWall(31 * DAY);
      expect((await other.sweep({ expiredBefore: clock.now() })).trashed).toEqual([]);
      await expect(other.trash('running')).rejects.toEqual(conflict);
      await append('running', fence, 2, [event('text', 't', { text: 'x' })]);
      clock.stepWall(-31 * DAY);
    });

    test('a sweep above the size limit moves ended conversations, oldest first, until the rest fits', async () => {
      const big = { user_message: 'x'.repeat(300_000) };
      for (const id of ['a', 'b', 'c']) {
        const { fence } = await begin(id);
        const state = id === 'b' ? 'working' : 'completed';
        await append(id, fence, 1, [event('turn_accepted', 't', big)], { leaseMs: 0, state });
        clock.advance(1);
      }
      const { bytes } = await store.sweep({});
      const report = await store.sweep({ maxBytes: bytes - 1 });
      expect(report.trashed).toEqual([{ id: 'a', state: 'completed' }]);
      expect((await store.sweep({ maxBytes: 1 })).trashed.map((one) => one.id)).toEqual(['c']);
    });

    test('trash hides a conversation, restore returns it unchanged, and its writer continues', async () => {
      const { fence } = await begin('c');
      await append('c', fence, 1, wholeTurn('t'));
      await expect(store.trash('c')).rejects.toEqual(conflict);
      await append('c', fence, 5, [], { leaseMs: 0 });
      const record = (await store.record('c'))!;
      const events = await store.read('c');
      expect(await store.trash('c')).toBe(true);
      expect(await store.trash('c')).toBe(false);
      expect(await store.record('c')).toBeUndefined();
      expect(await store.peek('c')).toBeUndefined();
      expect(await store.acquire('c', LEASE)).toBeUndefined();
      expect(await store.list()).toEqual([]);
      await expect(append('c', fence, 5, wholeTurn('t2'))).rejects.toEqual(conflict);
      const trashed = { ...record, trashedAt: clock.now() };
      expect(await store.list({ inTrash: true })).toEqual([trashed]);
      expect(await store.record('c', { inTrash: true })).toEqual(trashed);
      expect(await store.read('c')).toEqual(events);
      expect(await store.restore('c')).toBe(true);
      expect(await store.restore('c')).toBe(false);
      expect(await store.record('c')).toEqual(record);
      await append('c', fence, 5, wholeTurn('t2'));
    });

    test('the id of a trashed conversation is free, and the trashed one stays', async () => {
      const { fence } = await begin('c');
      await append('c', fence, 1, wholeTurn('t'), { leaseMs: 0 });
      await store.trash('c');
      expect(await store.create(conversation('c', { startCallId: 'again' }))).toMatchObject({
        created: true,
      });
      expect(await store.read('c')).toHaveLength(1);
      const [trashed] = await store.list({ inTrash: true });
      expect(trashed!.id).toMatch(/^c~\w+$/);
      expect(await store.read(trashed!.id)).toHaveLength(5);
      expect(await store.restore('c')).toBe(false);
      expect(await store.restore(trashed!.id)).toBe(true);
      expect((await store.list()).map(({ id }) => id).sort()).toEqual(['c', trashed!.id]);
    });

    test('remove deletes from the trash too', async () => {
      await store.create(conversation('c'));
      await store.trash('c');
      expect(await store.remove('c')).toBe(true);
      expect(await store.list({ inTrash: true })).toEqual([]);
      expect(await store.restore('c')).toBe(false);
    });

    test('the trash is deleted when both its wall time and its running time have passed', async () => {
      await store.create(conversation('c'));
      await store.keepTime(5 * HOUR);
      await store.trash('c');
      const at = clock.now();
      const { runningMs } = await store.time();
      const sweep = (trashedBefore: { at: number; runningMs: number }) => store.sweep({ trashedBefore });
      expect(await sweep({ at: at + 1, runningMs })).toMatchObject({ deleted: 0 });
      expect(await sweep({ at, runningMs: runningMs + 1 })).toMatchObject({ deleted: 0 });
      expect(await sweep({ at: at + 1, runningMs: runningMs + 1 })).toMatchObject({ deleted: 1 });
      expect(await store.list({ inTrash: true })).toEqual([]);
    });

    test('HD11: the store counts running time, and a jump of the clock of over a day holds sweeps for a day of it', async () => {
      expect(await store.keepTime(0)).toEqual({ runningMs: 0, heldMs: 0, jumpMs: 0 });
      clock.advance(HOUR);
      expect(await store.keepTime(HOUR)).toEqual({ runningMs: HOUR, heldMs: 0, jumpMs: 0 });
      // An explained pause, a jump of a day, one back and one of more than a day.
      clock.advance(3 * DAY);
      expect(await store.keepTime(3 * DAY)).toMatchObject({ heldMs: 0, jumpMs: 0 });
      clock.stepWall(DAY);
      expect(await store.keepTime(0)).toMatchObject({ heldMs: 0, jumpMs: 0 });
      clock.stepWall(-2 * DAY);
      expect(await store.keepTime(0)).toMatchObject({ heldMs: 0, jumpMs: 0 });
      clock.stepWall(DAY + 1);
      expect(await store.keepTime(0)).toMatchObject({ heldMs: DAY, jumpMs: DAY + 1 });
      expect(await store.keepTime(HOUR)).toMatchObject({ heldMs: 23 * HOUR, jumpMs: 0 });
      expect(await store.time()).toMatchObject({ heldMs: 23 * HOUR });
      await store.endHold();
      expect(await store.keepTime(0)).toMatchObject({ heldMs: 0 });
    });

    test('HD11: the last change of a conversation stands in for the first record of the time', async () => {
      await store.create(conversation('c'));
      clock.stepWall(2 * DAY);
      expect(await store.keepTime(0)).toEqual({ runningMs: 0, heldMs: DAY, jumpMs: 2 * DAY });
      clock.stepWall(-2 * DAY);
    });

    test('one live writer keeps the time', async () => {
      await store.keepTime(0);
      const other = await bench.another();
      expect(await other.keepTime(0)).toBeUndefined();
      await store.close();
      expect(await other.keepTime(7)).toMatchObject({ runningMs: 7 });
    });

    describe('a full store', () => {
      const reports: RoomReport[] = [];
      beforeEach(async () => {
        await bench.close();
        reports.length = 0;
        bench = await open({ clock, maxBytes: 1_048_576, onRoom: (report) => reports.push(report) });
        store = bench.store;
      });
      /** A conversation of 60,000 characters. */
      const add = async (id: string, more: Partial<NewConversation> & { state?: 'completed' } = {}) => {
        const { state, ...rest } = more;
        const body = { system_prompt: 'x'.repeat(60_000) };
        const { fence } = await begin(id, {
          started: event('conversation_started', undefined, body),
          ...rest,
        });
        await append(id, fence, 1, wholeTurn('t'), { leaseMs: 0, ...(state ? { state } : {}) });
        clock.advance(1);
      };
      const sum = (key: keyof RoomReport): number => reports.reduce((all, one) => all + one[key], 0);
      const ids = async (inTrash = false) => (await store.list({ inTrash })).map(({ id }) => id);

      test('removes ended conversations to make room, then idle ones of anonymous, oldest first', async () => {
        await add('ended-anonymous', { principal: 'anonymous', state: 'completed' });
        await add('local');
        await add('ended-local', { state: 'completed' });
        for (let i = 0; i < 30; i++) await add(`idle-${i}`, { principal: 'anonymous' });
        const kept = [...(await ids()), ...(await ids(true))];
        expect(kept).not.toContain('ended-anonymous');
        expect(kept).not.toContain('ended-local');
        expect(kept).toContain('local');
        // The oldest of the idle ones are gone, and no younger one.
        const oldest = Math.min(
          ...kept.filter((id) => id.startsWith('idle')).map((id) => Number(id.slice(5))),
        );
        expect(oldest).toBeGreaterThan(10);
        for (let i = oldest; i < 30; i++) expect(kept).toContain(`idle-${i}`);
        expect(sum('ended')).toBe(2);
        expect(sum('idle')).toBeGreaterThanOrEqual(oldest);
        expect(sum('deleted')).toBe(2 + oldest);
        expect(reports.at(-1)!.bytes).toBeLessThan(1_048_576);
      });

      test('removes dormant conversations of anonymous like idle ones', async () => {
        for (const principal of ['local', 'anonymous']) {
          const body = { system_prompt: 'x'.repeat(60_000) };
          const started = event('conversation_started', undefined, body);
          const { fence } = await begin(principal, { started, principal });
          await append(principal, fence, 1, [event('turn_accepted', 't')], { leaseMs: 0, isDormant: true });
          clock.advance(1);
        }
        for (let i = 0; i < 30; i++) await add(`idle-${i}`, { principal: 'anonymous' });
        const kept = [...(await ids()), ...(await ids(true))];
        expect(kept).toContain('local');
        expect(kept).not.toContain('anonymous');
      });

      test('evicts conversations of the largest owner first, and of local last', async () => {
        await add('small', { principal: 'ada', state: 'completed' });
        await add('operator', { state: 'completed' });
        for (let i = 0; i < 5; i++) await add(`large-${i}`, { principal: 'eve', state: 'completed' });
        for (let i = 0; i < 30 && sum('ended') < 3; i++) await add(`busy-${i}`, { principal: 'local' });
        const moved = await ids(true);
        expect(sum('ended')).toBeGreaterThanOrEqual(3);
        expect(await ids()).toEqual(expect.arrayContaining(['small', 'operator']));
        expect(moved.every((id) => id.startsWith('large'))).toBe(true);
      });

      test('deletes its trash first', async () => {
        await add('trashed');
        await store.trash('trashed');
        for (let i = 0; i < 20 && reports.length === 0; i++) await add(`ended-${i}`, { state: 'completed' });
        expect(sum('deleted')).toBeGreaterThan(0);
        expect([...(await ids()), ...(await ids(true))]).not.toContain('trashed');
        expect([...(await ids()), ...(await ids(true))]).toContain('ended-0');
      });

      test('keeps open conversations of local, held ones and those with open turns, and then reports that it is full', async () => {
        const refused = expect.objectContaining({
          code: 'STORE_FULL',
          message: expect.stringMatching(/conversations rm ID --now.*FAME_STORE_MAX_BYTES/),
        });
        await add('held', { principal: 'anonymous', state: 'completed' });
        await store.acquire('held', 600_000);
        await add('open', { principal: 'anonymous' });
        const { fence } = (await store.acquire('open', LEASE))!;
        await append('open', fence, 5, [event('turn_accepted', 'o')], { leaseMs: 0 });
        const fill = async () => {
          for (let i = 0; i < 30; i++) await add(`local-${i}`);
        };
        await expect(fill()).rejects.toEqual(refused);
        expect(await store.peek('held')).toMatchObject({ isFull: true });
        expect(await ids()).toEqual(expect.arrayContaining(['held', 'open', 'local-0']));
        expect(reports).toEqual([]);
        await store.trash('local-0');
        expect(await store.create(conversation('more'))).toMatchObject({ created: true });
        expect(await store.record('local-0', { inTrash: true })).toBeUndefined();
      });

      test('lets all requests of one commit succeed, and their answers are normal', async () => {
        const started = event('conversation_started', undefined, { system_prompt: 'x'.repeat(60_000) });
        const created = await Promise.all(
          Array.from({ length: 60 }, (_, i) =>
            store.create(conversation(`c${i}`, { principal: 'anonymous', started })),
          ),
        );
        expect(created.every((one) => one.created)).toBe(true);
        expect(sum('deleted')).toBeGreaterThan(30);
      });

      test('does not remove the conversation that needs the room', async () => {
        const { fence } = await begin('c', { principal: 'anonymous' });
        const big = { user_message: 'x'.repeat(1_200_000) };
        await append('c', fence, 1, [event('turn_accepted', 't', big), event('turn_completed', 't')], {
          leaseMs: 0,
        });
        await expect(append('c', fence, 3, [event('turn_accepted', 't2')])).rejects.toMatchObject({
          code: 'STORE_FULL',
        });
        expect(await store.peek('c')).toMatchObject({ isFull: true });
      });
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
