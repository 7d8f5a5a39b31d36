// The check of credentials, for WebSocket upgrades and HTTP requests alike. A request without a credential is anonymous. A
// credential that is wrong or cannot be read is refused, so that a mistake is noticed.
import type { Principal } from '@fame-fabric/shared';
import { ANONYMOUS } from '@fame-fabric/shared/internal';
import { FabricError } from '@fame-fabric/shared/router';
import { type CredentialHeaders, credentialOf } from './credential.ts';
import type { LocalKey } from './local-key.ts';

export type Authentication =
  | { readonly ok: true; readonly principal: Principal }
  | { readonly ok: false; readonly fault: FabricError };

export type Revocations = (principal: Principal) => boolean;

export const ANONYMOUS_CALLER: Authentication = Object.freeze({ ok: true, principal: ANONYMOUS });
/** The fix at the end of errors about a missing or wrong key. */
export const KEY_ADVICE =
  "Send the key in the file `token` of this sentinel's data directory (FAME_DATA_DIR, .fame by default) as `Authorization: Bearer KEY`";

export class Access {
  readonly #localKey: LocalKey | undefined;
  #local: Principal | undefined;
  #isRevoked = revokedExcept(undefined);

  constructor(localKey: LocalKey | undefined) {
    this.#localKey = localKey;
  }

  /** Returns the principal that the credential of a request belongs to, or a fault. */
  authenticate(headers: CredentialHeaders): Authentication {
    const credential = credentialOf(headers);
    if (credential.kind === 'none') return ANONYMOUS_CALLER;
    if (credential.kind === 'unreadable') return refused(credential.reason);
    const principal = this.#localKey?.principalOf(credential.token);
    return principal === undefined
      ? refused(`The key is not one of this sentinel. ${KEY_ADVICE}, or no key at all`)
      : { ok: true, principal };
  }

  /**
   * Reads the current key. Returns a check that is true for the principal of a revoked key. It is the same function until the key
   * is rotated.
   */
  revocations(): Revocations {
    const local = this.#localKey?.principal;
    if (local !== this.#local) {
      this.#local = local;
      this.#isRevoked = revokedExcept(local);
    }
    return this.#isRevoked;
  }
}

/** Returns a check that is true for each key other than `local`. */
const revokedExcept =
  (local: Principal | undefined): Revocations =>
  (principal) =>
    principal !== ANONYMOUS && principal !== local;

/** True if the principal sent a credential. */
export const isKeyed = ({ id }: Principal): boolean => id !== ANONYMOUS.id;

/** True if both principals sent the same credential. */
export const haveSameKey = (a: Principal, b: Principal): boolean => isKeyed(a) && a.id === b.id;

const refused = (reason: string): Authentication => ({
  ok: false,
  fault: new FabricError('AUTH_INVALID', reason),
});
