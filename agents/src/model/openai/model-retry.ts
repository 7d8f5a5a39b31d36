// The delay before a model request is retried: the server's Retry-After, or else an exponential backoff with jitter.
import { backoffDelayMs } from '@fame-fabric/shared/internal';

export const MAX_ATTEMPTS = 4;
export const MAX_DELAY_MS = 20_000;
const FIRST_DELAY_MS = 500;

/** Read access to the headers of a response. */
export interface HeaderSource {
  get(name: string): string | null;
}

/** Returns the wait that a server requests, in ms: `retry-after-ms`, or `Retry-After` in seconds or as a date. */
export function retryAfterMs(headers: HeaderSource | undefined, nowMs: number): number | undefined {
  const ms = Number(headers?.get('retry-after-ms') ?? Number.NaN);
  if (Number.isFinite(ms) && ms >= 0) return ms;
  const text = headers?.get('retry-after')?.trim();
  if (!text) return undefined;
  const seconds = Number(text);
  if (Number.isFinite(seconds)) return seconds >= 0 ? seconds * 1_000 : undefined;
  const date = Date.parse(text);
  return Number.isNaN(date) ? undefined : Math.max(0, date - nowMs);
}

/**
 * Returns the delay after attempt `attempt` (from 1), in ms. A wait that the server requested is extended by up to a tenth.
 * `random` returns numbers from 0 up to 1.
 */
export function delayMs(attempt: number, requestedMs: number | undefined, random: () => number): number {
  if (requestedMs !== undefined) return Math.min(MAX_DELAY_MS, requestedMs * (1 + random() / 10));
  return backoffDelayMs(attempt - 1, { minMs: FIRST_DELAY_MS, maxMs: MAX_DELAY_MS, random });
}
