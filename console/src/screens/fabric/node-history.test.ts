import { expect, test } from 'vitest';
import { HISTORY_SAMPLES, NodeHistory, sparkline, trafficLevel } from './node-history.ts';

const node = (messagesIn: number, messagesOut = 0, path = '/s/a') => ({
  path,
  traffic: { messagesIn, bytesIn: messagesIn * 100, messagesOut, bytesOut: messagesOut * 100 },
});

test('rates are differences of totals per second; the first sample has none', () => {
  const history = new NodeHistory();
  history.sample([node(5_000)], 1_000);
  expect(history.rateOf('/s/a')).toEqual({ messagesIn: 0, messagesOut: 0, bytes: 0 });
  history.sample([node(5_010, 4)], 3_000);
  expect(history.rateOf('/s/a')).toEqual({ messagesIn: 5, messagesOut: 2, bytes: 700 });
  history.sample([node(5_010, 4)], 4_000);
  expect(history.rateOf('/s/a').messagesIn).toBe(0);
  expect(history.messagesOf('/s/a')).toEqual([0, 7, 0]);
});

test('a new session of the same node counts from zero', () => {
  const history = new NodeHistory();
  history.sample([node(5_000)], 1_000);
  history.sample([node(3)], 2_000);
  expect(history.rateOf('/s/a').messagesIn).toBe(3);
});

test('the last minute is kept, oldest first', () => {
  const history = new NodeHistory();
  let total = 0;
  for (let second = 0; second <= HISTORY_SAMPLES + 5; second++) {
    total += second;
    history.sample([node(total)], second * 1_000);
  }
  const messages = history.messagesOf('/s/a');
  expect(messages).toHaveLength(HISTORY_SAMPLES);
  expect([messages[0], messages.at(-1)]).toEqual([6, HISTORY_SAMPLES + 5]);
});

test('a node without a counter, or one that is not known, has no traffic; a node that left is forgotten', () => {
  const history = new NodeHistory();
  history.sample([{ path: '/s/old' }, node(1)], 0);
  history.sample([node(2, 0, '/s/b')], 1_000);
  history.sample([node(9), node(2, 0, '/s/b')], 2_000);
  expect(history.messagesOf('/s/old')).toEqual([0, 0, 0]);
  expect(history.rateOf('/s/a').messagesIn).toBe(0);
});

test('each refusal is kept once, newest first, ten at most', () => {
  const history = new NodeHistory();
  for (let t = 0; t < 12; t++) {
    const lastRefusal = { code: 'NO_ROUTE', t: t * 1_000 };
    history.sample([{ ...node(1), lastRefusal }], t * 1_000);
    history.sample([{ ...node(1), lastRefusal: { code: 'NO_ROUTE', t: t * 1_000 + 0.4 } }], t * 1_000 + 500);
  }
  expect(history.refusalsOf('/s/a').map(({ t }) => t / 1_000)).toEqual([11, 10, 9, 8, 7, 6, 5, 4, 3, 2]);
});

test('the level of traffic rises with each power of ten', () => {
  expect([0, 0.2, 1, 9, 10, 99, 100, 50_000].map(trafficLevel)).toEqual([0, 1, 2, 2, 3, 3, 4, 4]);
});

test('a sparkline is scaled to its highest value', () => {
  expect(sparkline([0, 5, 10], 100, 20)).toBe('M0,20L50,10L100,0');
  expect(sparkline([0, 0], 100, 20)).toBe('M0,20L100,20');
  expect(sparkline([1], 100, 20)).toBe('');
});
