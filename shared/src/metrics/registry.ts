// The only file that imports prom-client, and helpers for values that are kept as plain numbers and read at a scrape.
import { Counter, Gauge, Histogram, Registry } from 'prom-client';

export { Counter, Gauge, Histogram, Registry };

/** A value, or one value for each value of a label. */
export type Reading = number | Readonly<Record<string, number>>;

interface Readable {
  reset(): void;
}

/** Adds a gauge that is read at each scrape. */
export function gaugeOf(
  registry: Registry,
  name: string,
  help: string,
  read: () => Reading,
  label?: string,
): void {
  new Gauge({
    name,
    help,
    labelNames: label === undefined ? [] : [label],
    registers: [registry],
    collect() {
      fill(this, read(), label, (labels, value) => this.set(labels, value));
    },
  });
}

/** Adds a counter that is read at each scrape. `read` must never decrease. */
export function counterOf(
  registry: Registry,
  name: string,
  help: string,
  read: () => Reading,
  label?: string,
): void {
  new Counter({
    name,
    help,
    labelNames: label === undefined ? [] : [label],
    registers: [registry],
    collect() {
      fill(this, read(), label, (labels, value) => this.inc(labels, value));
    },
  });
}

function fill(
  metric: Readable,
  reading: Reading,
  label: string | undefined,
  put: (labels: Record<string, string>, value: number) => void,
): void {
  metric.reset();
  if (typeof reading === 'number') put({}, reading);
  else for (const [key, value] of Object.entries(reading)) put({ [label!]: key }, value);
}

/** Counts of a histogram that a hot path keeps as plain numbers. */
export interface BucketCounts {
  /** Upper bounds of the buckets, ascending. */
  readonly bounds: readonly number[];
  /** Count of each bucket, not cumulative. One more than `bounds`: the last is unbounded. */
  readonly counts: readonly number[];
  readonly sum: number;
}

/** Adds a histogram whose counts are read at each scrape. */
export function histogramOf(
  registry: Registry,
  name: string,
  help: string,
  { bounds }: BucketCounts,
  read: () => BucketCounts,
): void {
  const get = async () => {
    const { counts, sum } = read();
    let total = 0;
    const values: { metricName: string; labels: { le?: number | string }; value: number }[] = [];
    for (const [index, count] of counts.entries()) {
      total += count;
      values.push({ metricName: `${name}_bucket`, labels: { le: bounds[index] ?? '+Inf' }, value: total });
    }
    values.push({ metricName: `${name}_sum`, labels: {}, value: sum });
    values.push({ metricName: `${name}_count`, labels: {}, value: total });
    return { name, help, type: 'histogram', values, aggregator: 'sum' };
  };
  // A registry calls `get` of its metrics, and nothing else. A Histogram of prom-client could only be filled one value at a time.
  registry.registerMetric({ name, get } as unknown as Histogram);
}
