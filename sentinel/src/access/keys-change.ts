// Changes to the keys file: add, remove and rotate. A lock file makes commands wait for each other, and the new file replaces the
// old one in one step, so a sentinel never reads half of a change.
import { randomBytes } from 'node:crypto';
import { chownSync, closeSync, openSync, realpathSync, renameSync, rmSync, statSync } from 'node:fs';
import { dirname } from 'node:path';
import type { Clock, Role } from '@fame-fabric/shared';
import { pause } from '@fame-fabric/shared/internal';
import { FabricError, makeDirectory, newId, writeFlushed } from '@fame-fabric/shared/router';
import { digestOf, type KeysLine, keysOf, keysText, type NamedKey, readKeysFile } from './keys-file.ts';

const HEADER =
  '# Keys of a Fame Fabric sentinel, without their secrets. Change them with `npx fame-fabric key add|rm|rotate`.';
/** Time to wait for another command, in ms. */
const LOCK_WAIT_MS = 5_000;
const LOCK_RETRY_MS = 50;
/** Age of a lock file whose command has crashed, in ms. A change takes milliseconds. */
const STALE_MS = 3_000;

export interface NewKey {
  readonly name: string;
  readonly role: Role;
  /** Wall time in ms. */
  readonly expiresAt?: number | undefined;
  readonly allow?: readonly string[] | undefined;
}

/** A key with its secret, which is not stored. */
export interface CreatedKey {
  readonly token: string;
  readonly key: NamedKey;
}

export class KeysChange {
  readonly #file: string;
  readonly #clock: Clock;

  constructor(file: string, clock: Clock) {
    this.#file = file;
    this.#clock = clock;
  }

  /**
   * Adds a key. `isFirst` is true if the file had none.
   * @throws {CONFIG_INVALID} if the name is taken or the file has a fault. @throws the system's error
   */
  add(given: NewKey): Promise<CreatedKey & { readonly isFirst: boolean }> {
    return this.#change((lines) => {
      const keys = keysOf(lines);
      if (keys.some(({ name }) => name === given.name)) {
        throw new FabricError(
          'CONFIG_INVALID',
          `There is a key "${given.name}" in ${this.#file} already. Choose another name, or replace the key: npx fame-fabric key rotate ${given.name}`,
        );
      }
      const created = createKey(given, keys, this.#clock.now());
      return { lines: [...lines, { key: created.key }], result: { ...created, isFirst: keys.length === 0 } };
    });
  }

  /** Removes a key. Returns the number of keys that are left. @throws as `add` */
  remove(name: string): Promise<number> {
    return this.#change((lines) => {
      this.#find(lines, name);
      const rest = lines.filter((line) => !('key' in line && line.key.name === name));
      return { lines: rest, result: new Set(keysOf(rest).map((key) => key.name)).size };
    });
  }

  /**
   * Replaces the secret of a key. The old secret stays valid for `overlapMs`. A key with an expiry gets the same lifetime again,
   * unless `lifetimeMs` is given. @throws as `add`
   */
  rotate(name: string, options: { overlapMs: number; lifetimeMs?: number | undefined }): Promise<CreatedKey> {
    return this.#change((lines) => {
      const now = this.#clock.now();
      const old = this.#find(lines, name);
      const lifetimeMs = options.lifetimeMs ?? (old.expiresAt ?? Number.NaN) - old.createdAt;
      const expiresAt = Number.isNaN(lifetimeMs) ? undefined : now + lifetimeMs;
      const created = createKey({ ...old, expiresAt }, keysOf(lines), now);
      const rest = lines.flatMap((line): KeysLine[] => {
        if (!('key' in line) || line.key.name !== name) return [line];
        const until = Math.min(line.key.expiresAt ?? Number.POSITIVE_INFINITY, now + options.overlapMs);
        return until > now ? [{ key: { ...line.key, expiresAt: until } }] : [];
      });
      return { lines: [...rest, { key: created.key }], result: created };
    });
  }

  // The newest secret of a key.
  #find(lines: readonly KeysLine[], name: string): NamedKey {
    const keys = keysOf(lines);
    const found = keys.findLast((key) => key.name === name);
    if (found !== undefined) return found;
    const names = [...new Set(keys.map((key) => key.name))].slice(0, 20).join(', ');
    throw new FabricError(
      'CONFIG_INVALID',
      `There is no key "${name}" in ${this.#file}. ${names ? `It has: ${names}` : 'It has no keys'}`,
    );
  }

  async #change<T>(
    change: (lines: readonly KeysLine[]) => { lines: readonly KeysLine[]; result: T },
  ): Promise<T> {
    makeDirectory(dirname(this.#file));
    const unlock = await this.#lock();
    try {
      const lines = readKeysFile(this.#file);
      const changed = change(lines.length === 0 ? [{ text: HEADER }] : lines);
      this.#write(keysText(changed.lines));
      return changed.result;
    } finally {
      unlock();
    }
  }

  async #lock(): Promise<() => void> {
    const lock = `${this.#file}.lock`;
    const deadline = this.#clock.monotonic() + LOCK_WAIT_MS;
    for (;;) {
      try {
        closeSync(openSync(lock, 'wx', 0o600));
        return () => rmSync(lock, { force: true });
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
      }
      if (this.#removeStale(lock)) continue;
      if (this.#clock.monotonic() >= deadline) {
        throw new FabricError(
          'CONFIG_INVALID',
          `Another command is changing ${this.#file}. Try again. If none is running, remove ${lock}`,
        );
      }
      await pause(this.#clock, LOCK_RETRY_MS);
    }
  }

  // Two commands may find the same stale lock. By the file number, the second one detects that it has taken a new lock.
  #removeStale(lock: string): boolean {
    const seen = statSync(lock, { throwIfNoEntry: false });
    if (seen === undefined) return true;
    if (this.#clock.now() - seen.mtimeMs < STALE_MS) return false;
    const taken = `${lock}-${newId()}`;
    try {
      renameSync(lock, taken);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return true;
      throw error;
    }
    if (statSync(taken).ino === seen.ino) {
      rmSync(taken);
      return true;
    }
    renameSync(taken, lock);
    return false;
  }

  // Root may change the file of a service user, who must be able to read the new one.
  #write(text: string): void {
    const existing = statSync(this.#file, { throwIfNoEntry: false });
    const file = existing === undefined ? this.#file : realpathSync(this.#file);
    const { uid, gid } = existing ?? statSync(dirname(file));
    const fresh = `${file}.${newId()}`;
    try {
      writeFlushed(fresh, text);
      if (process.getuid?.() === 0) chownSync(fresh, uid, gid);
      renameSync(fresh, file);
    } finally {
      rmSync(fresh, { force: true });
    }
  }
}

function createKey(
  { name, role, expiresAt, allow }: NewKey,
  others: readonly NamedKey[],
  now: number,
): CreatedKey {
  const newKeyId = (): string => randomBytes(6).toString('hex');
  let id = newKeyId();
  while (others.some((other) => other.id === id)) id = newKeyId();
  const secret = randomBytes(32).toString('base64url');
  const sha256 = digestOf(secret).toString('hex');
  return {
    token: `fk_${id}_${secret}`,
    key: { name, id, sha256, role, createdAt: now, expiresAt, allow },
  };
}
