import { expect, test } from 'vitest';
import type { Session } from './session.ts';
import { SilenceWheel } from './silence-wheel.ts';

const session = (path: string): Session => ({ path }) as Session;
const due = (wheel: SilenceWheel, sweeps: number): string[][] =>
  Array.from({ length: sweeps }, () => [...wheel.advance()].map(({ path }) => path));

test('a session is due once, in the sweep for which it was added', () => {
  const wheel = new SilenceWheel();
  wheel.add(session('/a'), 1);
  wheel.add(session('/b'), 3);
  wheel.add(session('/c'), 15);
  expect(due(wheel, 32).flatMap((paths, i) => paths.map((path) => [i + 1, path]))).toEqual([
    [1, '/a'],
    [3, '/b'],
    [15, '/c'],
  ]);
});

test('R22: a session that has ended is not kept until its sweep', () => {
  const wheel = new SilenceWheel();
  const ended = session('/ended');
  wheel.add(ended, 9);
  wheel.add(session('/other'), 9);
  wheel.remove(ended);
  expect(due(wheel, 16).flat()).toEqual(['/other']);
});
