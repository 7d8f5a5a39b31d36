import { expect, test } from 'vitest';
import { makeTestParts } from '../testing/sentinel-parts.ts';
import { History } from './history.ts';

test('a sample has the counts of its interval, and the state at its end', () => {
  const fabric = makeTestParts();
  const [a, b] = [fabric.attach('a'), fabric.attach('b')];
  b.bind('echo@fame.fabric');
  const history = new History(fabric);
  history.sample();
  a.call('echo@fame.fabric', 'c1');
  a.call('echo@fame.fabric', 'c2');
  a.call('missing@fame.fabric', 'c3');
  fabric.clock.advance(5_000);
  history.sample();
  history.sample();
  const { intervalMs, samples } = history.view;
  expect(intervalMs).toBe(5_000);
  expect(samples).toHaveLength(3);
  expect(samples[1]).toMatchObject({
    t: fabric.clock.now(),
    messages: 2,
    openCalls: 2,
    attached: 2,
    queueBytes: 0,
    refusals: { NO_ROUTE: 1 },
    loopDelayMs: { p50: 0, p99: 0 },
  });
  expect(samples[1]!.bytes).toBeGreaterThan(100);
  history.stop();
  expect(samples[2]).toMatchObject({ messages: 0, bytes: 0, refusals: {}, openCalls: 2 });
});

test('the history ends after 15 minutes', () => {
  const parts = makeTestParts();
  const { clock } = parts;
  const history = new History(parts);
  const began = clock.now();
  for (let n = 0; n < 200; n++) {
    clock.advance(5_000);
    history.sample();
  }
  const { samples } = history.view;
  expect(samples).toHaveLength(180);
  expect([samples[0]!.t - began, samples.at(-1)!.t - began]).toEqual([105_000, 1_000_000]);
});
