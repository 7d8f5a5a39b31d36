// The interface between a link and the signing of envelopes, which needs Node. `node-signatures.ts` implements it.
import type { Envelope } from '../protocol/envelope.ts';

/** A public key of another node or of the sentinel. */
export interface PeerKey {
  readonly kid: string;
  /** Path of its node. */
  readonly path: string;
  readonly sid: string;
}

/** Signs the envelopes of a link, and verifies those of others. */
export interface LinkSignatures {
  /** The public keys of this node, for NodeAttach. */
  readonly keys: readonly unknown[];
  /** Signs an envelope in place, as the node at `path`. @throws {PROTO_MALFORMED} if its payload has no JSON form */
  sign(envelope: Envelope, path: string): void;
  /** False for the frames that are never signed. */
  isSignedType(type: string): boolean;
  /** Reads the keys for signatures in a frame; `path` is that of their node. */
  readKeys(keys: readonly unknown[] | undefined, path: string): readonly PeerKey[];
  /** The id of the key with which an envelope was signed; `undefined` without a signature. */
  kidOf(envelope: Envelope): string | undefined;
  /** True if the envelope is intact and was signed with this key. `bytes` is its message. */
  verify(envelope: Envelope, bytes: Uint8Array, key: PeerKey): boolean;
}
