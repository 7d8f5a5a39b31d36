// Keys as nodes exchange them: JSON Web Keys of the curves Ed25519 for signatures and X25519 for encryption. Everything in a key of
// another node is checked before it is used or passed on.

/** A public key of a node. `sid` and `physical_path` are added by the sentinel that announces it. */
export interface Jwk {
  readonly kty: 'OKP';
  readonly crv: 'Ed25519' | 'X25519';
  /** The key, 32 bytes in base64url. */
  readonly x: string;
  readonly kid: string;
  readonly use: 'sig' | 'enc';
  readonly alg?: string | undefined;
  /** Certificates of the key, in base64. Passed on for nodes that verify them. */
  readonly x5c?: readonly string[] | undefined;
  readonly sid?: string | undefined;
  readonly physical_path?: string | undefined;
}

/** Longest list of keys that is read. */
const MAX_KEYS = 4;
/** Longest chain of certificates that is passed on, in characters. */
const MAX_CHAIN = 8_192;
const KID = /^[A-Za-z0-9_.:=-]{1,128}$/;
/** 32 bytes in base64url. */
const X = /^[A-Za-z0-9_-]{42}[AEIMQUYcgkosw048]$/;

/** True if a text may be the id of a key. */
export const isKid = (kid: unknown): kid is string => typeof kid === 'string' && KID.test(kid);

/** Reads one key. Returns `undefined` if it is not a key of a supported kind. Members that are not needed are dropped. */
function readJwk(value: unknown): Jwk | undefined {
  if (typeof value !== 'object' || value === null) return undefined;
  const { kty, crv, x, kid, use, alg, x5c } = value as Record<string, unknown>;
  if (kty !== 'OKP' || !isKid(kid) || typeof x !== 'string' || !X.test(x)) return undefined;
  if (!(crv === 'Ed25519' && use === 'sig') && !(crv === 'X25519' && use === 'enc')) return undefined;
  const jwk: Jwk = { kty, crv, x, kid, use, ...(typeof alg === 'string' && alg.length <= 32 ? { alg } : {}) };
  return isChain(x5c) ? { ...jwk, x5c } : jwk;
}

const isChain = (value: unknown): value is readonly string[] =>
  Array.isArray(value) &&
  value.length > 0 &&
  value.every((item) => typeof item === 'string' && /^[A-Za-z0-9+/=]+$/.test(item)) &&
  value.join('').length <= MAX_CHAIN;

/** Reads the keys of a frame. Keys of unsupported kinds, and those beyond the fourth, are left out. */
export function readJwks(value: unknown): readonly Jwk[] {
  if (!Array.isArray(value)) return [];
  return value.slice(0, MAX_KEYS).flatMap((item) => readJwk(item) ?? []);
}
