// Keys that were removed, restricted or given an earlier expiry in the keys file of one sentinel of a cluster, so that the others refuse them
// without a change of their own files. `cluster/shared-rules.ts` carries them between the sentinels. A key that is added to a keys file again
// is valid again.
import { createHash } from 'node:crypto';
import type { NamedKey } from './keys-file.ts';

/**
 * Wall time in ms from which a key is refused, by fingerprint: 0 for a key that was removed, and null for one that is valid again. Without
 * the null, a key that is absent from an incomplete list would be valid.
 */
export type RefusedFrom = ReadonlyMap<string, number | null>;

/** A fingerprint covers the rights of a key: a key whose rights were restricted is another one. */
export const fingerprintOf = ({ id, name, role, allow, sha256 }: NamedKey): string =>
  createHash('sha256')
    .update(JSON.stringify([id, name, role, allow ?? null, sha256]))
    .digest('base64url')
    .slice(0, 22);

export class RevokedKeys {
  #refusedFrom: RefusedFrom = new Map();
  /** Changes at this sentinel that the cluster does not have yet. */
  #changes = new Map<string, number | null>();
  /** Incremented with each change that another sentinel made. */
  #version = 0;
  /** Called after a change at this sentinel. */
  onChange: (() => void) | undefined;

  get version(): number {
    return this.#version;
  }

  /** Keys that the cluster refuses, or refused before. */
  get all(): RefusedFrom {
    return this.#refusedFrom;
  }

  get changes(): RefusedFrom {
    return this.#changes;
  }

  /** Wall time in ms from which a key is refused. Undefined if no sentinel refuses it. */
  refusedFrom(fingerprint: string): number | undefined {
    const from = this.#changes.has(fingerprint)
      ? this.#changes.get(fingerprint)
      : this.#refusedFrom.get(fingerprint);
    return from ?? undefined;
  }

  /** Records the change of a keys file. */
  changed(before: readonly NamedKey[], after: readonly NamedKey[]): void {
    const changes = new Map<string, number | null>();
    const current = new Map(after.map((key) => [fingerprintOf(key), key.expiresAt]));
    const earlier = new Map(before.map((key) => [fingerprintOf(key), key.expiresAt]));
    for (const [fingerprint, expiresAt] of earlier) {
      if (!current.has(fingerprint)) changes.set(fingerprint, 0);
      else if (endOf(current.get(fingerprint)) < endOf(expiresAt))
        changes.set(fingerprint, current.get(fingerprint)!);
    }
    for (const [fingerprint, expiresAt] of current) {
      const isNew = !earlier.has(fingerprint) || endOf(expiresAt) > endOf(earlier.get(fingerprint));
      if (isNew && this.refusedFrom(fingerprint) !== undefined) changes.set(fingerprint, null);
    }
    if (changes.size === 0) return;
    for (const [fingerprint, from] of changes) this.#changes.set(fingerprint, from);
    this.onChange?.();
  }

  /** Replaces the keys that the cluster refuses. `written` are the changes of this sentinel that they include. */
  replace(refusedFrom: RefusedFrom, written: RefusedFrom): void {
    const before = this.#refusedFrom;
    this.#refusedFrom = refusedFrom;
    for (const [fingerprint, from] of written)
      if (this.#changes.get(fingerprint) === from) this.#changes.delete(fingerprint);
    const isSame =
      before.size === refusedFrom.size && [...refusedFrom].every(([key, from]) => before.get(key) === from);
    if (!isSame) this.#version++;
  }
}

const endOf = (expiresAt: number | undefined): number => expiresAt ?? Number.POSITIVE_INFINITY;
