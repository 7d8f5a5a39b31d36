// Distinguishes an explicit cancellation from a lost connection, after which the caller may return.
import { isFabricError } from '@fame-fabric/shared';

/** Abort reasons of lost connections and lost items, after which the caller may return for the rest. */
const LOSSES: ReadonlySet<unknown> = new Set(['caller-gone', 'link-closed', 'items-lost', 'bad-reply']);

/** True if the caller cancelled the call or its deadline has passed, false if its connection was lost or this agent stops. */
export function isCancelledByCaller(reason: unknown): boolean {
  if (!isFabricError(reason)) return !LOSSES.has(reason);
  if (reason.code === 'CALL_TIMEOUT') return true;
  return reason.code === 'CALL_CANCELLED' && !LOSSES.has(reason.details?.reason);
}
