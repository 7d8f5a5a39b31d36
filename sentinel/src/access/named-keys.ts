// The source of the keys in the keys file. Each check looks at the file, so a change takes effect without a restart. A file that
// is missing, has a fault or cannot be read changes nothing: the keys that were read last stay in force.
import { timingSafeEqual } from 'node:crypto';
import type { Clock, Logger, Principal } from '@fame-fabric/shared';
import { errorMessage } from '@fame-fabric/shared/internal';
import {
  type Authentication,
  type CredentialSource,
  type Granted,
  type Revocations,
  refused,
  UNKNOWN_KEY,
} from './access.ts';
import { fileVersion } from './file-version.ts';
import {
  digestOf,
  keysOf,
  makeKeysFilePrivate,
  type NamedKey,
  partsOfKey,
  readKeysFile,
} from './keys-file.ts';
import { fingerprintOf, type RevokedKeys } from './revoked-keys.ts';

interface LoadedKey {
  readonly key: NamedKey;
  readonly digest: Buffer;
  /** Empty outside of a cluster. */
  readonly fingerprint: string;
  readonly granted: Granted;
}

const OWN_RIGHTS = Object.freeze({ conversations: 'own' } as const);
const ANY_RIGHTS = Object.freeze({ conversations: 'any' } as const);
/** Names of refused keys in one line of the log. */
const MAX_LOGGED = 20;
/** Compared with the digest of a key that does not exist, so that both checks take the same time. */
const NO_DIGEST = Buffer.alloc(32);

export class NamedKeys implements CredentialSource {
  readonly #file: string;
  readonly #clock: Clock;
  readonly #log: Logger;
  /** By id. */
  #keys: ReadonlyMap<string, LoadedKey> = new Map();
  #version: string | undefined;
  /** Keys that the cluster refuses. @default none */
  readonly #revokedKeys: RevokedKeys | undefined;
  #revokedVersion = 0;
  /** Principals of all secrets that this source has accepted or could accept, revoked ones included. */
  readonly #issued = new WeakSet<Principal>();
  #isRevoked: Revocations;
  /** Wall time at which the next key expires. */
  #nextExpiry = Number.POSITIVE_INFINITY;

  /** @throws {CONFIG_INVALID} if the file has a fault. @throws the system's error */
  constructor(file: string, clock: Clock, log: Logger, revokedKeys?: RevokedKeys) {
    this.#file = file;
    this.#clock = clock;
    this.#log = log;
    this.#revokedKeys = revokedKeys;
    if (makeKeysFilePrivate(file)) {
      log.warn('other users of this machine could read the keys file; it is private now', { file });
    }
    this.#version = fileVersion(file);
    this.#isRevoked = this.#install(keysOf(readKeysFile(file)));
  }

  get label(): string {
    return this.isEmpty ? '' : `one of ${this.count} keys in ${this.#file}`;
  }

  /** Number of keys that have not expired. */
  get count(): number {
    const now = this.#clock.now();
    return new Set(
      [...this.#keys.values()].filter((one) => now < this.#endOf(one)).map(({ key }) => key.name),
    ).size;
  }

  /** True if the file has no keys, not even expired ones. */
  get isEmpty(): boolean {
    return this.#keys.size === 0;
  }

  accepts(token: string): boolean {
    return token.startsWith('fk_');
  }

  authenticate(token: string): Authentication {
    this.#load();
    const parts = partsOfKey(token);
    const loaded = parts === undefined ? undefined : this.#keys.get(parts.id);
    const isSame = timingSafeEqual(digestOf(parts?.secret ?? ''), loaded?.digest ?? NO_DIGEST);
    if (loaded === undefined || !isSame) return UNKNOWN_KEY;
    const { key, granted } = loaded;
    if (this.#clock.now() < this.#endOf(loaded)) return granted;
    if (this.#isRemoved(loaded)) return UNKNOWN_KEY;
    return refused(`The key "${key.name}" has expired. Replace it: npx fame-fabric key rotate ${key.name}`);
  }

  revocations(): Revocations {
    this.#load();
    // A key may expire before the time in its sessions: a rotation shortens the lifetime of the old secret.
    if (this.#clock.now() >= this.#nextExpiry) this.#isRevoked = this.#makeRevocations();
    return this.#isRevoked;
  }

  #load(): void {
    this.#applyRevoked();
    const version = fileVersion(this.#file);
    if (version === this.#version) return;
    this.#version = version;
    if (version === undefined) {
      this.#log.warn('the keys file is gone; its keys stay in force until it is back', { file: this.#file });
      return;
    }
    try {
      const before = [...this.#keys.values()].map(({ key }) => key);
      const keys = keysOf(readKeysFile(this.#file));
      this.#revokedKeys?.changed(before, keys);
      this.#isRevoked = this.#install(keys);
      this.#log.info('the keys file was read again', { file: this.#file, keys: this.count });
    } catch (error) {
      const reason = errorMessage(error);
      this.#log.error('the keys file has a fault; the keys before it stay in force', {
        file: this.#file,
        reason,
      });
    }
  }

  // Applies the keys that other sentinels of the cluster revoked.
  #applyRevoked(): void {
    const version = this.#revokedKeys?.version ?? 0;
    if (version === this.#revokedVersion) return;
    this.#revokedVersion = version;
    this.#isRevoked = this.#makeRevocations();
    const removed = [...this.#keys.values()].filter((one) => this.#isRemoved(one));
    if (removed.length === 0) return;
    this.#log.warn('keys of the keys file were removed at another sentinel of the cluster, and are refused', {
      file: this.#file,
      keys: removed.slice(0, MAX_LOGGED).map(({ key }) => key.name),
    });
  }

  #isRemoved({ fingerprint }: LoadedKey): boolean {
    return this.#revokedKeys?.refusedFrom(fingerprint) === 0;
  }

  // Wall time in ms at which the key is refused.
  #endOf({ fingerprint, key: { expiresAt = Number.POSITIVE_INFINITY } }: LoadedKey): number {
    const from = this.#revokedKeys?.refusedFrom(fingerprint);
    return from === undefined ? expiresAt : Math.min(from, expiresAt);
  }

  // An unchanged key keeps its principal object, and with it its sessions. Another expiry changes no rights.
  #install(keys: readonly NamedKey[]): Revocations {
    const now = this.#clock.now();
    const before = this.#keys;
    this.#keys = new Map(
      keys.map((key) => {
        const old = before.get(key.id);
        const isSame = old !== undefined && identityOf(old.key) === identityOf(key);
        const principal = isSame ? old.granted.principal : principalOf(key);
        this.#issued.add(principal);
        const granted: Granted = Object.freeze({ ok: true, principal, expiresAt: key.expiresAt });
        const digest = Buffer.from(key.sha256, 'hex');
        const fingerprint = this.#revokedKeys === undefined ? '' : fingerprintOf(key);
        return [key.id, { key, digest, fingerprint, granted }];
      }),
    );
    return this.#makeRevocations(now);
  }

  #makeRevocations(now = this.#clock.now()): Revocations {
    const current = new Set<Principal>();
    this.#nextExpiry = Number.POSITIVE_INFINITY;
    for (const loaded of this.#keys.values()) {
      const end = this.#endOf(loaded);
      if (now >= end) continue;
      current.add(loaded.granted.principal);
      this.#nextExpiry = Math.min(this.#nextExpiry, end);
    }
    return (principal) => this.#issued.has(principal) && !current.has(principal);
  }
}

/** The properties of a key whose change ends its sessions. */
const identityOf = ({ name, role, allow, sha256 }: NamedKey): string =>
  JSON.stringify([name, role, allow, sha256]);

const principalOf = ({ name, role, allow }: NamedKey): Principal =>
  Object.freeze({
    id: name,
    roles: Object.freeze([role]),
    rights: role === 'admin' ? ANY_RIGHTS : OWN_RIGHTS,
    ...(allow === undefined ? {} : { allow }),
  });
