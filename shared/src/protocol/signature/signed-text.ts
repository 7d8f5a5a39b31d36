// The text that the signature of an envelope covers: the sid of the signer, eight header fields, and a digest of the frame. Fields
// that a hop may change are not covered: `flowId`, `seqId`, `flowFlags`, `rtype`, `ttl`, `priority`, `ts` and `meta`.
import { sidOf } from '../../sid.ts';
import type { EnvelopeHeader, Frame } from '../envelope.ts';
import { type CanonicalForm, canonicalJson } from './canonical-json.ts';

/** The header fields that a signature covers. */
export type SignedHeader = Pick<
  EnvelopeHeader,
  'version' | 'sid' | 'traceId' | 'to' | 'replyTo' | 'capabilities' | 'corrId'
> & { readonly id?: string | undefined };

/** The separator of the parts of the signed text. */
const UNIT_SEPARATOR = '\x1f';

/** Digest of a text: base62 of the first 16 bytes of its SHA-256, the function that also makes sids. */
const digestOf: (text: string) => string = sidOf;

/** The text to sign. `sid` is that of the signer's path, `digest` that of the frame. */
export function signedText(sid: string, header: SignedHeader, digest: string): string {
  // The keys in sorted order.
  const text = JSON.stringify({
    capabilities: header.capabilities ?? null,
    corr_id: header.corrId ?? null,
    id: header.id,
    reply_to: header.replyTo || null,
    sid: header.sid ?? null,
    to: header.to || null,
    trace_id: header.traceId ?? null,
    version: header.version,
  });
  return `${sid}${UNIT_SEPARATOR}${text}${UNIT_SEPARATOR}${digest}`;
}

/** The digest of the payload of a Data frame, its field `pd`. */
export function payloadDigest(payload: unknown, form: CanonicalForm = 'js'): string {
  const isEmpty = payload === null || payload === undefined || (form === 'js' && payload === '');
  return digestOf(isEmpty ? '' : canonicalJson(payload, form));
}

/** The digest of any other frame. */
export const frameDigest = (frame: Frame): string => digestOf(canonicalJson(withoutNulls(frame)));

function withoutNulls(value: unknown): unknown {
  if (Array.isArray(value)) {
    return value.filter((item) => item !== null && item !== undefined).map(withoutNulls);
  }
  if (typeof value !== 'object' || value === null) return value;
  const entries = Object.entries(value).filter(([, item]) => item !== null && item !== undefined);
  return Object.fromEntries(entries.map(([key, item]) => [key, withoutNulls(item)]));
}
