import { expect, test } from 'vitest';
import { href, parseRoute } from './router.ts';

test('a link and the route that it opens have the same segments', () => {
  for (const args of [[], ['chat@fame.fabric'], ['a/b', 'ü%2F#?', '..']]) {
    expect(parseRoute(href('talk', ...args))).toEqual({ screen: 'talk', args });
  }
});

test.each([
  ['', { screen: '', args: [] }],
  ['#', { screen: '', args: [] }],
  ['#/', { screen: '', args: [] }],
  ['#trace', { screen: 'trace', args: [] }],
  ['#/talk//x/', { screen: 'talk', args: ['x'] }],
  ['#/talk/%E0%A4', { screen: 'talk', args: ['%E0%A4'] }],
])('the hash %j is read', (hash, route) => {
  expect(parseRoute(hash)).toEqual(route);
});
