import { expect, test } from 'vitest';
import { JOBS_PER_TURN, JobSlices } from './job-slices.ts';

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

test('jobs run in order, a bounded number in each turn of the event loop', async () => {
  const slices = new JobSlices();
  const ran: number[] = [];
  for (let n = 0; n < 3 * JOBS_PER_TURN - 1; n++) slices.run(() => ran.push(n));
  expect(ran).toEqual([]);
  for (const count of [JOBS_PER_TURN, 2 * JOBS_PER_TURN, 3 * JOBS_PER_TURN - 1]) {
    await turn();
    expect(ran).toHaveLength(count);
  }
  expect(ran).toEqual(ran.toSorted((a, b) => a - b));
});

test('a job that runs others, which begin in a later turn', async () => {
  const slices = new JobSlices();
  const ran: string[] = [];
  slices.run(() => {
    ran.push('first');
    slices.run(() => ran.push('second'));
  });
  await turn();
  expect(ran).toEqual(['first']);
  await turn();
  expect(ran).toEqual(['first', 'second']);
});
