// Signatures of a link in Node, with a key pair of its own.
import { readJwks } from '../protocol/signature/jwk.ts';
import {
  isSignedType,
  readSignature,
  signEnvelope,
  verifyEnvelope,
} from '../protocol/signature/signature.ts';
import { generateSigningKey, type VerifyKey, verifyKeyOf } from '../protocol/signature/signing-keys.ts';
import type { LinkSignatures, PeerKey } from './signatures.ts';

/** Creates a key pair, and signs with it. */
export function createLinkSignatures(): LinkSignatures {
  const key = generateSigningKey();
  return {
    keys: [key.jwk],
    sign: (envelope, path) => signEnvelope(envelope, key, path),
    isSignedType,
    readKeys: (keys, path) =>
      readJwks(keys)
        .filter(({ use }) => use === 'sig')
        .map((jwk) => verifyKeyOf(jwk, path)),
    kidOf: ({ sec }) => readSignature(sec)?.kid,
    verify: (envelope, bytes, peerKey: PeerKey) => verifyEnvelope(envelope, bytes, peerKey as VerifyKey),
  };
}
