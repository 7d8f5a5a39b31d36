import { FabricError } from '@fame-fabric/shared';
import { ManualClock, settle } from '@fame-fabric/shared/testing';
import { describe, expect, test, vi } from 'vitest';
import { Readings, readWithGrace } from './grace.ts';

/** A source of events that the test feeds. It ends with `cancel`. */
function source() {
  const clock = new ManualClock();
  const left = new AbortController();
  const seen: number[] = [];
  const cancelled = Promise.withResolvers<never>();
  cancelled.promise.catch(() => {});
  const gates = [1, 2].map(() => Promise.withResolvers<number>());
  async function* events() {
    for (const { promise } of gates) yield await Promise.race([promise, cancelled.promise]);
  }
  const cancel = vi.fn(() => cancelled.reject(new FabricError('CALL_CANCELLED', 'cancelled')));
  const onEvent = (event: number): void => void seen.push(event);
  const reading = readWithGrace(events(), { onEvent, left: left.signal, cancel, graceMs: 5_000, clock });
  reading.catch(() => {});
  return { clock, left, seen, cancel, reading, send: (event: number) => gates[event - 1]!.resolve(event) };
}

describe('readWithGrace', () => {
  test('passes events until the reader leaves, and reads on to the end', async () => {
    const { clock, left, seen, cancel, reading, send } = source();
    send(1);
    await settle();
    left.abort();
    send(2);
    await reading;
    expect(seen).toEqual([1]);
    expect([cancel.mock.calls.length, clock.timerCount]).toEqual([0, 0]);
  });

  test('cancels after the grace', async () => {
    const { clock, left, cancel, reading } = source();
    left.abort();
    await clock.run(4_999);
    expect(cancel).not.toHaveBeenCalled();
    await clock.run(1);
    await expect(reading).rejects.toMatchObject({ code: 'CALL_CANCELLED' });
    expect(cancel).toHaveBeenCalledTimes(1);
  });
});

describe('Readings', () => {
  test('cancels the turns of a conversation only if none has a reader', async () => {
    const readings = new Readings(new ManualClock());
    const cancel = vi.fn(async () => {});
    const first = readings.add('c', cancel);
    const second = readings.add('c', cancel);
    first.leave();
    await readings.clear('c');
    await readings.clear('other');
    expect(cancel).not.toHaveBeenCalled();
    second.end();
    await readings.clear('c');
    expect(cancel).toHaveBeenCalledTimes(1);
    first.end();
    await readings.clear('c');
    expect(cancel).toHaveBeenCalledTimes(1);
  });

  test('remembers lost answers for 10 minutes, at most 10,000', () => {
    const clock = new ManualClock();
    const readings = new Readings(clock);
    readings.lose('a');
    readings.lose('b');
    readings.deliver('b');
    expect([readings.isLost('a'), readings.isLost('b')]).toEqual([true, false]);
    clock.advance(600_000);
    expect(readings.isLost('a')).toBe(false);
    for (let i = 0; i <= 10_000; i++) readings.lose(`k${i}`);
    expect([readings.isLost('k0'), readings.isLost('k1'), readings.isLost('k10000')]).toEqual([
      false,
      true,
      true,
    ]);
  });
});
