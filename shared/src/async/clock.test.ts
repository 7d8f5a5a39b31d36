import { execFileSync } from 'node:child_process';
import { expect, it, vi } from 'vitest';
import { ManualClock } from '../testing/manual-clock.ts';
import { systemClock } from './clock.ts';

it('systemClock returns the time, and its timers fire once, repeatedly, or not at all when stopped', async () => {
  expect(Math.abs(systemClock.now() - Date.now())).toBeLessThan(1_000);
  let stopped = 0;
  systemClock.after(0, () => stopped++).stop();
  await new Promise<void>((resolve) => systemClock.after(0, resolve, { keepAlive: true }));
  let ticks = 0;
  await new Promise<void>((resolve) => {
    const timer = systemClock.every(1, () => {
      if (++ticks < 3) return;
      timer.stop();
      resolve();
    });
  });
  expect([ticks, stopped]).toEqual([3, 0]);
});

it('a timer of systemClock keeps the process alive only with keepAlive', () => {
  const run = (options: string): string =>
    execFileSync(process.execPath, [
      '--input-type=module',
      '--eval',
      `import { systemClock } from ${JSON.stringify(new URL('./clock.ts', import.meta.url).href)};
       systemClock.after(100, () => console.log('fired')${options});`,
    ]).toString();
  expect(run('')).toBe('');
  expect(run(', { keepAlive: true }')).toBe('fired\n');
});

it('HD11: the monotonic time of systemClock does not follow the wall clock', () => {
  const before = systemClock.monotonic();
  const wall = Date.now();
  vi.spyOn(Date, 'now').mockReturnValue(wall - 86_400_000);
  expect(systemClock.now()).toBe(wall - 86_400_000);
  expect(systemClock.monotonic() - before).toBeGreaterThanOrEqual(0);
  vi.spyOn(Date, 'now').mockReturnValue(wall + 86_400_000);
  expect(systemClock.monotonic() - before).toBeLessThan(60_000);
});

it('the wall time of a ManualClock can be stepped alone', () => {
  const clock = new ManualClock(1_000);
  let fired = 0;
  clock.after(10, () => fired++);
  clock.stepWall(-500);
  expect([clock.now(), clock.monotonic()]).toEqual([500, 0]);
  clock.advance(9);
  expect(fired).toBe(0);
  clock.advance(1);
  expect([clock.now(), clock.monotonic(), fired]).toEqual([510, 10, 1]);
});

it('ManualClock fires its timers in order of time, including those set while it advances', () => {
  const clock = new ManualClock(1_000);
  const fired: string[] = [];
  clock.after(20, () => fired.push(`b ${clock.now()}`));
  clock.after(10, () => {
    fired.push(`a ${clock.now()}`);
    clock.after(5, () => fired.push(`a2 ${clock.now()}`));
  });
  const every = clock.every(8, () => fired.push(`e ${clock.now()}`));
  clock.after(12, () => fired.push('never')).stop();
  clock.advance(20);
  expect(fired).toEqual(['e 1008', 'a 1010', 'a2 1015', 'e 1016', 'b 1020']);
  expect(clock.timerCount).toBe(1);
  every.stop();
  expect(clock.timerCount).toBe(0);
});
