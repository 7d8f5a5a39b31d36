// Contract tests of `AgentStore`. `another` opens a second writer on the same data, as a second process would.
import { ManualClock } from '@fame-fabric/shared/testing';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { type AgentStore, DEAD_MS, type NewRequest, OUTCOME_MS, type StateWrite } from './agent-store.ts';
import type { ConversationStore } from './store.ts';

type Store = AgentStore & ConversationStore;
interface Bench {
  store: Store;
  another(): Promise<Store>;
  /** Closes all opened stores. */
  close(): Promise<void>;
}
interface OpenOptions {
  clock: ManualClock;
  maxBytes?: number | undefined;
}

const AGENT = 'shop@fame.fabric';
const OTHER = 'stock@fame.fabric';
const quota = expect.objectContaining({ code: 'QUOTA_EXCEEDED' });

export function agentStoreConformance(name: string, open: (options: OpenOptions) => Promise<Bench>): void {
  describe(`${name}: the store of agents`, () => {
    const clock = new ManualClock();
    let bench: Bench;
    let store: Store;
    beforeEach(async () => {
      bench = await open({ clock });
      store = bench.store;
    });
    afterEach(() => bench.close());

    const put = (key: string, text: string, more: Partial<StateWrite> = {}) =>
      store.putState({ agent: AGENT, key, text, keyId: '', maxKeys: 1_000, maxChars: 100_000, ...more });
    const textOf = async (key: string, agent = AGENT) => (await store.getState(agent, key))?.text;
    const keys = async (options: { prefix?: string; after?: string; limit?: number; maxChars?: number }) =>
      (await store.listState(AGENT, { limit: 100, maxChars: 10_000, ...options })).entries.map(
        ({ key }) => key,
      );

    describe('state', () => {
      test('an entry belongs to its agent, and can be replaced and deleted', async () => {
        expect(await store.getState(AGENT, 'a')).toBeUndefined();
        const first = await put('a', '1');
        const second = await put('a', '2', { keyId: 'k1' });
        expect(second).not.toBe(first);
        expect(await store.getState(AGENT, 'a')).toEqual({
          key: 'a',
          text: '2',
          keyId: 'k1',
          version: second,
        });
        expect(await textOf('a', OTHER)).toBeUndefined();
        expect(await store.deleteState(OTHER, 'a')).toBe(false);
        expect(await store.deleteState(AGENT, 'a')).toBe(true);
        expect(await store.deleteState(AGENT, 'a')).toBe(false);
        expect(await textOf('a')).toBeUndefined();
      });

      test('a write with a version fails after any other write, also after a deletion', async () => {
        const version = (await put('a', '1', { ifVersion: 0 }))!;
        expect(await put('a', 'x', { ifVersion: 0 })).toBeUndefined();
        expect(await put('a', '2', { ifVersion: version })).toBeDefined();
        expect(await put('a', 'x', { ifVersion: version })).toBeUndefined();
        expect(await store.deleteState(AGENT, 'a', version)).toBe(false);
        await store.deleteState(AGENT, 'a');
        const again = (await put('a', '1', { ifVersion: 0 }))!;
        expect(again).not.toBe(version);
        expect(await put('a', 'x', { ifVersion: version })).toBeUndefined();
        expect(await store.deleteState(AGENT, 'a', again)).toBe(true);
      });

      test('of two writers with the same version one succeeds', async () => {
        const version = await put('a', '1');
        const second = await bench.another();
        const write = { agent: AGENT, key: 'a', keyId: '', ifVersion: version!, maxKeys: 9, maxChars: 99 };
        const written = await Promise.all([
          store.putState({ ...write, text: 'first' }),
          second.putState({ ...write, text: 'second' }),
        ]);
        expect(written.filter((one) => one !== undefined)).toHaveLength(1);
        expect(await textOf('a')).toBe(written[0] === undefined ? 'second' : 'first');
      });

      test('pages have the keys with a prefix in the order of their UTF-8 bytes', async () => {
        for (const key of ['b/2', 'b/10', 'b', 'b/', 'c', 'a', 'b/\u{1f600}', 'b/\u{fffc}', 'B/1', 'b0'])
          await put(key, 'x');
        expect(await keys({ prefix: 'b/' })).toEqual(['b/', 'b/10', 'b/2', 'b/\u{fffc}', 'b/\u{1f600}']);
        expect(await keys({ prefix: 'b/', limit: 2 })).toEqual(['b/', 'b/10']);
        expect(await keys({ prefix: 'b/', after: 'b/10', limit: 2 })).toEqual(['b/2', 'b/\u{fffc}']);
        expect(await keys({ after: 'b/\u{1f600}' })).toEqual(['b0', 'c']);
        expect(await keys({ prefix: '%' })).toEqual([]);
      });

      test('a page ends early at its size, and has one entry at least', async () => {
        for (const key of ['a', 'b', 'c']) await put(key, 'x'.repeat(10));
        expect(await keys({ maxChars: 25 })).toEqual(['a', 'b']);
        expect(await keys({ maxChars: 1, after: 'a' })).toEqual(['b']);
        const hasMore = async (options: { limit: number; maxChars: number }) =>
          (await store.listState(AGENT, options)).hasMore;
        expect(await hasMore({ limit: 2, maxChars: 100 })).toBe(true);
        expect(await hasMore({ limit: 3, maxChars: 100 })).toBe(false);
        expect(await hasMore({ limit: 3, maxChars: 29 })).toBe(true);
      });

      test('the number of keys and the size are limited for each agent', async () => {
        const limits = { maxKeys: 2, maxChars: 20 };
        await put('a', '1234', limits);
        await put('b', '1234', limits);
        await expect(put('c', '1', limits)).rejects.toEqual(quota);
        await put('a', '123456789', limits);
        await expect(put('b', '123456789012', limits)).rejects.toEqual(quota);
        expect(await textOf('b')).toBe('1234');
        await put('c', '1', { ...limits, agent: OTHER });
        await store.deleteState(AGENT, 'b');
        await put('c', '1', limits);
      });

      test('a state above a lowered limit can still shrink', async () => {
        await put('a', 'x'.repeat(50));
        expect(await put('a', 'x'.repeat(40), { maxChars: 10 })).toBeDefined();
      });
    });

    const request = (id: string, more: Partial<NewRequest> = {}): NewRequest => ({
      agent: AGENT,
      id,
      principal: 'local',
      method: 'pay',
      digest: `digest-${id}`,
      params: { text: `{"id":"${id}"}`, keyId: '' },
      answerTo: '{}',
      deadlineAt: 0,
      maxRequests: 100,
      maxChars: 100_000,
      ...more,
    });
    const accept = (id: string, more: Partial<NewRequest> = {}) => store.acceptRequest(request(id, more));
    const outcome = { text: '{"result":1}', keyId: '' };
    const end = (id: string, attempt: number, more = {}) =>
      store.endRequest({ agent: AGENT, id, attempt, state: 'completed', outcome, ...more });

    describe('requests', () => {
      test('a request is accepted once, and its outcome is kept', async () => {
        clock.advance(5);
        expect(await accept('r1', { deadlineAt: 7 })).toMatchObject({
          isNew: true,
          hold: 'here',
          request: { state: 'open', attempt: 0, method: 'pay', acceptedAt: clock.now(), deadlineAt: 7 },
        });
        expect(await accept('r1', { answerTo: '{"new":1}' })).toMatchObject({
          isNew: false,
          hold: 'here',
          request: { state: 'open', answerTo: '{"new":1}' },
        });
        expect(await store.startRequest(AGENT, 'r1', 3)).toMatchObject({
          isSpent: false,
          request: { attempt: 1 },
        });
        expect(await end('r1', 1)).toBe(true);
        expect(await end('r1', 1, { state: 'failed' })).toBe(false);
        expect(await store.startRequest(AGENT, 'r1', 3)).toBeUndefined();
        const { isNew, hold, request: stored } = await accept('r1');
        expect({ isNew, hold }).toEqual({ isNew: false, hold: 'none' });
        expect(stored).toMatchObject({ state: 'completed', outcome, params: { text: '' } });
        expect(await store.getRequest(OTHER, 'r1')).toBeUndefined();
      });

      test('a call with the same id and other parameters, or of another principal, changes nothing', async () => {
        await accept('r1', { answerTo: 'first' });
        for (const other of [{ digest: 'other' }, { principal: 'anonymous' }]) {
          const { isNew, request: stored } = await accept('r1', { ...other, answerTo: 'second' });
          expect(isNew).toBe(false);
          expect(stored).toMatchObject({ digest: 'digest-r1', principal: 'local', answerTo: 'first' });
        }
      });

      test('another writer gets a request when its writer has ended, with the attempts so far', async () => {
        await accept('r1');
        await accept('r2');
        await store.startRequest(AGENT, 'r1', 3);
        const second = await bench.another();
        expect(await second.adoptRequests(AGENT, 10)).toEqual([]);
        expect((await second.acceptRequest(request('r1'))).hold).toBe('elsewhere');
        expect(await second.startRequest(AGENT, 'r1', 3)).toBeUndefined();
        await store.close();
        expect((await second.acceptRequest(request('r1'))).hold).toBe('none');
        expect(await second.adoptRequests(OTHER, 10)).toEqual([]);
        expect(await second.adoptRequests(AGENT, 1)).toMatchObject([{ id: 'r1', attempt: 1 }]);
        expect(await second.adoptRequests(AGENT, 10)).toMatchObject([{ id: 'r2', attempt: 0 }]);
        expect(await second.adoptRequests(AGENT, 10)).toEqual([]);
        expect((await second.acceptRequest(request('r1'))).hold).toBe('here');
        expect(await second.startRequest(AGENT, 'r1', 3)).toMatchObject({ request: { attempt: 2 } });
      });

      test('a released request is free, and an interrupted attempt does not count', async () => {
        await accept('r1');
        await store.startRequest(AGENT, 'r1', 3);
        await store.releaseRequest(AGENT, 'r1', 1, true);
        const second = await bench.another();
        expect(await second.startRequest(AGENT, 'r1', 3)).toMatchObject({ request: { attempt: 1 } });
        // The first writer lost it.
        expect(await end('r1', 1)).toBe(false);
        await store.releaseRequest(AGENT, 'r1', 1, true);
        expect(
          await second.endRequest({ agent: AGENT, id: 'r1', attempt: 1, state: 'completed', outcome }),
        ).toBe(true);
      });

      test('after the last attempt a request is spent, and a dead one can be revived', async () => {
        await accept('r1');
        for (let attempt = 1; attempt <= 2; attempt++) await store.startRequest(AGENT, 'r1', 2);
        expect(await store.startRequest(AGENT, 'r1', 2)).toMatchObject({
          isSpent: true,
          request: { attempt: 2 },
        });
        expect(await store.reviveRequest(AGENT, 'r1')).toBe(false);
        expect(await store.removeRequest(AGENT, 'r1')).toBe(false);
        expect(await end('r1', 2, { state: 'dead' })).toBe(true);
        expect(await store.getRequest(AGENT, 'r1')).toMatchObject({
          state: 'dead',
          params: { text: '{"id":"r1"}' },
        });
        expect(await store.reviveRequest(AGENT, 'r1')).toBe(true);
        expect(await store.adoptRequests(AGENT, 9)).toMatchObject([
          { id: 'r1', state: 'open', attempt: 0, outcome: { text: '' } },
        ]);
        await store.startRequest(AGENT, 'r1', 2);
        await end('r1', 1);
        expect(await store.removeRequest(AGENT, 'r1')).toBe(true);
        expect(await store.removeRequest(AGENT, 'r1')).toBe(false);
      });

      test('the number of requests and their size are limited for each agent', async () => {
        await accept('r1', { maxRequests: 1 });
        await expect(accept('r2', { maxRequests: 1 })).rejects.toEqual(quota);
        expect((await accept('r1', { maxRequests: 1 })).isNew).toBe(false);
        await expect(accept('r2', { maxChars: 20 })).rejects.toEqual(quota);
        await store.acceptRequest(request('r2', { agent: OTHER, maxRequests: 1, maxChars: 20 }));
        await store.startRequest(AGENT, 'r1', 3);
        await end('r1', 1, { outcome: { text: '1', keyId: '' } });
        await accept('r2', { maxChars: 20 });
        await store.removeRequest(AGENT, 'r1');
        await accept('r3', { maxRequests: 2 });
      });

      test('lists begin with the latest change', async () => {
        for (const id of ['r1', 'r2', 'r3']) {
          clock.advance(1);
          await accept(id);
        }
        await store.acceptRequest(request('r4', { agent: OTHER }));
        await store.startRequest(AGENT, 'r1', 1);
        clock.advance(1);
        await end('r1', 1, { state: 'dead' });
        const ids = async (options = {}) => (await store.listRequests(options)).map(({ id }) => id);
        expect(await ids()).toEqual(['r1', 'r4', 'r3', 'r2']);
        expect(await ids({ agent: AGENT, limit: 2 })).toEqual(['r1', 'r3']);
        expect(await ids({ state: 'dead' })).toEqual(['r1']);
        expect(await ids({ id: 'r2' })).toEqual(['r2']);
      });

      test('a sweep deletes outcomes after a day and dead requests after 30, and never open ones', async () => {
        for (const id of ['open', 'done', 'dead']) await accept(id);
        for (const id of ['done', 'dead']) await store.startRequest(AGENT, id, 1);
        await end('done', 1);
        await end('dead', 1, { state: 'dead' });
        const sweep = (options = {}) => store.sweep({ trashedBefore: { at: 0, runningMs: 0 }, ...options });
        const ids = async () => (await store.listRequests()).map(({ id }) => id).sort();
        clock.advance(OUTCOME_MS - 1);
        await sweep();
        expect(await ids()).toEqual(['dead', 'done', 'open']);
        clock.advance(1);
        // Sweeps by age pause after a clock jump.
        await sweep({ trashedBefore: undefined });
        expect(await ids()).toEqual(['dead', 'done', 'open']);
        await sweep();
        expect(await ids()).toEqual(['dead', 'open']);
        clock.advance(DEAD_MS);
        await sweep();
        expect(await ids()).toEqual(['open']);
      });
    });

    test('keyIds returns the keys of values, parameters and outcomes', async () => {
      await put('a', '1', { keyId: 'k1' });
      await put('b', '1');
      await accept('r1', { params: { text: 'x', keyId: 'k2' } });
      await accept('r2');
      await store.startRequest(AGENT, 'r2', 1);
      await end('r2', 1, { outcome: { text: 'x', keyId: 'k3' } });
      expect([...(await store.keyIds(AGENT))].sort()).toEqual(['k1', 'k2', 'k3']);
      expect(await store.keyIds(OTHER)).toEqual([]);
      await put('a', '1', { keyId: 'k2' });
      expect([...(await store.keyIds(AGENT))].sort()).toEqual(['k2', 'k3']);
    });

    test('state and requests count towards the size of the store, and a full store refuses more of them', async () => {
      const full = await open({ clock, maxBytes: 300_000 });
      const big = 'x'.repeat(60_000);
      const write = (key: string, text: string) =>
        full.store.putState({ agent: AGENT, key, text, keyId: '', maxKeys: 99, maxChars: 1e9 });
      const fill = async (): Promise<void> => {
        for (let n = 0; n < 10; n++) await write(`k${n}`, big);
      };
      const storeFull = expect.objectContaining({ code: 'STORE_FULL' });
      await expect(fill()).rejects.toEqual(storeFull);
      await expect(
        full.store.acceptRequest(request('r1', { params: { text: big, keyId: '' }, maxChars: 1e9 })),
      ).rejects.toEqual(storeFull);
      // A smaller value and a deletion always succeed.
      expect(await write('k0', '1')).toBeDefined();
      expect(await full.store.deleteState(AGENT, 'k1')).toBe(true);
      expect(await write('k1', '1')).toBeDefined();
      await full.close();
    });

    test('a closed store refuses every operation', async () => {
      await store.close();
      const closed = expect.objectContaining({ code: 'STORE_UNAVAILABLE' });
      await expect(store.getState(AGENT, 'a')).rejects.toEqual(closed);
      await expect(put('a', '1')).rejects.toEqual(closed);
      await expect(accept('r1')).rejects.toEqual(closed);
    });
  });
}
