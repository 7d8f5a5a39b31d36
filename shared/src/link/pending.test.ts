import { describe, expect, it } from 'vitest';
import { ManualClock } from '../testing/manual-clock.ts';
import { Pending, type Waiter } from './pending.ts';

const make = () => {
  const clock = new ManualClock();
  const pending = new Pending<Waiter>(clock);
  const due: string[] = [];
  const waiter = (corrId: string, ms: number, onDue?: (entry: Waiter) => void): Waiter => {
    const entry: Waiter = {
      corrId,
      deadline: clock.monotonic() + ms,
      onDue: () => {
        due.push(corrId);
        onDue?.(entry);
      },
      fail: (error) => due.push(`${corrId} failed: ${error}`),
    };
    pending.add(entry);
    return entry;
  };
  return { clock, pending, due, waiter };
};

describe('Pending', () => {
  it('fires each deadline within 5 ms, with one timer', () => {
    const { clock, pending, due, waiter } = make();
    waiter('b', 200);
    waiter('a', 100);
    waiter('c', 201);
    expect(clock.timerCount).toBe(1);
    clock.advance(99);
    expect(due).toEqual([]);
    clock.advance(1);
    expect(due).toEqual(['a']);
    clock.advance(100);
    expect(due).toEqual(['a', 'b']);
    clock.advance(5);
    expect(due).toEqual(['a', 'b', 'c']);
    expect(pending.size).toBe(0);
    expect(clock.timerCount).toBe(0);
  });

  it('follows a deadline that moves later, and one that moves earlier after moved()', () => {
    const { clock, pending, due, waiter } = make();
    const later = waiter('later', 100);
    const sooner = waiter('sooner', 10_000);
    later.deadline += 1_000;
    sooner.deadline = clock.monotonic() + 50;
    pending.moved(sooner);
    clock.advance(60);
    expect(due).toEqual(['sooner']);
    clock.advance(1_039);
    expect(due).toEqual(['sooner']);
    clock.advance(6);
    expect(due).toEqual(['sooner', 'later']);
  });

  it.each([31_000, 3_600_000, -86_400_000, 31 * 86_400_000])(
    'HD11: a step of the wall clock by %i ms moves no deadline',
    (ms) => {
      const { clock, due, waiter } = make();
      waiter('before', 8_000);
      clock.advance(1_000);
      clock.stepWall(ms);
      waiter('after', 8_000);
      clock.advance(6_999);
      expect(due).toEqual([]);
      clock.advance(1);
      expect(due).toEqual(['before']);
      clock.advance(1_000);
      expect(due).toEqual(['before', 'after']);
    },
  );

  it('keeps a waiter that moves its deadline when it is due', () => {
    const { clock, pending, due, waiter } = make();
    let rounds = 0;
    waiter('again', 100, (entry) => {
      if (++rounds < 3) entry.deadline += 100;
    });
    clock.advance(1_000);
    expect(due).toEqual(['again', 'again', 'again']);
    expect(pending.size).toBe(0);
  });

  it('does not fire a removed waiter or one without a deadline', () => {
    const { clock, pending, due, waiter } = make();
    pending.remove(waiter('gone', 100));
    waiter('for ever', Number.POSITIVE_INFINITY);
    clock.advance(100_000_000_000);
    expect(due).toEqual([]);
    expect(pending.size).toBe(1);
    expect(clock.timerCount).toBe(0);
  });

  it('supports deadlines beyond the longest timer', () => {
    const { clock, due, waiter } = make();
    waiter('in a year', 365 * 86_400_000);
    clock.advance(364 * 86_400_000);
    expect(due).toEqual([]);
    clock.advance(86_400_005);
    expect(due).toEqual(['in a year']);
  });

  it('fails all waiters and stops its timer', () => {
    const { clock, pending, due, waiter } = make();
    waiter('a', 1);
    waiter('b', 2);
    pending.failAll('closed');
    expect(due).toEqual(['a failed: closed', 'b failed: closed']);
    expect(clock.timerCount).toBe(0);
    expect(pending.size).toBe(0);
  });

  it('does not remove another waiter with the same id', () => {
    const { pending, waiter } = make();
    const first = waiter('x', 1);
    const second = waiter('x', 1);
    pending.remove(first);
    expect(pending.get('x')).toBe(second);
  });
});
