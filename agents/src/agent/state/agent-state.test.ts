import { randomBytes } from 'node:crypto';
import { FabricError } from '@fame-fabric/shared';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { MemoryStore } from '../../store/memory-store.ts';
import { FakeLink } from '../../testing/fake-link.ts';
import { defineAgent } from '../agent.ts';
import type { AgentOptions, Serving } from '../agent-types.ts';
import { operation } from '../operation.ts';
import { StoredState } from './agent-state.ts';
import { StateKeys } from './state-keys.ts';

const ADDRESS = 'shop@fame.fabric';
let store: MemoryStore;
let state: StoredState;
beforeEach(() => {
  store = new MemoryStore();
  state = new StoredState(store, ADDRESS, new StateKeys());
});
const invalid = (message: RegExp) =>
  expect.objectContaining({ code: 'STATE_INVALID', message: expect.stringMatching(message) });

describe('values', () => {
  test('are copies of JSON', async () => {
    const value = { n: 1, list: ['a', null], text: '😀' };
    await state.set('a', value);
    value.n = 2;
    expect(await state.get('a')).toEqual({ n: 1, list: ['a', null], text: '😀' });
    await state.set('a', null);
    expect(await state.get('a')).toBeNull();
    expect(await state.delete('a')).toBe(true);
    expect(await state.delete('a')).toBe(false);
    expect(await state.get('a')).toBeUndefined();
  });

  test.each([
    ['undefined', undefined, /not JSON/],
    ['a function', () => 1, /not JSON/],
    ['a bigint', 1n, /BigInt/],
    ['a text that is too long', 'x'.repeat(65_535), /65537 bytes as JSON; the limit is 65536/],
  ])('%s is refused', async (_, value, message) => {
    await expect(state.set('a', value)).rejects.toEqual(invalid(message));
    expect(await state.get('a')).toBeUndefined();
  });

  test('have the limits of the declaration', async () => {
    const small = new StoredState(store, ADDRESS, new StateKeys(), {
      maxKeys: 1,
      maxValueBytes: 4,
      maxChars: 5,
    });
    await small.set('a', 'ab');
    await expect(small.set('a', 'abc')).rejects.toEqual(invalid(/limit is 4/));
    await expect(small.set('b', 1)).rejects.toMatchObject({ code: 'QUOTA_EXCEEDED' });
  });
});

describe('keys', () => {
  test.each([
    ['empty', '', /not empty/],
    ['with a line break', 'a\nb', /control characters/],
    ['with half a surrogate pair', 'a\ud83d', /broken Unicode/],
    ['with a noncharacter', '\u{10ffff}', /broken Unicode/],
    ['too long', 'ä'.repeat(257), /longer than 512 bytes/],
  ])('%s are refused', async (_, key, message) => {
    await expect(state.set(key, 1)).rejects.toEqual(invalid(message));
    await expect(state.get(key)).rejects.toEqual(invalid(message));
    await expect(state.update(key, () => 1)).rejects.toEqual(invalid(message));
  });

  test('of a scope have its name in front, and scopes may be nested', async () => {
    const cart = state.scope('carts').scope('ada');
    await cart.set('lamp', 1);
    await cart.set('book', 2);
    await state.set('other', 3);
    expect(await cart.list()).toEqual({
      entries: [
        { key: 'book', value: 2 },
        { key: 'lamp', value: 1 },
      ],
    });
    expect(await state.get('carts/ada/lamp')).toBe(1);
    for (const name of ['', 'a/b']) expect(() => state.scope(name)).toThrow(invalid(/scope/));
    await expect(state.scope('x'.repeat(500)).set('y'.repeat(12), 1)).rejects.toEqual(invalid(/scopes/));
  });

  test('are listed in pages', async () => {
    for (let n = 10; n < 15; n++) await state.set(`k/${n}`, n);
    const values: number[] = [];
    let after: string | undefined;
    do {
      const { entries, next } = await state.list<number>('k/', { after, limit: 2 });
      expect(entries.length).toBeLessThanOrEqual(2);
      values.push(...entries.map(({ value }) => value));
      after = next;
    } while (after !== undefined);
    expect(values).toEqual([10, 11, 12, 13, 14]);
    await expect(state.list('', { limit: 1_001 })).rejects.toEqual(invalid(/from 1 to 1000/));
  });
});

describe('an update', () => {
  const add = (to: StoredState) => to.update<number>('n', (n = 0) => n + 1);

  test('loses no change of concurrent handlers, scopes and processes', async () => {
    const other = new StoredState(new MemoryStore({ sharedWith: store }), ADDRESS, new StateKeys());
    await Promise.all(Array.from({ length: 60 }, (_, i) => add(i % 2 ? state : other)));
    expect(await state.get('n')).toBe(60);
  });

  test('deletes with undefined, and returns the new value', async () => {
    expect(await add(state)).toBe(1);
    expect(await state.update('n', () => undefined)).toBeUndefined();
    expect(await state.get('n')).toBeUndefined();
  });

  test('calls its function again if the value was changed meanwhile', async () => {
    const seen: unknown[] = [];
    const result = await state.update('n', async (n) => {
      seen.push(n);
      if (seen.length === 1) await state.set('n', 'other');
      return seen.length;
    });
    expect([result, seen]).toEqual([2, [undefined, 'other']]);
  });

  test('that is overtaken at every attempt fails with STORE_CONFLICT', async () => {
    let n = 0;
    const update = state.update('n', async () => {
      n += 1;
      await state.set('n', n);
      return 0;
    });
    await expect(update).rejects.toMatchObject({ code: 'STORE_CONFLICT' });
  });

  test('whose function throws changes nothing, and the next one works', async () => {
    await expect(
      state.update('n', () => {
        throw new FabricError('PARAMS_INVALID', 'no');
      }),
    ).rejects.toMatchObject({ code: 'PARAMS_INVALID' });
    expect(await add(state)).toBe(1);
  });
});

describe('an agent', () => {
  let link: FakeLink;
  const servings: Serving[] = [];
  beforeEach(() => {
    link = new FakeLink();
  });
  afterEach(async () => {
    for (const serving of servings.splice(0)) await serving.close();
  });
  const count = operation({ run: (_, { state }) => state.update<number>('n', (n = 0) => n + 1) });
  const serve = async (options: Partial<AgentOptions> = {}, stateKeys?: StateKeys): Promise<Serving> => {
    const agent = defineAgent({ address: ADDRESS, operations: { count }, ...options });
    const serving = await agent.serve(link, { stateKeys });
    servings.push(serving);
    return serving;
  };
  const call = async () => (await link.start(ADDRESS, 'count').done).result;

  test('keeps its state over the end of its serving, and for itself', async () => {
    await (await serve({ state: true, store })).close();
    const second = await serve({ state: true, store });
    expect([await call(), await call()]).toEqual([1, 2]);
    await second.close();
    await serve({ state: true, store });
    expect(await call()).toBe(3);
    await serve({ state: true, store, address: 'other@fame.fabric' });
    expect((await link.start('other@fame.fabric', 'count').done).result).toBe(1);
  });

  test('without a store keeps it in memory, and its hooks have it too', async () => {
    const seen: unknown[] = [];
    const options: AgentOptions = {
      address: ADDRESS,
      state: true,
      operations: { count },
      onStart: async ({ state }) => void seen.push(await state.get('n')),
      onMessage: (_, __, { state }) => state.get('n'),
    };
    const agent = defineAgent(options);
    const first = await agent.serve(link);
    await call();
    await first.close();
    servings.push(await agent.serve(link));
    expect(seen).toEqual([undefined, 1]);
    expect(await link.deliver(ADDRESS, 'hello', { ttl: 3 })).toBe(1);
  });

  test('that does not declare its state gets an error with the fix', async () => {
    await serve({ store });
    expect((await link.start(ADDRESS, 'count').done).error).toMatchObject({
      data: { code: 'CONFIG_INVALID' },
      message: expect.stringContaining('Add `state: true`'),
    });
  });

  test('is not served without the key of its state, and keeps its values', async () => {
    const key = randomBytes(32);
    const first = await serve({ state: true, store }, new StateKeys([key]));
    await call();
    await first.close();
    const rows = (await store.listState(ADDRESS, { limit: 9, maxChars: 999 })).entries;
    expect(rows).toMatchObject([{ key: 'n', keyId: expect.stringMatching(/^[0-9a-f]{16}$/) }]);
    for (const keys of [undefined, new StateKeys([randomBytes(32)])]) {
      await expect(serve({ state: true, store }, keys)).rejects.toMatchObject({ code: 'STATE_KEY_MISSING' });
    }
    expect(link.bound.size).toBe(0);
    const fresh = randomBytes(32);
    await (await serve({ state: true, store }, new StateKeys([fresh, key]))).close();
    await serve({ state: true, store }, new StateKeys([fresh, key]));
    expect(await call()).toBe(2);
    const [rewritten] = (await store.listState(ADDRESS, { limit: 9, maxChars: 999 })).entries;
    expect(rewritten?.keyId).not.toBe(rows[0]?.keyId);
  });
});
