// Checks the local key. Each check looks at the file, so a rotated key takes effect without a restart of the sentinel. Only the
// digest of the key stays in memory.
import { createHash, timingSafeEqual } from 'node:crypto';
import { statSync } from 'node:fs';
import type { Logger, Principal } from '@fame-fabric/shared';
import { ensureLocalKey, isFabricError, isLocalKey, readTokenFile } from '@fame-fabric/shared/router';

interface LoadedKey {
  /** Identity of the file version that was read. */
  readonly version: string;
  readonly digest: Buffer;
  readonly principal: Principal;
}

export class LocalKey {
  readonly #file: string;
  readonly #log: Logger;
  #loaded: LoadedKey | undefined;

  constructor(file: string, log: Logger) {
    this.#file = file;
    this.#log = log;
  }

  /** The principal of a request with this token; `undefined` if it is not the local key. */
  principalOf(token: string): Principal | undefined {
    const key = this.#load();
    return key !== undefined && timingSafeEqual(digestOf(token), key.digest) ? key.principal : undefined;
  }

  /** Principal of the current key. Each key has its own object, which distinguishes the sessions of an earlier key. */
  get principal(): Principal | undefined {
    return this.#load()?.principal;
  }

  // A key stays in force if its file is removed, cannot be read or contains something else. `fame key rotate local` ends it.
  #load(): LoadedKey | undefined {
    try {
      const version = versionOf(this.#file);
      if (version === this.#loaded?.version) return this.#loaded;
      const token = readTokenFile(this.#file);
      if (!isLocalKey(token)) return this.#loaded;
      const digest = digestOf(token);
      const isSame = this.#loaded !== undefined && timingSafeEqual(digest, this.#loaded.digest);
      const principal = isSame ? this.#loaded!.principal : Object.freeze({ id: 'local', roles: ADMIN });
      if (this.#loaded !== undefined && !isSame) this.#log.info('the local key was rotated');
      this.#loaded = { version, digest, principal };
    } catch {
      // The loaded key stays in force.
    }
    return this.#loaded;
  }
}

const ADMIN = Object.freeze(['admin'] as const);

const digestOf = (token: string): Buffer => createHash('sha256').update(token).digest();

function versionOf(file: string): string {
  const { ino, mtimeNs, size } = statSync(file, { bigint: true });
  return `${ino}/${mtimeNs}/${size}`;
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
