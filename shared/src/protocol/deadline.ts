// The time limit of a call, which travels in the metadata of its request. It is relative, because the clocks of two machines differ.
import type { EnvelopeHeader } from './envelope.ts';

/** Key of the metadata: remaining time of the call, in ms. Our extension. */
export const TIMEOUT_META = 'timeout-ms';

/** Reads the remaining time of a call, in ms. Returns `undefined` if it has none. */
export function timeoutOf(meta: EnvelopeHeader['meta'] | null): number | undefined {
  const value = meta?.[TIMEOUT_META];
  return typeof value === 'number' && Number.isSafeInteger(value) && value >= 0 ? value : undefined;
}
