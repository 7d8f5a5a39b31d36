// The signing key of the development issuer: an Ed25519 key in the data directory, which only its owner can read.
import {
  createHash,
  createPrivateKey,
  generateKeyPairSync,
  type KeyObject,
  randomBytes,
  sign,
} from 'node:crypto';
import { existsSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { FabricError } from '@fame-fabric/shared';
import { createPrivateFile, isOpenToOthers } from '@fame-fabric/shared/node';

export interface PublicJwk {
  readonly kty: string;
  readonly crv: string;
  readonly x: string;
  readonly kid: string;
  readonly alg: 'EdDSA';
  readonly use: 'sig';
}

export class IssuerKey {
  readonly publicJwk: PublicJwk;
  readonly #privateKey: KeyObject;

  constructor(privateKey: KeyObject) {
    const { kty = '', crv = '', x = '' } = privateKey.export({ format: 'jwk' });
    // RFC 7638, cut to the length of other ids.
    const kid = createHash('sha256').update(JSON.stringify({ crv, kty, x })).digest('base64url').slice(0, 16);
    this.publicJwk = { kty, crv, x, kid, alg: 'EdDSA', use: 'sig' };
    this.#privateKey = privateKey;
  }

  /** Returns a signed token (JWT) with these claims. */
  sign(claims: Readonly<Record<string, unknown>>): string {
    const { alg, kid } = this.publicJwk;
    const text = `${part({ alg, kid, typ: 'JWT' })}.${part(claims)}`;
    return `${text}.${sign(null, Buffer.from(text), this.#privateKey).toString('base64url')}`;
  }
}

const part = (value: unknown): string => Buffer.from(JSON.stringify(value)).toString('base64url');

/** Directory of the issuer's files in a data directory. */
const issuerDirectory = (dataDir: string): string => join(dataDir, 'issuer');

/** File with the secret of the issuer's client. */
export const clientSecretFile = (dataDir: string): string => join(issuerDirectory(dataDir), 'client-secret');

/** Opens the key of a data directory, and creates it the first time. @throws {CONFIG_INVALID} */
export function openIssuerKey(dataDir: string): IssuerKey {
  const file = join(issuerDirectory(dataDir), 'key.pem');
  const pem = readOrCreate(file, () =>
    generateKeyPairSync('ed25519').privateKey.export({ format: 'pem', type: 'pkcs8' }).toString(),
  );
  try {
    const key = createPrivateKey(pem);
    if (key.asymmetricKeyType !== 'ed25519') throw new Error(`its type is ${key.asymmetricKeyType}`);
    return new IssuerKey(key);
  } catch (cause) {
    throw new FabricError(
      'CONFIG_INVALID',
      `${file} has no Ed25519 key. Remove it: the next start writes a new one.`,
      {
        cause,
      },
    );
  }
}

/** Reads the client secret of a data directory, and creates it the first time. @throws {CONFIG_INVALID} */
export const openClientSecret = (dataDir: string): string =>
  readOrCreate(clientSecretFile(dataDir), () => `${randomBytes(32).toString('base64url')}\n`).trim();

function readOrCreate(file: string, create: () => string): string {
  try {
    if (!existsSync(file)) createPrivateFile(file, create());
    if (isOpenToOthers(statSync(file).mode)) {
      throw new FabricError(
        'CONFIG_INVALID',
        `Other users of this machine can read ${file}. Remove it, or make it private (chmod 600).`,
      );
    }
    return readFileSync(file, 'utf8');
  } catch (error) {
    if (error instanceof FabricError) throw error;
    const { code, message } = error as NodeJS.ErrnoException;
    throw new FabricError('CONFIG_INVALID', `Cannot keep ${file}: ${code ?? message}. Check FAME_DATA_DIR.`);
  }
}
