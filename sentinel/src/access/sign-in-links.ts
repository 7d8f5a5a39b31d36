// One-time links that sign a browser in. A link stands for the credential of the request that created it. Links are kept in memory, so
// a restart ends them. The table has the digests of the codes, so that a lookup takes no time that depends on a code.
import { randomBytes } from 'node:crypto';
import type { Clock } from '@fame-fabric/shared';
import { digestOf } from './keys-file.ts';

/** Time in which a link must be used, in ms. */
export const LINK_LIFETIME_MS = 3_600_000;
/** Links that were not used. A new one replaces the oldest. */
const MAX_LINKS = 100;

interface Link {
  readonly token: string;
  /** Wall time in ms since the epoch. */
  readonly expiresAt: number;
}

export class SignInLinks {
  readonly #clock: Pick<Clock, 'now'>;
  /** By digest of the code, oldest first. */
  readonly #links = new Map<string, Link>();

  constructor(clock: Pick<Clock, 'now'>) {
    this.#clock = clock;
  }

  /** Creates a code of 256 bits for a token. `expiresAt` is wall time in ms since the epoch. */
  create(token: string): { readonly code: string; readonly expiresAt: number } {
    const now = this.#clock.now();
    for (const [digest, { expiresAt }] of this.#links) {
      if (this.#links.size >= MAX_LINKS || now >= expiresAt) this.#links.delete(digest);
    }
    const code = randomBytes(32).toString('base64url');
    const expiresAt = now + LINK_LIFETIME_MS;
    this.#links.set(keyOf(code), { token, expiresAt });
    return { code, expiresAt };
  }

  /** Returns the token of a code and deletes the code, or returns undefined if the code is unknown, used or expired. */
  redeem(code: string): string | undefined {
    const key = keyOf(code);
    const link = this.#links.get(key);
    this.#links.delete(key);
    return link !== undefined && this.#clock.now() < link.expiresAt ? link.token : undefined;
  }
}

const keyOf = (code: string): string => digestOf(code).toString('base64');
