import { expect, test } from 'vitest';
import type { HistorySample } from '../../fabric/history.ts';
import {
  type AgentSample,
  agentCharts,
  type Chart,
  chartSummary,
  highest,
  latest,
  mergeAgents,
  sentinelCharts,
  valueText,
} from './charts.ts';

const INTERVAL_MS = 5_000;
const START = 1_700_000_000_000;

const sample = (index: number, fields: Partial<HistorySample> = {}): HistorySample => ({
  t: START + index * INTERVAL_MS,
  messages: 100,
  bytes: 10_000,
  hopMs: { p50: 0.1, p99: 2 },
  openCalls: 3,
  queueBytes: 2_048,
  refusals: {},
  attached: 4,
  loopDelayMs: { p50: 1, p99: 5 },
  ...fields,
});
const agentSample = (index: number, fields: Partial<AgentSample> = {}): AgentSample => ({
  t: START + index * INTERVAL_MS,
  turns: 1,
  failed: 0,
  first_token_ms: { p50: 100, p99: 200 },
  tokens_in: 10,
  tokens_out: 5,
  ...fields,
});
const usd = (amount: number) => ({ amount, currency: 'USD' });
const find = (charts: Chart[], id: string): Chart => charts.find((chart) => chart.id === id)!;
const valuesOf = (charts: Chart[], id: string, label: string) =>
  find(charts, id).lines.find((line) => line.label === label)!.values;

test('counts of an interval become rates per second', () => {
  const charts = sentinelCharts([sample(0), sample(1, { messages: 500 })], INTERVAL_MS);
  expect(valuesOf(charts, 'messages', 'messages')).toEqual([20, 100]);
  expect(find(charts, 'messages').times).toEqual([START / 1000, START / 1000 + 5]);
});

test('an interval without messages has no latency', () => {
  const charts = sentinelCharts(
    [sample(0), sample(1, { messages: 0, hopMs: { p50: 0, p99: 0 } })],
    INTERVAL_MS,
  );
  expect(valuesOf(charts, 'hop', 'p99')).toEqual([2, null]);
  expect(latest(find(charts, 'hop').lines[1]!)).toBe(2);
});

test('a pause of the samples is a gap in every line', () => {
  const charts = sentinelCharts([sample(0), sample(1), sample(10)], INTERVAL_MS);
  expect(valuesOf(charts, 'calls', 'open calls')).toEqual([3, 3, null, 3]);
  expect(find(charts, 'calls').times.map((time) => time - START / 1000)).toEqual([0, 5, 10, 50]);
});

test('refusals are summed over a minute, and rare codes are combined', () => {
  const refusals = Object.fromEntries(Array.from({ length: 8 }, (_, index) => [`CODE_${index}`, 8 - index]));
  const samples = Array.from({ length: 14 }, (_, index) =>
    sample(index, { refusals: index === 0 ? refusals : {} }),
  );
  const charts = sentinelCharts(samples, INTERVAL_MS);
  const { lines } = find(charts, 'refusals');
  expect(lines.map(({ label }) => label)).toEqual(['CODE_0', 'CODE_1', 'CODE_2', 'CODE_3', '4 other codes']);
  expect(lines[0]!.values).toEqual([...new Array(12).fill(8), 0, 0]);
  expect(lines[4]!.values[0]).toBe(4 + 3 + 2 + 1);
});

test('without refusals the chart shows zero', () => {
  const charts = sentinelCharts([sample(0), sample(1)], INTERVAL_MS);
  expect(find(charts, 'refusals').lines).toEqual([{ label: 'refusals', values: [0, 0] }]);
});

test('samples of agents are added; the percentiles are those of the slowest', () => {
  const slow = { p50: 900, p99: 950 };
  const merged = mergeAgents(
    [
      [agentSample(0), agentSample(1)],
      [agentSample(0, { t: START + 1_200, first_token_ms: slow, cost: usd(0.5) })],
    ],
    INTERVAL_MS,
  );
  expect(merged).toHaveLength(2);
  expect(merged[0]).toMatchObject({
    turns: 2,
    tokens_in: 20,
    tokens_out: 10,
    first_token_ms: slow,
  });
  expect([...merged[0]!.costs]).toEqual([['USD', 0.5]]);
  expect([...merged[1]!.costs]).toEqual([]);
});

test('tokens and cost are per minute; the cost has a chart only with prices', () => {
  const priced = agentCharts(
    [[agentSample(0, { cost: usd(0.01) }), agentSample(1, { cost: usd(0.02) })]],
    INTERVAL_MS,
  );
  expect(valuesOf(priced, 'tokens', 'in')).toEqual([10, 20]);
  expect(valuesOf(priced, 'cost', 'USD')).toEqual([0.01, 0.03]);
  expect(agentCharts([[agentSample(0), agentSample(1)]], INTERVAL_MS).map(({ id }) => id)).toEqual([
    'turns',
    'first-token',
    'tokens',
  ]);
});

test('there are no charts without samples', () => {
  expect(sentinelCharts([], INTERVAL_MS)).toEqual([]);
  expect(sentinelCharts([sample(0)], INTERVAL_MS)).toEqual([]);
  expect(agentCharts([[agentSample(0)]], INTERVAL_MS)).toEqual([]);
  expect(agentCharts([[], []], INTERVAL_MS)).toEqual([]);
  const idle = { turns: 0, tokens_in: 0, tokens_out: 0, first_token_ms: null };
  expect(agentCharts([[agentSample(0, idle), agentSample(1, idle)]], INTERVAL_MS)).toEqual([]);
});

test.each([
  [null, 'ms', 'none'],
  [0, 'count', '0'],
  [1_234, 'per second', '1.2k/s'],
  [0.000_012_3, 'money per minute', '0.0000123/min'],
  [25_000, 'ms', '25 s'],
  [1_500, 'per minute', '1,500/min'],
  [1_536, 'bytes', '1.5 KiB'],
  [7 * 1024 ** 3, 'bytes', '7 GiB'],
] as const)('%s %s is written %s', (value, unit, text) => {
  expect(valueText(value, unit)).toBe(text);
});

test('the summary names the last values and the highest one', () => {
  const charts = sentinelCharts(
    [sample(0, { openCalls: 9 }), ...[1, 24].map((index) => sample(index))],
    INTERVAL_MS,
  );
  expect(highest(find(charts, 'calls'))).toBe(9);
  expect(chartSummary(find(charts, 'calls'))).toBe('Open calls: open calls 3. Highest in 2 minutes: 9.');
});
