import { ManualClock } from '@fame-fabric/shared/testing';
import { beforeEach, expect, test } from 'vitest';
import { ProgressReporter } from './progress.ts';

let clock: ManualClock;
let sent: { progress: number; total?: number; message?: string }[];
let reporter: ProgressReporter;
beforeEach(() => {
  clock = new ManualClock();
  sent = [];
  reporter = new ProgressReporter(async (progress) => void sent.push(progress), clock);
});

test('pieces of a text that arrive fast share a notification', async () => {
  for (const piece of ['a', 'b', 'c']) reporter.text(piece);
  await clock.run(250);
  reporter.text('d');
  expect(sent).toEqual([
    { progress: 0, message: 'a' },
    { progress: 1, message: 'bcd' },
  ]);
});

test('a step sends the text before it', () => {
  reporter.text('a');
  reporter.text('b');
  reporter.note('Calls search');
  expect(sent.map(({ message }) => message)).toEqual(['a', 'b', 'Calls search']);
});

test('numbers of an operation only rise', () => {
  for (const progress of [0, 50, 20, 50, 100]) reporter.value(progress, 100, undefined);
  expect(sent).toEqual([0, 50, 100].map((progress) => ({ progress, total: 100 })));
});

test('a fast stream of items is thinned out', async () => {
  for (let i = 0; i < 10_000; i++) reporter.note(`item ${i}`);
  expect(sent).toHaveLength(100);
  await clock.run(250);
  reporter.note('later');
  expect(sent.at(-1)).toEqual({ progress: 100, message: 'later' });
});

test('sends nothing after a failure', async () => {
  let attempts = 0;
  const broken = new ProgressReporter(async () => {
    attempts++;
    throw new Error('gone');
  }, clock);
  broken.note('one');
  await clock.run(1_000);
  broken.note('two');
  expect(attempts).toBe(1);
});
