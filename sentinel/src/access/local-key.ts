// The source of the local key. Each check looks at the file, so a rotated key takes effect without a restart of the sentinel. Only
// the digest of the key stays in memory.
import { timingSafeEqual } from 'node:crypto';
import type { Logger, Principal } from '@fame-fabric/shared';
import { ensureLocalKey, isFabricError, isLocalKey, readTokenFile } from '@fame-fabric/shared/router';
import {
  type Authentication,
  type CredentialSource,
  type Granted,
  type Revocations,
  UNKNOWN_KEY,
} from './access.ts';
import { fileVersion } from './file-version.ts';
import { digestOf } from './keys-file.ts';

interface LoadedKey {
  /** Identity of the file version that was read. */
  readonly version: string;
  readonly digest: Buffer;
  /** Each key has its own principal object, which distinguishes the sessions of an earlier key. */
  readonly granted: Granted;
  readonly isRevoked: Revocations;
}

const PREFIX = 'fk_local_';

export class LocalKey implements CredentialSource {
  readonly #file: string;
  readonly #log: Logger;
  #loaded: LoadedKey | undefined;

  constructor(file: string, log: Logger) {
    this.#file = file;
    this.#log = log;
  }

  readonly label = 'the local key';

  accepts(token: string): boolean {
    return token.startsWith(PREFIX);
  }

  authenticate(token: string): Authentication {
    const key = this.#load();
    return key !== undefined && timingSafeEqual(digestOf(token), key.digest) ? key.granted : UNKNOWN_KEY;
  }

  revocations(): Revocations {
    return this.#load()?.isRevoked ?? NONE_REVOKED;
  }

  // A key stays in force if its file is removed, cannot be read or contains something else. `fame key rotate local` ends it.
  #load(): LoadedKey | undefined {
    try {
      const version = fileVersion(this.#file);
      if (version === undefined || version === this.#loaded?.version) return this.#loaded;
      const token = readTokenFile(this.#file);
      if (!isLocalKey(token)) return this.#loaded;
      const digest = digestOf(token);
      const isSame = this.#loaded !== undefined && timingSafeEqual(digest, this.#loaded.digest);
      if (this.#loaded !== undefined && isSame) this.#loaded = { ...this.#loaded, version };
      else {
        if (this.#loaded !== undefined) this.#log.info('the local key was rotated');
        this.#loaded = { version, digest, ...grant() };
      }
    } catch {
      // The loaded key stays in force.
    }
    return this.#loaded;
  }
}

const ADMIN = Object.freeze(['admin'] as const);
const RIGHTS = Object.freeze({ conversations: 'any' } as const);
const NONE_REVOKED: Revocations = () => false;

function grant(): Pick<LoadedKey, 'granted' | 'isRevoked'> {
  const principal: Principal = Object.freeze({ id: 'local', roles: ADMIN, rights: RIGHTS });
  return {
    granted: Object.freeze({ ok: true, principal }),
    isRevoked: (other) => other.id === 'local' && other !== principal,
  };
}

/**
 * Opens the local key of a data directory, and writes it at the first start. Without a writable directory there is no key, and
 * requests that need the key are refused.
 * @throws {CONFIG_INVALID} when the file belongs to another user, or contains something else
 */
export function openLocalKey(dataDir: string, log: Logger): LocalKey | undefined {
  try {
    const { file, wasReadable } = ensureLocalKey(dataDir);
    if (wasReadable) {
      const fix = 'If they are not trusted, replace it: npx fame-fabric key rotate local';
      log.warn('other users of this machine could read the local key; its file is private now', {
        file,
        fix,
      });
    }
    return new LocalKey(file, log);
  } catch (error) {
    if (isFabricError(error)) throw error;
    log.warn('cannot keep a local key; listing, tracing and metrics are refused', { dataDir, error });
    return undefined;
  }
}
