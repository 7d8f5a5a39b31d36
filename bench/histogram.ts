// Times of an unlimited number of events in bounded memory, for long runs.

const BUCKET_MS = 0.1;
/** Longer times count as 60 s. */
const BUCKETS = 600_000;

/** Counts of buckets, by their index, as one process sends them to another. */
export type Counts = [bucket: number, count: number][];

/** Counts times in buckets of 0.1 ms. */
export class Histogram {
  readonly #counts = new Uint32Array(BUCKETS);
  #total = 0;

  get total(): number {
    return this.#total;
  }

  add(ms: number): void {
    const bucket = Math.min(BUCKETS - 1, Math.max(0, Math.floor(ms / BUCKET_MS)));
    this.#counts[bucket]! += 1;
    this.#total += 1;
  }

  merge(counts: Counts): void {
    for (const [bucket, count] of counts) {
      this.#counts[bucket]! += count;
      this.#total += count;
    }
  }

  /** Returns the counts and sets them to zero. */
  take(): Counts {
    const counts: Counts = [];
    for (const [bucket, count] of this.#counts.entries()) if (count > 0) counts.push([bucket, count]);
    this.#counts.fill(0);
    this.#total = 0;
    return counts;
  }

  /** Returns the upper bound of the bucket of percentile `p`, from 0 to 1, in ms, or NaN if there are no times. */
  percentile(p: number): number {
    let left = this.#total * p;
    for (const [bucket, count] of this.#counts.entries()) {
      left -= count;
      if (count > 0 && left <= 0) return (bucket + 1) * BUCKET_MS;
    }
    return Number.NaN;
  }
}
