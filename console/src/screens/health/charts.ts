// Turns the samples of a sentinel and of agents into the charts of the screen Health.
import type { HistorySample } from '../../fabric/history.ts';
import { bytesText, countText, durationText, rateText } from '../../parts/format.ts';

interface Percentiles {
  readonly p50: number;
  readonly p99: number;
}

/** Interval of an agent, as its operation `read_statistics` reports it. */
export interface AgentSample {
  /** End of the interval, in ms since the epoch. */
  readonly t: number;
  readonly turns: number;
  readonly failed: number;
  /** Null or absent if no turn produced a token. */
  readonly first_token_ms?: Percentiles | null | undefined;
  readonly tokens_in: number;
  readonly tokens_out: number;
  /** Absent if no prices are set. */
  readonly cost?: { readonly amount: number; readonly currency: string } | undefined;
}

export type Unit = 'per second' | 'per minute' | 'ms' | 'bytes' | 'count' | 'money per minute';

export interface Line {
  readonly label: string;
  /** One value a time; null where there is none. */
  readonly values: readonly (number | null)[];
}

export interface Chart {
  readonly id: string;
  readonly title: string;
  readonly unit: Unit;
  /** Seconds since the epoch, ascending. */
  readonly times: readonly number[];
  readonly lines: readonly Line[];
}

const MINUTE_MS = 60_000;
/** Codes with a line of their own. */
const MAX_CODES = 5;

/** Charts of the sentinel. Empty with fewer than two samples, which make no line. */
export function sentinelCharts(samples: readonly HistorySample[], intervalMs: number): Chart[] {
  if (samples.length < 2) return [];
  const rows = withGaps(samples, intervalMs);
  const times = timesOf(rows, intervalMs);
  const line = (label: string, value: (sample: HistorySample) => number | null | undefined): Line => ({
    label,
    values: rows.map((sample) => (sample === undefined ? null : (value(sample) ?? null))),
  });
  const chart = (id: string, title: string, unit: Unit, lines: Line[]): Chart => ({
    id,
    title,
    unit,
    times,
    lines,
  });
  const perSecond = (count: number): number => (count * 1000) / intervalMs;
  return [
    chart('messages', 'Messages', 'per second', [line('messages', ({ messages }) => perSecond(messages))]),
    chart('hop', 'Time in the router', 'ms', [
      line('p50', ({ hopMs, messages }) => (messages === 0 ? null : hopMs?.p50)),
      line('p99', ({ hopMs, messages }) => (messages === 0 ? null : hopMs?.p99)),
    ]),
    chart('calls', 'Open calls', 'count', [line('open calls', ({ openCalls }) => openCalls)]),
    chart('queues', 'Queues', 'bytes', [line('queued', ({ queueBytes }) => queueBytes)]),
    chart('refusals', 'Refusals by code', 'per minute', refusalLines(rows, intervalMs)),
    chart('loop', 'Event loop delay', 'ms', [
      line('p50', ({ loopDelayMs }) => loopDelayMs?.p50),
      line('p99', ({ loopDelayMs }) => loopDelayMs?.p99),
    ]),
    chart('nodes', 'Attached nodes', 'count', [line('nodes', ({ attached }) => attached)]),
  ];
}

/** Refusals of the last minute: the most frequent codes, then all others together. */
function refusalLines(rows: readonly (HistorySample | undefined)[], intervalMs: number): Line[] {
  const totals = new Map<string, number>();
  for (const row of rows) {
    for (const [code, count] of Object.entries(row?.refusals ?? {}))
      totals.set(code, (totals.get(code) ?? 0) + count);
  }
  const codes = [...totals].sort((a, b) => b[1] - a[1] || (a[0] < b[0] ? -1 : 1)).map(([code]) => code);
  const shown = codes.length > MAX_CODES ? codes.slice(0, MAX_CODES - 1) : codes;
  const others = codes.slice(shown.length);
  const of = (label: string, members: readonly string[]): Line => ({
    label,
    values: lastMinute(
      rows.map((row) => row && members.reduce((sum, code) => sum + (row.refusals[code] ?? 0), 0)),
      intervalMs,
    ),
  });
  if (codes.length === 0) return [of('refusals', [])];
  const lines = shown.map((code) => of(code, [code]));
  return others.length === 0 ? lines : [...lines, of(`${others.length} other codes`, others)];
}

/** Charts of agents, summed over `agents`. The cost has a chart only if an agent reports one. Empty without a turn, and with fewer than two samples. */
export function agentCharts(agents: readonly (readonly AgentSample[])[], intervalMs: number): Chart[] {
  const samples = mergeAgents(agents, intervalMs);
  if (samples.length < 2 || samples.every(({ turns, tokens_out }) => turns === 0 && tokens_out === 0))
    return [];
  const rows = withGaps(samples, intervalMs);
  const times = timesOf(rows, intervalMs);
  const perSecond = (label: string, count: (sample: MergedSample) => number): Line => ({
    label,
    values: rows.map((row) => (row === undefined ? null : (count(row) * 1000) / intervalMs)),
  });
  const perMinute = (label: string, count: (sample: MergedSample) => number): Line => ({
    label,
    values: lastMinute(
      rows.map((row) => row && count(row)),
      intervalMs,
    ),
  });
  const charts: Chart[] = [
    {
      id: 'turns',
      title: 'Turns',
      unit: 'per second',
      times,
      lines: [perSecond('ended', ({ turns }) => turns), perSecond('failed', ({ failed }) => failed)],
    },
    {
      id: 'first-token',
      title: 'Time to first token',
      unit: 'ms',
      times,
      lines: (['p50', 'p99'] as const).map((label) => ({
        label,
        values: rows.map((row) => row?.first_token_ms?.[label] ?? null),
      })),
    },
    {
      id: 'tokens',
      title: 'Tokens',
      unit: 'per minute',
      times,
      lines: [
        perMinute('in', ({ tokens_in }) => tokens_in),
        perMinute('out', ({ tokens_out }) => tokens_out),
      ],
    },
  ];
  const currencies = [...new Set(samples.flatMap(({ costs }) => [...costs.keys()]))].sort();
  if (currencies.length > 0) {
    charts.push({
      id: 'cost',
      title: 'Cost',
      unit: 'money per minute',
      times,
      lines: currencies.map((currency) => perMinute(currency, ({ costs }) => costs.get(currency) ?? 0)),
    });
  }
  return charts;
}

interface MergedSample extends Omit<AgentSample, 'cost'> {
  /** Amounts by currency. */
  readonly costs: ReadonlyMap<string, number>;
}

/**
 * Adds up the samples of agents, whose intervals begin at different times. Percentiles cannot be added: the result has those of the
 * slowest agent of each interval.
 */
export function mergeAgents(agents: readonly (readonly AgentSample[])[], intervalMs: number): MergedSample[] {
  const merged = new Map<number, MergedSample>();
  for (const { cost, ...sample } of agents.flat()) {
    const slot = Math.floor(sample.t / intervalMs);
    const costs = new Map(cost ? [[cost.currency, cost.amount]] : []);
    const known = merged.get(slot);
    merged.set(slot, known ? sum(known, { ...sample, costs }) : { ...sample, costs, t: slot * intervalMs });
  }
  return [...merged.values()].sort((a, b) => a.t - b.t);
}

function sum(a: MergedSample, b: MergedSample): MergedSample {
  const costs = new Map(a.costs);
  for (const [currency, amount] of b.costs) costs.set(currency, (costs.get(currency) ?? 0) + amount);
  return {
    t: a.t,
    turns: a.turns + b.turns,
    failed: a.failed + b.failed,
    first_token_ms: slowest(a.first_token_ms, b.first_token_ms),
    tokens_in: a.tokens_in + b.tokens_in,
    tokens_out: a.tokens_out + b.tokens_out,
    costs,
  };
}

function slowest(a: AgentSample['first_token_ms'], b: AgentSample['first_token_ms']) {
  if (!a || !b) return a ?? b;
  return { p50: Math.max(a.p50, b.p50), p99: Math.max(a.p99, b.p99) };
}

/** Puts an empty row into each pause, as after a restart, so that no line is drawn across it. */
function withGaps<Sample extends { readonly t: number }>(
  samples: readonly Sample[],
  intervalMs: number,
): (Sample | undefined)[] {
  return samples.flatMap((sample, index) => {
    const before = samples[index - 1];
    return before !== undefined && sample.t - before.t > 2.5 * intervalMs ? [undefined, sample] : [sample];
  });
}

/** Seconds of each row. An empty row follows the row before it by one interval. */
function timesOf(rows: readonly ({ readonly t: number } | undefined)[], intervalMs: number): number[] {
  return rows.map((row, index) => (row?.t ?? rows[index - 1]!.t + intervalMs) / 1000);
}

/** Sums over the minute that ends at each row. A row of a younger history counts the time since its start. */
function lastMinute(counts: readonly (number | undefined)[], intervalMs: number): (number | null)[] {
  const length = Math.max(1, Math.round(MINUTE_MS / intervalMs));
  let total = 0;
  return counts.map((count, index) => {
    total += (count ?? 0) - (counts[index - length] ?? 0);
    return count === undefined ? null : total;
  });
}

/** Last value of a line. Null if there is none. */
export const latest = ({ values }: Line): number | null => values.findLast((value) => value !== null) ?? null;

/** Highest value of a chart. Null if there is none. */
export function highest({ lines }: Chart): number | null {
  let top: number | null = null;
  for (const { values } of lines) {
    for (const value of values) if (value !== null && (top === null || value > top)) top = value;
  }
  return top;
}

/** Text of a value with its unit, short enough for an axis. */
export function valueText(value: number | null, unit: Unit): string {
  if (value === null) return 'none';
  if (unit === 'bytes') return bytesText(value);
  if (unit === 'ms') return durationText(value);
  if (unit === 'per second') return rateText(value);
  // Three significant digits, so that a cost of a fraction of a cent is not zero.
  if (unit === 'money per minute') return `${Number(value.toPrecision(3))}/min`;
  return unit === 'per minute' ? `${countText(value)}/min` : countText(value);
}

/** Description of a chart for screen readers: its last values and its highest. */
export function chartSummary(chart: Chart): string {
  const now = chart.lines.map((line) => `${line.label} ${valueText(latest(line), chart.unit)}`).join(', ');
  const minutes = Math.max(1, Math.round((chart.times.at(-1)! - chart.times[0]!) / 60));
  const span = `${minutes} ${minutes === 1 ? 'minute' : 'minutes'}`;
  return `${chart.title}: ${now}. Highest in ${span}: ${valueText(highest(chart), chart.unit)}.`;
}
