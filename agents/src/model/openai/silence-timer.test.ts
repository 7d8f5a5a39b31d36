import { ManualClock } from '@fame-fabric/shared/testing';
import { expect, it, vi } from 'vitest';
import { SilenceTimer } from './silence-timer.ts';

function timer() {
  const clock = new ManualClock();
  const onSilent = vi.fn();
  return { clock, onSilent, silence: new SilenceTimer(clock, onSilent) };
}

it('fires once after the last expectation, not after an earlier one', () => {
  const { clock, onSilent, silence } = timer();
  silence.expect(100);
  clock.advance(90);
  silence.received();
  silence.expect(100);
  clock.advance(99);
  expect(onSilent).not.toHaveBeenCalled();
  clock.advance(1);
  expect(onSilent).toHaveBeenCalledOnce();
  clock.advance(1_000);
  expect(onSilent).toHaveBeenCalledOnce();
});

it('does not fire while nothing is expected, and again after a pause', () => {
  const { clock, onSilent, silence } = timer();
  silence.expect(100);
  silence.received();
  clock.advance(1_000);
  expect(onSilent).not.toHaveBeenCalled();
  silence.expect(100);
  clock.advance(100);
  expect(onSilent).toHaveBeenCalledOnce();
});

it('takes a shorter limit at once', () => {
  const { clock, onSilent, silence } = timer();
  silence.expect(1_000);
  silence.received();
  silence.expect(10);
  clock.advance(10);
  expect(onSilent).toHaveBeenCalledOnce();
});

it('sets one timer for many expectations, and none after its stop', () => {
  const { clock, onSilent, silence } = timer();
  for (let n = 0; n < 10; n += 1) {
    silence.expect(100);
    clock.advance(1);
    silence.received();
  }
  expect(clock.timerCount).toBe(1);
  silence.expect(100);
  silence.stop();
  expect(clock.timerCount).toBe(0);
  clock.advance(1_000);
  expect(onSilent).not.toHaveBeenCalled();
});
