import { describe, expect, test, vi } from 'vitest';
import { FabricError } from '../errors/error.ts';
import { Channel } from './channel.ts';

const item = (value: number) => ({ value, done: false });
const DONE = { value: undefined, done: true };

async function collect<T>(channel: AsyncIterable<T>): Promise<T[]> {
  const all: T[] = [];
  for await (const one of channel) all.push(one);
  return all;
}

describe('Channel', () => {
  test('delivers items in order, those pushed before the read and those after', async () => {
    const channel = new Channel<number>({ name: 'test' });
    channel.push(1);
    channel.push(2);
    const all = collect(channel);
    await null;
    channel.push(3);
    channel.end();
    expect(await all).toEqual([1, 2, 3]);
  });

  test('resolves waiting reads in order', async () => {
    const channel = new Channel<number>({ name: 'test' });
    const reads = [channel.next(), channel.next(), channel.next()];
    expect(channel.isAwaited).toBe(true);
    channel.push(1);
    channel.push(2);
    channel.end();
    expect(await Promise.all(reads)).toEqual([item(1), item(2), DONE]);
    expect(channel.isAwaited).toBe(false);
  });

  test('fails after the items that were pushed before, once', async () => {
    const channel = new Channel<number>({ name: 'test' });
    channel.push(1);
    channel.fail(new Error('broken'));
    channel.push(2);
    expect(await channel.next()).toEqual(item(1));
    await expect(channel.next()).rejects.toThrow('broken');
    expect(await channel.next()).toEqual(DONE);
  });

  test('rejects the first read that waits and ends the others', async () => {
    const channel = new Channel<number>({ name: 'test' });
    const [first, second] = [channel.next(), channel.next()];
    channel.fail(new Error('broken'));
    await expect(first).rejects.toThrow('broken');
    expect(await second).toEqual(DONE);
  });

  test('fails when more than its limit is unread', async () => {
    const channel = new Channel<string>({ name: 'the text', limit: 5 });
    channel.push('abc', 3);
    channel.push('de', 2);
    expect([channel.length, channel.unread]).toEqual([2, 5]);
    channel.push('f', 1);
    expect(channel.isOpen).toBe(false);
    expect(await channel.next()).toEqual({ value: 'abc', done: false });
    expect(await channel.next()).toEqual({ value: 'de', done: false });
    await expect(channel.next()).rejects.toMatchObject({ code: 'BUFFER_OVERFLOW' });
  });

  test('does not count items that a waiting reader takes at once', async () => {
    const channel = new Channel<number>({ name: 'test', limit: 1 });
    const read = channel.next();
    channel.push(1, 10);
    expect(await read).toEqual(item(1));
    expect(channel.unread).toBe(0);
  });

  test('fails with the error of its owner', async () => {
    const overflow = (limit: number) => new FabricError('QUOTA_EXCEEDED', `more than ${limit}`);
    const channel = new Channel<number>({ name: 'test', limit: 0, overflow });
    channel.push(1);
    await expect(channel.next()).rejects.toMatchObject({ code: 'QUOTA_EXCEEDED', message: 'more than 0' });
  });

  test('notifies its writer when the reader leaves before the end', async () => {
    const onLeave = vi.fn();
    const channel = new Channel<number>({ name: 'test', onLeave });
    channel.push(1);
    channel.push(2);
    for await (const value of channel) {
      expect(value).toBe(1);
      break;
    }
    expect(onLeave).toHaveBeenCalledTimes(1);
    expect(channel.hasLeft).toBe(true);
    channel.push(3);
    expect(channel.length).toBe(0);
    expect(await channel.next()).toEqual(DONE);
  });

  test('ends a read that waits when the reader leaves', async () => {
    const channel = new Channel<number>({ name: 'test' });
    const read = channel.next();
    await channel.return();
    expect(await read).toEqual(DONE);
  });

  test('does not count an end or a failure as leaving', async () => {
    const onLeave = vi.fn();
    const ended = new Channel<number>({ name: 'test', onLeave });
    ended.end();
    await ended.return();
    const failed = new Channel<number>({ name: 'test', onLeave });
    failed.fail(new Error('broken'));
    await failed.return();
    expect(await failed.next()).toEqual(DONE);
    expect(onLeave).not.toHaveBeenCalled();
  });

  test('refuses a second reader', () => {
    const channel = new Channel<number>({ name: 'test' });
    channel[Symbol.asyncIterator]();
    expect(() => channel[Symbol.asyncIterator]()).toThrow(expect.objectContaining({ code: 'STREAM_LOCKED' }));
  });
});
