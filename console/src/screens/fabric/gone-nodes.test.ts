import { expect, test } from 'vitest';
import { GONE_MS, GoneNodes } from './gone-nodes.ts';

const map = (...paths: string[]) => new Map(paths.map((path) => [path, { path }]));

test('a node that left is shown for some seconds, unless it returns', () => {
  const gone = new GoneNodes();
  const at = (now: number, ...paths: string[]) => gone.update(map(...paths), now).map(({ path }) => path);
  expect(at(0, '/a', '/b')).toEqual([]);
  expect(at(1_000, '/a')).toEqual(['/b']);
  expect(at(1_000 + GONE_MS, '/a')).toEqual(['/b']);
  expect(at(1_001 + GONE_MS, '/a')).toEqual([]);
  expect(at(20_000)).toEqual(['/a']);
  expect(at(21_000, '/a')).toEqual([]);
});

test('after many nodes left at once, the graph shows some of them', () => {
  const gone = new GoneNodes();
  const paths = Array.from({ length: 2_000 }, (_, index) => `/${index}`);
  gone.update(map(...paths), 0);
  expect(gone.update(map(), 1_000)).toHaveLength(20);
});
