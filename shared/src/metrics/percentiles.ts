/** Percentiles of a duration, in ms. */
export interface Percentiles {
  readonly p50: number;
  readonly p99: number;
}

/** Rounds milliseconds to microseconds. */
export const roundMs = (ms: number): number => Math.round(ms * 1_000) / 1_000;

/** The percentiles of unsorted samples, rounded to microseconds; `null` without samples. */
export function percentilesOf(samples: readonly number[]): Percentiles | null {
  if (samples.length === 0) return null;
  const sorted = [...samples].sort((a, b) => a - b);
  const at = (share: number): number => roundMs(sorted[Math.ceil(sorted.length * share) - 1]!);
  return { p50: at(0.5), p99: at(0.99) };
}
