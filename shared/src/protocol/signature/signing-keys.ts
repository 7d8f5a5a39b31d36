// The keys of this node, and the public keys of others.
import { createPublicKey, generateKeyPairSync, type KeyObject } from 'node:crypto';
import { newId } from '../../ids.ts';
import { sidOf } from '../../sid.ts';
import type { Jwk } from './jwk.ts';

/** The private key with which a node signs, and its id. */
export interface SigningKey {
  readonly kid: string;
  readonly privateKey: KeyObject;
  readonly jwk: Jwk;
}

/** A public key of another node, and the path at which that node is attached. */
export interface VerifyKey {
  readonly kid: string;
  readonly path: string;
  /** The sid of the path. */
  readonly sid: string;
  readonly publicKey: KeyObject;
  readonly jwk: Jwk;
}

/** Creates a key pair. */
export function generateSigningKey(): SigningKey {
  return signingKeyOf(generateKeyPairSync('ed25519').privateKey, newId());
}

/** The signing key of a private Ed25519 key. */
export function signingKeyOf(privateKey: KeyObject, kid: string): SigningKey {
  const x = createPublicKey(privateKey).export({ format: 'jwk' }).x!;
  return { kid, privateKey, jwk: { kty: 'OKP', crv: 'Ed25519', x, alg: 'EdDSA', use: 'sig', kid } };
}

/** Prepares the public key of a node at `path` for verification. */
export function verifyKeyOf(jwk: Jwk, path: string): VerifyKey {
  const { kty, crv, x, kid } = jwk;
  return {
    kid,
    path,
    sid: sidOf(path),
    publicKey: createPublicKey({ key: { kty, crv, x }, format: 'jwk' }),
    jwk,
  };
}

/** A key as a KeyAnnounce contains it: with the path of its node. */
export const announcedJwk = (jwk: Jwk, path: string): Jwk => ({
  ...jwk,
  sid: sidOf(path),
  physical_path: path,
});
