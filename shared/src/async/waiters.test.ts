import { expect, it } from 'vitest';
import { Waiters } from './waiters.ts';

it('releases every waiter, each once', async () => {
  const waiters = new Waiters();
  const released: string[] = [];
  const first = waiters.wait().then(() => released.push('first'));
  const second = waiters.wait().then(() => released.push('second'));
  waiters.release();
  const third = waiters.wait().then(() => released.push('third'));
  await Promise.all([first, second]);
  expect(released).toEqual(['first', 'second']);
  waiters.release();
  await third;
});
