// The last minute of each node, from its counters: messages and bytes per second, and its refusals. The page samples the counters,
// because the sentinel keeps totals only.

/** Fields of a listed node that change with its traffic. */
export interface TrafficFields {
  readonly path: string;
  readonly traffic?: TrafficTotals | undefined;
  /** `t` in ms since the epoch. */
  readonly lastRefusal?: Refusal | undefined;
}

/** Totals since the attach of a node. `In` counts what the sentinel received from the node. */
interface TrafficTotals {
  readonly messagesIn: number;
  readonly bytesIn: number;
  readonly messagesOut: number;
  readonly bytesOut: number;
}

export interface Refusal {
  readonly code: string;
  readonly t: number;
}

/** Per second, during the last interval. */
export interface Rate {
  readonly messagesIn: number;
  readonly messagesOut: number;
  readonly bytes: number;
}

const NO_RATE: Rate = Object.freeze({ messagesIn: 0, messagesOut: 0, bytes: 0 });

/** Samples that are kept, one a second. */
export const HISTORY_SAMPLES = 60;
/** Refusals that are kept of each node. */
const MAX_REFUSALS = 10;

interface NodeRecord {
  totals: TrafficTotals;
  rate: Rate;
  /** Messages per second, in both directions. Absent until the first message. */
  ring: Float32Array | undefined;
  refusals: Refusal[];
  /** Number of the last sample that contained the node. */
  sampledIn: number;
}

export class NodeHistory {
  readonly #nodes = new Map<string, NodeRecord>();
  #count = 0;
  #sampledAt = 0;

  /** Adds a sample of all nodes; forgets nodes that are not in it. `now` is monotonic, in ms. */
  sample(nodes: Iterable<TrafficFields>, now: number): void {
    const seconds = Math.max(0.001, (now - this.#sampledAt) / 1000);
    this.#sampledAt = now;
    const slot = this.#count++ % HISTORY_SAMPLES;
    for (const { path, traffic, lastRefusal } of nodes) {
      if (traffic === undefined) continue;
      const known = this.#nodes.get(path);
      const record = known ?? newRecord(traffic);
      if (known === undefined) this.#nodes.set(path, record);
      record.sampledIn = this.#count;
      record.rate = rateBetween(record.totals, traffic, seconds);
      record.totals = traffic;
      const messages = record.rate.messagesIn + record.rate.messagesOut;
      if (messages > 0) record.ring ??= new Float32Array(HISTORY_SAMPLES);
      if (record.ring !== undefined) record.ring[slot] = messages;
      if (lastRefusal !== undefined && !isSame(lastRefusal, record.refusals[0])) {
        record.refusals = [lastRefusal, ...record.refusals].slice(0, MAX_REFUSALS);
      }
    }
    for (const [path, { sampledIn }] of this.#nodes) if (sampledIn !== this.#count) this.#nodes.delete(path);
  }

  rateOf(path: string): Rate {
    return this.#nodes.get(path)?.rate ?? NO_RATE;
  }

  /** Messages per second of the last minute, oldest first. Shorter while the page is younger than a minute. */
  messagesOf(path: string): number[] {
    const length = Math.min(this.#count, HISTORY_SAMPLES);
    const ring = this.#nodes.get(path)?.ring;
    if (ring === undefined) return new Array<number>(length).fill(0);
    const start = this.#count - length;
    return Array.from({ length }, (_, index) => ring[(start + index) % HISTORY_SAMPLES]!);
  }

  /** Refusals that this page has seen, newest first. */
  refusalsOf(path: string): readonly Refusal[] {
    return this.#nodes.get(path)?.refusals ?? [];
  }
}

/** The sentinel computes the time of a refusal anew for each list, so that it differs by some milliseconds. */
const isSame = ({ code, t }: Refusal, known: Refusal | undefined): boolean =>
  code === known?.code && Math.abs(t - known.t) < 500;

/** The first sample of a node has no rate: its totals may be hours old. */
const newRecord = (totals: TrafficTotals): NodeRecord => ({
  totals,
  rate: NO_RATE,
  ring: undefined,
  refusals: [],
  sampledIn: 0,
});

function rateBetween(before: TrafficTotals, after: TrafficTotals, seconds: number): Rate {
  // A new session of the node counts from zero.
  const base = after.messagesIn < before.messagesIn || after.messagesOut < before.messagesOut ? ZERO : before;
  const messagesIn = after.messagesIn - base.messagesIn;
  const messagesOut = after.messagesOut - base.messagesOut;
  if (messagesIn === 0 && messagesOut === 0) return NO_RATE;
  const bytes = after.bytesIn - base.bytesIn + after.bytesOut - base.bytesOut;
  return { messagesIn: messagesIn / seconds, messagesOut: messagesOut / seconds, bytes: bytes / seconds };
}

const ZERO: TrafficTotals = { messagesIn: 0, bytesIn: 0, messagesOut: 0, bytesOut: 0 };

/** Level of traffic on an edge, from 0 (none) to 4, one for each power of ten. */
export const trafficLevel = (messagesPerSecond: number): number =>
  messagesPerSecond <= 0 ? 0 : Math.min(4, Math.max(1, Math.floor(Math.log10(messagesPerSecond)) + 2));

/** Path data of a sparkline that fills `width` by `height`, scaled to its highest value. */
export function sparkline(values: readonly number[], width: number, height: number): string {
  if (values.length < 2) return '';
  const top = Math.max(...values, Number.MIN_VALUE);
  const step = width / (values.length - 1);
  return values
    .map((value, index) => {
      const y = height - (value / top) * height;
      return `${index === 0 ? 'M' : 'L'}${Math.round(index * step * 10) / 10},${Math.round(y * 10) / 10}`;
    })
    .join('');
}
