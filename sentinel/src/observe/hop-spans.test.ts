import type { TraceSpan, Tracing } from '@fame-fabric/shared/internal';
import { ManualClock } from '@fame-fabric/shared/testing';
import { expect, test } from 'vitest';
import { HopSpans } from './hop-spans.ts';

type Started = { name: string } & NonNullable<Parameters<Tracing['start']>[1]>;

const HOP = { from: '/S/a', to: '/S/b', address: 'b@fame.fabric' };

function recorder(): { tracing: Tracing; spans: Started[] } {
  const spans: Started[] = [];
  const span: TraceSpan = {
    traceparent: '',
    traceId: '',
    isRecording: true,
    set() {},
    run: (work) => work(),
    end() {},
  };
  return {
    spans,
    tracing: {
      start(name, options = {}) {
        spans.push({ name, ...options });
        return span;
      },
      active: () => undefined,
      caller: () => undefined,
    },
  };
}
const contextOf = (flags: string): string => `00-${'a'.repeat(32)}-${'b'.repeat(16)}-${flags}`;

test('only requests of sampled traces have a span, below that of their caller', () => {
  const { tracing, spans } = recorder();
  const hops = new HopSpans(tracing, new ManualClock());
  for (let flags = 0; flags < 256; flags++) {
    const context = contextOf(flags.toString(16).padStart(2, '0'));
    hops.record(Buffer.from(`"${context}"`), 1, HOP);
    const last = spans.at(-1);
    expect(last?.parent === context, `flags ${flags}`).toBe((flags & 1) === 1);
  }
  expect(spans).toHaveLength(128);
  expect(spans[0]).toMatchObject({
    name: 'route',
    attributes: { 'fame.address': 'b@fame.fabric', 'fame.hop.source': '/S/a', 'fame.hop.target': '/S/b' },
  });
});

test('a caller that marks every request as sampled causes at most 250 spans a second', () => {
  const { tracing, spans } = recorder();
  const clock = new ManualClock();
  const hops = new HopSpans(tracing, clock);
  const bytes = Buffer.from(contextOf('01'));
  for (let i = 0; i < 1_000; i++) hops.record(bytes, 0, HOP);
  expect(spans).toHaveLength(250);
  clock.advance(1_000);
  hops.record(bytes, 0, HOP);
  expect(spans).toHaveLength(251);
});

test('a text that is no trace context has no span', () => {
  const { tracing, spans } = recorder();
  const hops = new HopSpans(tracing, new ManualClock());
  hops.record(Buffer.from(`${'x'.repeat(54)}1`), 0, HOP);
  hops.record(Buffer.from(`00-${'0'.repeat(32)}-${'b'.repeat(16)}-01`), 0, HOP);
  expect(spans).toEqual([]);
});
