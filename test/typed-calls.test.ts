// Typed calls: an agent's declaration gives its callers the parameters and results of its operations. The compiler checks the types in
// this file (`npm run lint`): a line below `@ts-expect-error` that compiles is an error.
import { AgentWorker, defineAgent, operation } from '@fame-fabric/agents';
import { type Agent, Client } from '@fame-fabric/client';
import { Link, silentLog } from '@fame-fabric/shared';
import { ScriptedSentinel, settle } from '@fame-fabric/shared/testing';
import { afterEach, beforeEach, describe, expect, expectTypeOf, test } from 'vitest';
import { z } from 'zod';

const seen: unknown[] = [];

const shopAgent = defineAgent({
  address: 'shop@fame.fabric',
  operations: {
    order: operation({
      params: z.object({ item: z.string(), count: z.int().default(1) }),
      run: ({ item, count }) => ({
        id: `${item}-${count}`,
        at: new Date(0),
        note: undefined as string | undefined,
      }),
    }),
    move: operation({ params: z.tuple([z.number(), z.string()]), run: async ([n, to]) => `${n} to ${to}` }),
    watch: operation({
      params: z.object({ to: z.int() }),
      async *run({ to }) {
        for (let i = 1; i <= to; i++) yield { i };
      },
    }),
    ping: operation({
      run() {
        seen.push('ping');
      },
    }),
    // A name that a handle has itself, and one that the language reads.
    call: operation({ run: () => 1 }),
    toJSON: operation({ run: () => 2 }),
    relay: operation({
      run: (_, { link }) => link.agent<typeof otherAgent>('other@fame.fabric').double({ n: 4 }),
    }),
  },
});
const otherAgent = defineAgent({
  address: 'other@fame.fabric',
  operations: { double: operation({ params: z.object({ n: z.number() }), run: ({ n }) => 2 * n }) },
});

type Shop = Agent<typeof shopAgent>;
let worker: AgentWorker;
let client: Client;
let shop: Shop;
beforeEach(async () => {
  const sentinel = new ScriptedSentinel();
  const newLink = (): Link => new Link({ url: 'memory://s', dial: sentinel.dial });
  worker = new AgentWorker([shopAgent, otherAgent], { link: newLink(), log: silentLog });
  await worker.start();
  const link = newLink();
  await link.connect();
  client = new Client(link);
  shop = client.agent<typeof shopAgent>('shop@fame.fabric');
  seen.length = 0;
});
afterEach(async () => {
  await client.close();
  await worker.drain(0);
});

async function itemsOf<T>(items: AsyncIterable<T>): Promise<T[]> {
  const all: T[] = [];
  for await (const item of items) all.push(item);
  return all;
}

describe('A7, N4: the types of a declared agent', () => {
  test('parameters are those that callers write: a default makes one optional', () => {
    expectTypeOf<Parameters<Shop['order']>[0]>().toEqualTypeOf<{
      item: string;
      count?: number | undefined;
    }>();
    expectTypeOf<Parameters<Shop['move']>[0]>().toEqualTypeOf<[number, string]>();
    expectTypeOf<Shop['ping']>().toBeCallableWith();
    expectTypeOf<Shop['ping']>().toBeCallableWith({}, { timeoutMs: 10 });
  });

  test('results are those that arrive', () => {
    expectTypeOf<ReturnType<Shop['order']>>().resolves.toEqualTypeOf<{
      id: string;
      at: string;
      note: string | undefined;
    }>();
    expectTypeOf<ReturnType<Shop['move']>>().resolves.toEqualTypeOf<string>();
    expectTypeOf<ReturnType<Shop['ping']>>().resolves.toEqualTypeOf<null>();
    expectTypeOf<ReturnType<Shop['watch']>>().toEqualTypeOf<AsyncIterable<{ i: number }>>();
    expectTypeOf<ReturnType<Shop['relay']>>().resolves.toEqualTypeOf<number>();
  });

  test('faulty calls do not compile', () => {
    const faulty = (): unknown[] => [
      // @ts-expect-error a misspelt operation
      shop.oder({ item: 'tea' }),
      // @ts-expect-error a missing parameter
      shop.order({}),
      // @ts-expect-error no parameters
      shop.order(),
      // @ts-expect-error a parameter of another type
      shop.order({ item: 7 }),
      // @ts-expect-error an unknown parameter
      shop.order({ item: 'tea', cuont: 2 }),
      // @ts-expect-error an unknown option
      shop.order({ item: 'tea' }, { timeout: 5 }),
      // @ts-expect-error too few positions
      shop.move([1]),
      // @ts-expect-error a stream is no promise
      shop.watch({ to: 1 }).then(() => {}),
      // @ts-expect-error a promise is no stream
      shop.order({ item: 'tea' })[Symbol.asyncIterator](),
    ];
    expectTypeOf(faulty).returns.toEqualTypeOf<unknown[]>();
  });

  test('an untyped handle has no methods, and its results are unknown unless the caller names a type', () => {
    const untyped = client.agent('shop@fame.fabric');
    const faulty = (): unknown =>
      // @ts-expect-error there is no type to take a method from
      untyped.order({ item: 'tea' });
    expectTypeOf(faulty).toBeFunction();
    const call = () => untyped.call('order');
    expectTypeOf(call).returns.resolves.toBeUnknown();
    const callAs = () => client.call<{ id: string }>('shop@fame.fabric', 'order');
    expectTypeOf(callAs).returns.resolves.toEqualTypeOf<{ id: string }>();
    const stream = () => untyped.stream<number>('watch');
    expectTypeOf(stream).returns.toEqualTypeOf<AsyncIterable<number>>();
  });
});

describe('A7: calls through a typed handle', () => {
  test('an awaited call returns its result', async () => {
    expect(await shop.order({ item: 'tea' })).toEqual({ id: 'tea-1', at: '1970-01-01T00:00:00.000Z' });
    expect(await shop.move([2, 'Oslo'])).toBe('2 to Oslo');
    expect(await shop.relay()).toBe(8);
    expect(await Promise.all([shop.move([1, 'a']), shop.move([2, 'b'])])).toEqual(['1 to a', '2 to b']);
  });

  test('an iterated call yields its items, at once or later', async () => {
    expect(await itemsOf(shop.watch({ to: 3 }))).toEqual([{ i: 1 }, { i: 2 }, { i: 3 }]);
    const later = shop.watch({ to: 3 });
    await settle();
    expect(await itemsOf(later)).toEqual([{ i: 1 }, { i: 2 }, { i: 3 }]);
    await expect(itemsOf(later)).rejects.toThrow('call the operation again');
  });

  test('a call is sent once, also if its result is read late or never', async () => {
    void shop.ping();
    await settle();
    expect(seen).toEqual(['ping']);
    const later = shop.move([1, 'a']);
    const done = shop.ping();
    await settle();
    expect(seen).toEqual(['ping', 'ping']);
    expect([await later, await done]).toEqual(['1 to a', null]);
    expect(await later).toBe('1 to a');
    expect(seen).toEqual(['ping', 'ping']);
  });

  test('errors reject, and `catch` and `finally` work as those of promises', async () => {
    const faulty = { item: 7 } as unknown as { item: string };
    await expect(shop.order(faulty)).rejects.toThrow('item: Invalid input');
    expect(await shop.order(faulty).catch((error: Error) => error.message)).toMatch(/^item: /);
    let isSettled = false;
    await shop.ping().finally(() => {
      isSettled = true;
    });
    expect(isSettled).toBe(true);
    const unread = shop.order(faulty);
    await settle();
    await expect(unread).rejects.toThrow('item: Invalid input');
  });

  test('a handle can be awaited, logged and serialized without a call', async () => {
    const handle = await Promise.resolve(shop);
    expect(JSON.stringify(handle)).toBe('{"address":"shop@fame.fabric"}');
    expect(`${handle}`).toBe('[object Object]');
    expect(seen).toEqual([]);
  });

  test('an operation with a name that the handle cannot have is called by its name', async () => {
    expect(await shop.call<number>('call')).toBe(1);
    expect(await shop.call<number>('toJSON')).toBe(2);
    expectTypeOf<Shop>().not.toHaveProperty('toJSON');
  });
});
