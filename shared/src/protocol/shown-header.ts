// The header of an envelope for a log or a terminal. Only the known fields are shown, each cut to a bound: other nodes may add
// fields with any content of any size.
import { cutText } from '../text/cut-text.ts';
import type { Envelope } from './envelope.ts';
import { LIMITS } from './limits.ts';

const FIELDS = [
  'version',
  'id',
  'sid',
  'traceId',
  'to',
  'replyTo',
  'capabilities',
  'rtype',
  'corrId',
  'flowId',
  'seqId',
  'flowFlags',
  'ttl',
  'priority',
  'ts',
] as const;
/** Longest list that is shown. */
const MAX_ITEMS = 8;

/** The known header fields, without `sec`, `aft` and `meta`, which may hold content. */
export function shownHeader(envelope: Envelope): Record<string, unknown> {
  const header: Record<string, unknown> = {};
  for (const field of FIELDS) {
    const value = shownValue(envelope[field]);
    if (value !== undefined) header[field] = value;
  }
  return header;
}

/** A text, a number or a list of texts, cut to a bound. `undefined` for any other value. */
export function shownValue(value: unknown): unknown {
  if (typeof value === 'string') return cutText(value, LIMITS.maxIdBytes);
  if (typeof value === 'number' || typeof value === 'boolean' || value === null) return value;
  if (!Array.isArray(value) || !value.every((item) => typeof item === 'string')) return undefined;
  const shown = value.slice(0, MAX_ITEMS).map(shownValue);
  return value.length > MAX_ITEMS ? [...shown, `… ${value.length - MAX_ITEMS} more`] : shown;
}
