// Quotas: the usage of every principal at this sentinel. The default limits depend on the role, and the policy file replaces them.
//
// Invariants: I1 usage is counted once: sessions here, addresses by `Bindings`, calls by `OpenCalls`. I2 the usage of a principal
// without a session is removed once its rates have recovered, after a minute at the latest.
import type { Clock, Principal } from '@fame-fabric/shared';
import type { Counters } from '../counters.ts';
import type { Session } from '../session/session.ts';
import { defaultLimits, mergeLimits, UNLIMITED } from './limits/role-limits.ts';
import type { Permissions } from './permissions.ts';
import { PrincipalQuota, type PrincipalQuotaDeps } from './principal-quota.ts';

/** Principals without a session whose rates are kept, so that a new connection does not refill them. */
const MAX_IDLE = 16_384;

export interface QuotasDeps {
  permissions: Permissions;
  clock: Clock;
  counters: Counters;
}

export class Quotas {
  readonly #deps: PrincipalQuotaDeps;
  readonly #permissions: Permissions;
  readonly #principals = new Map<string, PrincipalQuota>();
  /** Those without a session, in the order in which they lost the last one. */
  readonly #idle = new Set<PrincipalQuota>();

  constructor({ permissions, clock, counters }: QuotasDeps) {
    const { isCredentialNeeded } = permissions;
    this.#permissions = permissions;
    const source = {
      get version() {
        return permissions.version;
      },
      limitsOf: (principal: Principal) =>
        mergeLimits(
          permissions.limitsOf(principal),
          isCredentialNeeded ? defaultLimits(principal) : UNLIMITED,
        ),
    };
    this.#deps = { source, clock, counters };
  }

  /** Number of principals with state, for tests. */
  get size(): number {
    return this.#principals.size;
  }

  /** The usage of a principal. Undefined if this sentinel limits no principal. */
  of(principal: Principal): PrincipalQuota | undefined {
    const { isCredentialNeeded, hasPolicy } = this.#permissions;
    if (!isCredentialNeeded && !hasPolicy) return undefined;
    let quota = this.#principals.get(principal.id);
    if (quota === undefined) {
      quota = new PrincipalQuota(this.#deps, principal);
      this.#principals.set(principal.id, quota);
      this.#setIdle(quota);
    }
    quota.use(principal);
    return quota;
  }

  /** Counts a session of a node. Undefined for the parent, for sentinels of the cluster, and for peers that this one dialed. */
  open(session: Session): PrincipalQuota | undefined {
    const { instanceId, principal } = session.terms;
    if (session.kind === 'parent' || session.kind === 'member') return undefined;
    if (session.kind === 'peer' && instanceId === '') return undefined;
    const quota = this.of(principal);
    if (quota === undefined) return undefined;
    quota.sessions++;
    this.#idle.delete(quota);
    return quota;
  }

  /** Ends the count of a session, once its addresses and calls are removed. */
  close(session: Session): void {
    const { quota } = session;
    if (quota === undefined) return;
    quota.sessions--;
    if (quota.sessions === 0) this.#setIdle(quota);
  }

  #setIdle(quota: PrincipalQuota): void {
    quota.idleSince = this.#deps.clock.monotonic();
    this.#idle.add(quota);
    if (this.#idle.size <= MAX_IDLE) return;
    const [oldest] = this.#idle;
    this.#remove(oldest!);
  }

  #remove(quota: PrincipalQuota): void {
    quota.release();
    this.#idle.delete(quota);
    this.#principals.delete(quota.id);
  }

  /** Removes the state of principals that have left. */
  sweep(): void {
    const now = this.#deps.clock.monotonic();
    for (const quota of this.#idle) if (quota.isForgettable(now)) this.#remove(quota);
  }
}
