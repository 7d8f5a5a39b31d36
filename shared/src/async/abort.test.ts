import { describe, expect, test, vi } from 'vitest';
import { ManualClock, settle } from '../testing/manual-clock.ts';
import { onAbort, pause, untilAborted } from './abort.ts';

/** A controller whose signal counts its listeners. */
function counting() {
  const controller = new AbortController();
  const { signal } = controller;
  let listeners = 0;
  const add = signal.addEventListener.bind(signal);
  const remove = signal.removeEventListener.bind(signal);
  vi.spyOn(signal, 'addEventListener').mockImplementation((...args: Parameters<typeof add>) => {
    listeners++;
    add(...args);
  });
  vi.spyOn(signal, 'removeEventListener').mockImplementation((...args: Parameters<typeof remove>) => {
    listeners--;
    remove(...args);
  });
  return { controller, signal, listeners: () => listeners };
}

describe('onAbort', () => {
  test('calls the listener once, at the abort', () => {
    const controller = new AbortController();
    const listener = vi.fn();
    onAbort(controller.signal, listener);
    expect(listener).not.toHaveBeenCalled();
    controller.abort();
    expect(listener).toHaveBeenCalledTimes(1);
  });

  test('calls the listener at once when the signal has aborted already', () => {
    const listener = vi.fn();
    onAbort(AbortSignal.abort(), listener);
    expect(listener).toHaveBeenCalledTimes(1);
  });

  test('removes the listener again', () => {
    const { controller, signal, listeners } = counting();
    const listener = vi.fn();
    onAbort(signal, listener)();
    expect(listeners()).toBe(0);
    controller.abort();
    expect(listener).not.toHaveBeenCalled();
  });

  test('accepts that there is no signal', () => {
    expect(() => onAbort(undefined, () => {})()).not.toThrow();
  });
});

describe('untilAborted', () => {
  test('settles as the promise does and leaves no listener behind', async () => {
    const { signal, listeners } = counting();
    await expect(untilAborted(Promise.resolve(1), signal)).resolves.toBe(1);
    await expect(untilAborted(Promise.reject(new Error('broken')), signal)).rejects.toThrow('broken');
    await expect(untilAborted(Promise.resolve(2), undefined)).resolves.toBe(2);
    expect(listeners()).toBe(0);
  });

  test('rejects with the reason of the abort while the promise is pending', async () => {
    const controller = new AbortController();
    const waiting = untilAborted(new Promise(() => {}), controller.signal);
    controller.abort(new Error('enough'));
    await expect(waiting).rejects.toThrow('enough');
  });

  test('rejects at once on an aborted signal, even if the promise has settled', async () => {
    const signal = AbortSignal.abort(new Error('enough'));
    await expect(untilAborted(Promise.resolve(1), signal)).rejects.toThrow('enough');
  });

  test('ignores a rejection that comes after the abort', async () => {
    const { promise, reject } = Promise.withResolvers<void>();
    await expect(untilAborted(promise, AbortSignal.abort(new Error('enough')))).rejects.toThrow('enough');
    reject(new Error('late'));
  });
});

describe('pause', () => {
  test('ends after its time', async () => {
    const clock = new ManualClock();
    const isOver = vi.fn();
    void pause(clock, 100).then(isOver);
    clock.advance(99);
    await settle();
    expect(isOver).not.toHaveBeenCalled();
    clock.advance(1);
    await settle();
    expect(isOver).toHaveBeenCalled();
  });

  test('ends at the abort, with its reason, and stops its timer', async () => {
    const clock = new ManualClock();
    const { controller, signal, listeners } = counting();
    const waiting = pause(clock, 100, signal);
    controller.abort(new Error('enough'));
    await expect(waiting).rejects.toThrow('enough');
    expect(clock.timerCount).toBe(0);
    expect(listeners()).toBe(0);
  });

  test('does not begin on an aborted signal', async () => {
    const clock = new ManualClock();
    await expect(pause(clock, 100, AbortSignal.abort(new Error('enough')))).rejects.toThrow('enough');
    expect(clock.timerCount).toBe(0);
  });
});
