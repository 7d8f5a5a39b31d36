import { ManualClock } from '@fame-fabric/shared/testing';
import { expect, test } from 'vitest';
import { CoarseClock } from '../session/coarse-clock.ts';
import { OutboundQueue } from '../session/outbound-queue.ts';
import { QueueBudget } from '../session/queue-budget.ts';
import { FakeTransport } from '../testing/fake-transport.ts';
import { makeTestParts } from '../testing/sentinel-parts.ts';
import { HopLatency } from './hop-latency.ts';

const countOf = ({ buckets }: HopLatency): number => buckets.counts.reduce((sum, count) => sum + count, 0);
const nextTurn = () => new Promise<void>((resolve) => setImmediate(resolve));

test('the router measures 1 of 61 messages, in the turn in which it forwards them', async () => {
  const { attach, counters, hops } = makeTestParts();
  attach('callee').bind('echo@fame.fabric');
  const { received } = counters;
  // Within the credit of each flow.
  for (let caller = 0; caller < 10; caller++) {
    const node = attach(`caller-${caller}`);
    for (let call = 0; call < 30; call++) node.call('echo@fame.fabric', `c${call}`);
  }
  await nextTurn();
  expect(counters.received - received).toBe(300);
  expect(countOf(hops)).toBeGreaterThanOrEqual(4);
  expect(countOf(hops)).toBeLessThanOrEqual(5);
  const { p50, p99 } = hops.take()!;
  expect(p50).toBeGreaterThan(0);
  expect(p99).toBeGreaterThanOrEqual(p50);
  expect(hops.take()).toBeNull();
});

test('the time in the outbound queue belongs to the latency of a message, and that of later messages does not', async () => {
  const budget = new QueueBudget({ queueBytes: 1_000_000, queueTotalBytes: 8_000_000 });
  const queue = new OutboundQueue(new CoarseClock(new ManualClock()), budget);
  const transport = new FakeTransport();
  queue.attach(transport, { hasPairFlows: true, hasByteCredit: false });
  transport.bufferedBytes = 1_000_000;
  const hops = new HopLatency();
  hops.startedAt = performance.now();
  for (const n of [1, 2]) queue.enqueue(Buffer.from(`message ${n}`), 'flow', false);
  hops.follow(queue, 'flow');
  queue.enqueue(Buffer.from('message 3'), 'flow', false);
  await nextTurn();
  expect(countOf(hops)).toBe(0);

  const sentAtRecord: number[] = [];
  queue.whenSent('flow', () => sentAtRecord.push(transport.sent.length));
  transport.bufferedBytes = 0;
  queue.flush();
  await nextTurn();
  // The second call found the first one waiting, and was dropped.
  expect(sentAtRecord).toEqual([]);
  expect(countOf(hops)).toBe(1);
  expect(transport.sent).toHaveLength(3);
});

test('samples lie in the buckets of their durations', () => {
  const hops = new HopLatency();
  for (const ms of [0.01, 0.3, 0.3, 20_000]) hops.record(ms);
  const { bounds, counts, sum } = hops.buckets;
  expect(counts[0]).toBe(1);
  expect(counts[bounds.indexOf(0.0005)]).toBe(2);
  expect(counts.at(-1)).toBe(1);
  expect(sum).toBeCloseTo(20.000_61, 5);
  expect(hops.take()).toEqual({ p50: 0.3, p99: 20_000 });
});
