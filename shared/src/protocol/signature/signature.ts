// Signs envelopes with Ed25519 and verifies their signatures. docs/protocol.md explains the fields.
import { sign, verify } from 'node:crypto';
import { FabricError } from '../../errors/error.ts';
import { sidOf } from '../../sid.ts';
import type { DataFrame, Envelope } from '../envelope.ts';
import { parseForPython } from './canonical-json.ts';
import { isKid } from './jwk.ts';
import { frameDigest, payloadDigest, type SignedHeader, signedText } from './signed-text.ts';
import type { SigningKey, VerifyKey } from './signing-keys.ts';

/** The member `sig` of `sec`. */
export interface SignatureHeader {
  readonly kid: string;
  /** The signature, 64 bytes in base64url without padding. */
  readonly val: string;
  readonly alg?: string | undefined;
}

/** Frames that are never signed: they are exchanged before keys are known, or say nothing about another node. */
const UNSIGNED = new Set<string>(['NodeAttach', 'NodeAttachAck', 'NodeHeartbeatAck', 'CreditUpdate']);

/** True if frames of this type carry a signature. */
export const isSignedType = (type: string): boolean => !UNSIGNED.has(type);

const SIGNATURE = /^[A-Za-z0-9_-]{86}$/;

/**
 * Signs an envelope in place, as the node at `path`: sets `sid`, `sec.sig` and, in a Data frame, the digest of the payload. Leaves
 * envelopes of unsigned types as they are.
 * @throws {PROTO_MALFORMED} if the frame has no JSON form
 */
export function signEnvelope(envelope: Envelope, { kid, privateKey }: SigningKey, path: string): void {
  const { frame } = envelope;
  if (!isSignedType(frame.type)) return;
  const sid = sidOf(path);
  envelope.sid = sid;
  let digest: string;
  try {
    digest = frame.type === 'Data' ? payloadDigest(frame.payload) : frameDigest(frame);
  } catch (cause) {
    throw new FabricError(
      'PROTO_MALFORMED',
      `The payload cannot be serialized as JSON: ${(cause as Error).message}`,
      { cause },
    );
  }
  if (frame.type === 'Data') frame.pd = digest;
  const val = sign(null, Buffer.from(signedText(sid, envelope, digest)), privateKey).toString('base64url');
  envelope.sec = { ...(envelope.sec as object | undefined), sig: { kid, val, alg: 'EdDSA' } };
}

/** Reads the signature of an envelope. Returns `undefined` if there is none of the expected form. */
export function readSignature(sec: unknown): SignatureHeader | undefined {
  if (typeof sec !== 'object' || sec === null) return undefined;
  const { sig } = sec as { sig?: unknown };
  if (typeof sig !== 'object' || sig === null) return undefined;
  const { kid, val, alg } = sig as Record<string, unknown>;
  if (!isKid(kid) || typeof val !== 'string' || !SIGNATURE.test(val)) return undefined;
  return alg === undefined || alg === null || alg === 'EdDSA' ? { kid, val, alg: 'EdDSA' } : undefined;
}

/** True if the signature covers this header and digest, and the header names the node of the key as its sender. */
export function isSignedBy(
  key: VerifyKey,
  { val }: SignatureHeader,
  header: SignedHeader,
  digest: string,
): boolean {
  if (header.sid !== key.sid) return false;
  const text = Buffer.from(signedText(key.sid, header, digest));
  return verify(null, text, key.publicKey, Buffer.from(val, 'base64url'));
}

/** True if `pd` of a Data frame is the digest of its payload. `bytes` is the message that contains the frame. */
function isPayloadIntact({ pd, payload }: DataFrame, bytes: Uint8Array): boolean {
  if (typeof pd !== 'string') return false;
  if (pd === payloadDigest(payload)) return isPlain(payload);
  // Python writes floats and integer keys in another form.
  const { frame } = parseForPython(Buffer.from(bytes).toString()) as { frame: DataFrame };
  return pd === payloadDigest(frame.payload, 'python');
}

/** False if JSON.stringify would write another value: it writes null for 1e400, and 0 for -0. */
const isPlain = (value: unknown): boolean =>
  typeof value === 'number'
    ? Number.isFinite(value) && !Object.is(value, -0)
    : typeof value !== 'object' || value === null || Object.values(value).every(isPlain);

/** True if an envelope is intact and was signed with this key. `bytes` is its message. */
export function verifyEnvelope(envelope: Envelope, bytes: Uint8Array, key: VerifyKey): boolean {
  const signature = readSignature(envelope.sec);
  if (signature === undefined || signature.kid !== key.kid) return false;
  const { frame } = envelope;
  if (frame.type !== 'Data') return isSignedBy(key, signature, envelope, frameDigest(frame));
  const { pd } = frame;
  return typeof pd === 'string' && isSignedBy(key, signature, envelope, pd) && isPayloadIntact(frame, bytes);
}
