// Retry keys: a caller sends a turn again under the same key when it does not know what became of it. A store keeps the latest turn
// of each key for a day. Both stores decide here if a request joins that turn.
import type { RetryRequest } from './store.ts';

/** Time for which the turn of a retry key is kept, in ms. */
export const RETRY_MS = 86_400_000;
/** Retry keys of one principal at one agent that a store keeps. Beyond it the oldest are forgotten early. */
export const MAX_RETRIES = 10_000;

/** The latest turn of a retry key. */
export interface RetriedTurn {
  readonly turnId: string;
  /** Time of its acceptance, in ms since the epoch. */
  readonly at: number;
  /** True if a retry started it, so that the first request may still arrive. */
  readonly isByRetry: boolean;
  /** Id of the first request that joined it; empty before. */
  readonly joinedBy: string;
}

/** True if the request joins the turn instead of running one of its own. */
export function joins(turn: RetriedTurn, { count, turnId, lateMs }: RetryRequest, now: number): boolean {
  // After a backward step of the clock the turn is of the future.
  const age = Math.abs(now - turn.at);
  if (age >= RETRY_MS) return false;
  if (count > 0) return true;
  // The message of a first request may arrive twice.
  if (turn.joinedBy !== '') return turn.joinedBy === turnId;
  return turn.isByRetry && age < lateMs;
}
