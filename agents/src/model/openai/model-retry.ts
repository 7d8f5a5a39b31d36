// When a model request is sent again, and after how long: what the server asks for in Retry-After, else doubling from half
// a second, with jitter, never longer than the cap.

export const MAX_ATTEMPTS = 4;
export const MAX_DELAY_MS = 20_000;
const FIRST_DELAY_MS = 500;

/** What of a response's headers is read here. */
export interface HeaderSource {
  get(name: string): string | null;
}

/** The wait a server asks for, in milliseconds: `retry-after-ms`, or `Retry-After` in seconds or as a date. */
export function retryAfterMs(headers: HeaderSource | undefined, nowMs: number): number | undefined {
  const ms = Number(headers?.get('retry-after-ms') ?? Number.NaN);
  if (Number.isFinite(ms) && ms >= 0) return ms;
  const text = headers?.get('retry-after')?.trim();
  if (!text) return undefined;
  const seconds = Number(text);
  if (Number.isFinite(seconds)) return seconds >= 0 ? seconds * 1000 : undefined;
  const date = Date.parse(text);
  return Number.isNaN(date) ? undefined : Math.max(0, date - nowMs);
}

/**
 * How long to wait before the next attempt, in milliseconds. A wait that the server asked for is kept, plus up to a tenth;
 * our own lies between half and the whole of its step. `random` gives numbers from 0 up to 1.
 */
export function delayMs(attempt: number, asked: number | undefined, random: () => number): number {
  if (asked !== undefined) return Math.min(MAX_DELAY_MS, asked * (1 + random() / 10));
  return Math.min(MAX_DELAY_MS, FIRST_DELAY_MS * 2 ** (attempt - 1)) * (0.5 + random() / 2);
}
