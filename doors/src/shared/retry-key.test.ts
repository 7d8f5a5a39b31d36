import { expect, test } from 'vitest';
import { newTurnId, type RepeatedRequest, readTurnId, retryOf } from './retry-key.ts';

const request = (more: Partial<RepeatedRequest> = {}) =>
  retryOf({ headers: {}, principal: 'ada', path: '/v1/x', body: { b: [1, { d: 1, c: 2 }], a: 1 }, ...more });

test('the key of a request depends on caller, path and body, and not on the order of fields', () => {
  const { key, body, count } = request();
  expect(count).toBe(0);
  expect(key).toMatch(/^[\w-]{22}$/);
  expect(request({ body: { a: 1, b: [1, { c: 2, d: 1 }] } })).toEqual({ key, body, count });
  for (const other of [{ principal: 'bea' }, { path: '/v1/y' }, { body: { a: 1 } }])
    expect(request(other).key).not.toBe(key);
});

test('different bodies have different hashes', () => {
  const bodies = [
    ...[1, '1', '1,', true, 'true', null, 'null', '', 12, -1, 1.5],
    ...[[], [[]], [[], []], [''], [1], ['1'], [1, 2], [12], ['1', '2'], ['12'], ['1,2'], ['a', 1]],
    ...[{}, { a: 1 }, { a: '1' }, { a: [1] }, { a: { b: 1 } }, { 'a:b': 1 }, { a: 1, b: 1 }, { a: {}, b: 1 }],
    ...[{ __proto__: null, a: 2 }, JSON.parse('{"__proto__":1}')],
  ];
  expect(new Set(bodies.map((body) => request({ body }).body)).size).toBe(bodies.length);
});

test.each([
  ['2', 2],
  ['0', 0],
  ['-1', 0],
  ['1.5', 0],
  ['x', 0],
  ['9999999', 1_000_000],
  ['99999999999', 0],
])('a retry count %s is %d', (header, count) => {
  expect(request({ headers: { 'x-stainless-retry-count': header } }).count).toBe(count);
});

test('an Idempotency-Key is the key, and always joins', () => {
  const headers = { 'idempotency-key': 'k' };
  const first = request({ headers });
  const other = request({ headers, body: {} });
  expect(first.count).toBe(1);
  expect([other.key, other.body === first.body]).toEqual([first.key, false]);
  expect(request({ headers: { ...headers, 'x-stainless-retry-count': '2' } }).count).toBe(2);
  expect(() => request({ headers: { 'idempotency-key': 'x'.repeat(257) } })).toThrow('more than 256');
});

test('a deeply nested body is refused', () => {
  const body = JSON.parse('['.repeat(100_000) + ']'.repeat(100_000));
  expect(() => request({ body })).toThrow(expect.objectContaining({ code: 'PARAMS_INVALID' }));
});

test('the id of a turn has the key and the body of its request', () => {
  const retry = request();
  const id = newTurnId(retry, true);
  expect(readTurnId(id)).toEqual({
    key: retry.key,
    body: retry.body,
    hasHistory: true,
    random: expect.any(String),
  });
  expect(newTurnId(retry, true)).not.toBe(id);
  expect(readTurnId(newTurnId(retry, false, 'abc'))).toMatchObject({ hasHistory: false, random: 'abc' });
  for (const other of ['', 'abc', `${id}!`, id.slice(1)]) expect(readTurnId(other)).toBeUndefined();
});
