// The key pairs of this sentinel: Ed25519 for signatures, and X25519, whose public key nodes with end-to-end encryption expect. They
// are kept in the data directory, so that a restarted sentinel is known to its parent and peers.
import { createPrivateKey, createPublicKey, generateKeyPairSync, type JsonWebKey } from 'node:crypto';
import { existsSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { createPrivateFile, FabricError, isOpenToOthers, newId } from '@fame-fabric/shared/router';
import { type Jwk, readJwks, type SigningKey, signingKeyOf } from '@fame-fabric/shared/signature';

export interface SentinelKeys {
  readonly signing: SigningKey;
  /** The public keys, as NodeAttachAck contains them. */
  readonly jwks: readonly Jwk[];
}

interface StoredKeys {
  readonly signing: JsonWebKey & { readonly kid: string };
  readonly encryption: JsonWebKey & { readonly kid: string };
}

/** File with the keys of a sentinel. */
export const sentinelKeysFile = (dataDir: string, id: string): string => join(dataDir, `sentinel-${id}.keys`);

/**
 * Reads the keys of the sentinel `id` from its data directory, and creates them at the first start. Without a directory the keys
 * are new at every start.
 * @throws {CONFIG_INVALID} when the file cannot be read, is readable by others, or contains something else
 */
export function openSentinelKeys(dataDir: string | undefined, id: string): SentinelKeys {
  if (dataDir === undefined) return keysOf(createKeys());
  const file = sentinelKeysFile(dataDir, id);
  try {
    if (!existsSync(file)) createPrivateFile(file, `${JSON.stringify(createKeys())}\n`);
    if (isOpenToOthers(statSync(file).mode)) {
      throw new Error('other users can read it. Remove it: the next start writes new keys');
    }
    return keysOf(JSON.parse(readFileSync(file, 'utf8')) as StoredKeys);
  } catch (cause) {
    // The message of a parser could quote a key.
    const reason =
      cause instanceof SyntaxError ? 'it does not contain keys. Remove it' : (cause as Error).message;
    throw new FabricError('CONFIG_INVALID', `Cannot use the keys in ${file}: ${reason}`);
  }
}

function createKeys(): StoredKeys {
  const signing = generateKeyPairSync('ed25519').privateKey.export({ format: 'jwk' });
  const encryption = generateKeyPairSync('x25519').privateKey.export({ format: 'jwk' });
  return { signing: { ...signing, kid: newId() }, encryption: { ...encryption, kid: newId() } };
}

function keysOf({ signing, encryption }: StoredKeys): SentinelKeys {
  const key = signingKeyOf(createPrivateKey({ key: signing, format: 'jwk' }), signing.kid);
  const { x } = createPublicKey({ key: encryption, format: 'jwk' }).export({ format: 'jwk' });
  const jwks = readJwks([
    key.jwk,
    { kty: 'OKP', crv: 'X25519', x, alg: 'ECDH-ES', use: 'enc', kid: encryption.kid },
  ]);
  if (jwks.length !== 2) throw new Error('it does not contain keys. Remove it');
  return { signing: key, jwks };
}
