import { describe, expect, test } from 'vitest';
import { settle } from '../testing/manual-clock.ts';
import { Broadcast } from './broadcast.ts';

async function collect<T>(items: AsyncIterable<T>): Promise<T[]> {
  const all: T[] = [];
  for await (const item of items) all.push(item);
  return all;
}

describe('Broadcast', () => {
  test('delivers all items to every follower, early or late', async () => {
    const broadcast = new Broadcast<number>();
    const early = collect(broadcast);
    broadcast.publish(1);
    await settle();
    broadcast.publish(2);
    const late = collect(broadcast.follow());
    await settle();
    broadcast.publish(3);
    broadcast.end();
    expect(await Promise.all([early, late, collect(broadcast)])).toEqual([
      [1, 2, 3],
      [1, 2, 3],
      [1, 2, 3],
    ]);
    expect(broadcast.isOver).toBe(true);
  });

  test('begins with its initial items, from any index', async () => {
    const broadcast = new Broadcast([1, 2, 3]);
    broadcast.publish(4);
    broadcast.end();
    expect(await collect(broadcast.follow({ from: 2 }))).toEqual([3, 4]);
    expect(await collect(broadcast.follow({ from: 9 }))).toEqual([]);
  });

  test('ends once: items, ends and errors after that are dropped', async () => {
    const broadcast = new Broadcast([1]);
    broadcast.end();
    broadcast.publish(2);
    broadcast.fail(new Error('late'));
    expect(await collect(broadcast)).toEqual([1]);
    expect(broadcast.items).toEqual([1]);
  });

  test('followers receive a failure after the last item', async () => {
    const broadcast = new Broadcast<number>();
    const follower = broadcast.follow();
    broadcast.publish(1);
    broadcast.fail(new Error('broken'));
    expect(await follower.next()).toEqual({ value: 1, done: false });
    await expect(follower.next()).rejects.toThrow('broken');
  });

  test('an abort ends one follower and leaves the others', async () => {
    const broadcast = new Broadcast<number>();
    const controller = new AbortController();
    const leaving = collect(broadcast.follow({ signal: controller.signal }));
    const staying = collect(broadcast);
    broadcast.publish(1);
    await settle();
    controller.abort();
    expect(await leaving).toEqual([1]);
    broadcast.publish(2);
    broadcast.end();
    expect(await staying).toEqual([1, 2]);
  });

  test('a follower that leaves its loop does not affect the others', async () => {
    const broadcast = new Broadcast([1, 2]);
    for await (const item of broadcast) {
      expect(item).toBe(1);
      break;
    }
    broadcast.end();
    expect(await collect(broadcast)).toEqual([1, 2]);
  });

  test('hands each item over in the step in which it is published', async () => {
    const broadcast = new Broadcast([1]);
    const taken: number[] = [];
    const take = (item: number): undefined => void taken.push(item);
    const delivered = broadcast.deliver(take);
    broadcast.publish(2);
    expect(taken).toEqual([1, 2]);
    void broadcast.deliver(take, { from: 1 });
    expect(taken).toEqual([1, 2, 2]);
    broadcast.end();
    await delivered;
    broadcast.publish(3);
    expect(taken).toEqual([1, 2, 2]);
  });

  test('a delivery waits for its receiver, and continues in order', async () => {
    const broadcast = new Broadcast<number>();
    const gate = Promise.withResolvers<void>();
    const taken: number[] = [];
    const delivered = broadcast.deliver((item) => {
      taken.push(item);
      return item === 1 ? gate.promise : undefined;
    });
    for (const item of [1, 2, 3]) broadcast.publish(item);
    broadcast.end();
    await settle();
    expect(taken).toEqual([1]);
    gate.resolve();
    await delivered;
    expect(taken).toEqual([1, 2, 3]);
  });

  test('a delivery fails with its receiver or with the broadcast, and affects neither the producer nor followers', async () => {
    const broadcast = new Broadcast<number>();
    const follower = collect(broadcast.follow());
    const thrown = broadcast.deliver(() => {
      throw new Error('thrown');
    });
    const rejected = broadcast.deliver(() => Promise.reject(new Error('rejected')));
    const failed = broadcast.deliver(() => undefined);
    broadcast.publish(1);
    await expect(thrown).rejects.toThrow('thrown');
    await expect(rejected).rejects.toThrow('rejected');
    broadcast.fail(new Error('broken'));
    await expect(failed).rejects.toThrow('broken');
    await expect(follower).rejects.toThrow('broken');
  });

  test('an abort ends a delivery', async () => {
    const broadcast = new Broadcast<number>();
    const controller = new AbortController();
    const taken: number[] = [];
    const take = (item: number): undefined => void taken.push(item);
    const delivered = broadcast.deliver(take, { signal: controller.signal });
    broadcast.publish(1);
    controller.abort();
    await delivered;
    broadcast.publish(2);
    expect(taken).toEqual([1]);
    await broadcast.deliver(take, { from: 1, signal: controller.signal });
    expect(taken).toEqual([1, 2]);
  });
});
