// Signed envelopes: the security profile `overlay`. Needs Node. A process without the profile does not load it.
import './env/require-node.ts';

export { createLinkSignatures } from './link/node-signatures.ts';
export { isKid, type Jwk, readJwks } from './protocol/signature/jwk.ts';
export {
  isSignedBy,
  isSignedType,
  readSignature,
  type SignatureHeader,
  signEnvelope,
  verifyEnvelope,
} from './protocol/signature/signature.ts';
export { readSignedData, type SignedData } from './protocol/signature/signed-data.ts';
export { frameDigest, type SignedHeader } from './protocol/signature/signed-text.ts';
export {
  announcedJwk,
  generateSigningKey,
  type SigningKey,
  signingKeyOf,
  type VerifyKey,
  verifyKeyOf,
} from './protocol/signature/signing-keys.ts';
