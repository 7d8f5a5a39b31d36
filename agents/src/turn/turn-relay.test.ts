import { settle } from '@fame-fabric/shared/testing';
import { describe, expect, test } from 'vitest';
import type { TurnEvent } from './turn.ts';
import { TurnRelay } from './turn-relay.ts';

const started = (callId: string): TurnEvent => ({ type: 'tool_started', callId, name: 'x' });

describe('the relay of a turn', () => {
  test('gives events in the order they came, then the result', async () => {
    const relay = new TurnRelay<number>();
    relay.text('a');
    void relay.event(started('1'));
    relay.text('b');
    relay.end(7);
    const seen: unknown[] = [];
    for (let next = await relay.next(); ; next = await relay.next()) {
      seen.push(next.value);
      if (next.done) break;
    }
    expect(seen).toEqual([{ type: 'text', text: 'a' }, started('1'), { type: 'text', text: 'b' }, 7]);
    expect(await relay.next()).toEqual({ done: true, value: undefined });
  });

  test('text that was not taken yet becomes one piece', async () => {
    const relay = new TurnRelay();
    for (const text of ['a', 'b', 'c']) relay.text(text);
    expect((await relay.next()).value).toEqual({ type: 'text', text: 'abc' });
    relay.text('d');
    expect((await relay.next()).value).toEqual({ type: 'text', text: 'd' });
  });

  test('text that was given out does not change any more', async () => {
    const relay = new TurnRelay();
    const first = relay.next();
    relay.text('a');
    relay.text('b');
    expect((await first).value).toEqual({ type: 'text', text: 'a' });
    expect((await relay.next()).value).toEqual({ type: 'text', text: 'b' });
  });

  test('an event is taken when the consumer asks for the next one', async () => {
    const relay = new TurnRelay();
    let isTaken = false;
    void relay.event(started('1')).then(() => {
      isTaken = true;
    });
    await relay.next();
    await settle();
    expect(isTaken).toBe(false);
    void relay.next();
    await settle();
    expect(isTaken).toBe(true);
  });

  test('an error comes after what waits, once', async () => {
    const relay = new TurnRelay();
    relay.text('a');
    relay.fail(new Error('broken'));
    expect((await relay.next()).done).toBe(false);
    await expect(relay.next()).rejects.toThrow('broken');
    expect((await relay.next()).done).toBe(true);
  });

  test('a branch that waits is told when the consumer leaves, and the branches are ended', async () => {
    let isLeft = false;
    const relay = new TurnRelay<void>(undefined, async () => {
      isLeft = true;
    });
    const given = relay.event(started('1'));
    const waiting = relay.event(started('2'));
    await relay.next();
    const both = Promise.allSettled([given, waiting]);
    await relay.return();
    expect((await both).map((one) => one.status)).toEqual(['rejected', 'rejected']);
    expect(isLeft).toBe(true);
    relay.text('late');
    await expect(relay.event(started('3'))).rejects.toThrow();
    expect((await relay.next()).done).toBe(true);
  });

  test('nothing begins before the first event is asked for', async () => {
    let begins = 0;
    const relay = new TurnRelay<void>(() => {
      begins += 1;
      relay.end();
    });
    expect(begins).toBe(0);
    await relay.next();
    await relay.next();
    expect(begins).toBe(1);
  });
});
