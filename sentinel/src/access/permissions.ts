// Permissions of principals: one function decides about every verb on every transport. A policy file decides if there is one, else the
// roles of the principal. The patterns of a key restrict both. This file does not read the bindings, so a decision never depends on
// whether an address exists.
import type { Principal, Role } from '@fame-fabric/shared';
import type { Session } from '../session/session.ts';
import { type Action, type Origin, OWN_ACTIONS } from './policy/actions.ts';
import { type AllowItem, compileAllow, isListed, isRestricted } from './policy/allow-list.ts';
import type { PrincipalLimits } from './policy/limits.ts';
import type { Policy } from './policy/policy.ts';

export interface Decision {
  readonly isAllowed: boolean;
  /** The rule that decided, with file and line, or `default of role client`. */
  readonly rule: string;
}

/** A policy that may be replaced while the sentinel runs. */
export interface PolicySource {
  /** Undefined while there is none: roles decide. */
  readonly policy: Policy | undefined;
  /** Returns true if another policy is in force now. */
  refresh(isForced?: boolean): boolean;
}

export interface PermissionsOptions {
  /** @default roles decide */
  readonly source?: PolicySource | undefined;
  /** True if requests without a credential are refused. Without this, roles do not restrict nodes. */
  readonly isCredentialNeeded: boolean;
}

/** The routes that a message may take, as bits. */
export const ROUTE = Object.freeze({ up: 1, down: 2, peer: 4 });
export const ALL_ROUTES = ROUTE.up | ROUTE.down | ROUTE.peer;
const ROUTE_BITS: readonly (readonly [Action, number])[] = [
  ['ForwardUpstream', ROUTE.up],
  ['ForwardDownstream', ROUTE.down],
  ['ForwardPeer', ROUTE.peer],
];

/** Addresses of one principal whose decisions are cached. Nodes without a credential share a principal. */
const MAX_CACHED = 4_096;
/** The same for all principals together: each token is one. */
const MAX_CACHED_IN_ALL = 65_536;

const SENTINEL_ROLE: readonly Role[] = Object.freeze(['sentinel']);
/** The sentinels that this one dialed, and those of its cluster. A key cannot have their ids, which have a colon. */
const PARENT: Principal = Object.freeze({ id: 'sentinel:parent', roles: SENTINEL_ROLE });
const PEER: Principal = Object.freeze({ id: 'sentinel:peer', roles: SENTINEL_ROLE });

/** The part of a session that a decision needs. */
export type Asker = Pick<Session, 'kind' | 'terms'>;

/** The principal that a session acts for. A session without an instance is a connection that this sentinel opened. */
export function principalOf({ kind, terms }: Asker): Principal {
  if (kind === 'parent') return PARENT;
  return (kind === 'peer' && terms.instanceId === '') || kind === 'member' ? PEER : terms.principal;
}

const ORIGIN_OF = Object.freeze({
  node: 'downstream',
  parent: 'upstream',
  peer: 'peer',
  member: 'peer',
} as const);

/** The route of a message to this session, as a bit of `ROUTE`. */
export const routeTo = ({ kind }: Asker): number => ROUTE_OF[kind];

const ROUTE_OF = Object.freeze({
  node: ROUTE.down,
  parent: ROUTE.up,
  peer: ROUTE.peer,
  member: ROUTE.peer,
} as const);

export const originOf = ({ kind }: Asker): Origin => ORIGIN_OF[kind];

export class Permissions {
  readonly #source: PolicySource | undefined;
  /** True if requests without a credential are refused. */
  readonly isCredentialNeeded: boolean;
  #version = 1;
  /** Routes to an address, by principal and address. Replaced when the policy changes. */
  #routes = new WeakMap<Principal, Map<string, number>>();
  #cachedCount = 0;
  readonly #allowLists = new WeakMap<readonly string[], readonly AllowItem[]>();

  constructor({ source, isCredentialNeeded }: PermissionsOptions) {
    this.#source = source;
    this.isCredentialNeeded = isCredentialNeeded;
  }

  /** True if a policy decides. */
  get hasPolicy(): boolean {
    return this.#source?.policy !== undefined;
  }

  /** Incremented with each change of the policy. */
  get version(): number {
    return this.#version;
  }

  /** Reads the policy file again if it changed, or in any case with `isForced`. Returns true if another policy is in force. */
  refresh(isForced = false): boolean {
    if (this.#source?.refresh(isForced) !== true) return false;
    this.#version++;
    this.#forgetRoutes();
    return true;
  }

  #forgetRoutes(): void {
    this.#routes = new WeakMap();
    this.#cachedCount = 0;
  }

  /**
   * Decides one request. `address` is the address that is called, bound or advertised, for Conversations that of the agent, and for
   * Watch the page: `nodes`, `trace` or `metrics`. Call is allowed if a message may take some route.
   */
  decide(principal: Principal, action: Action, address?: string, origin: Origin = 'downstream'): Decision {
    const { allow } = principal;
    if (allow !== undefined && isRestricted(action) && !isListed(this.#itemsOf(allow), action, address)) {
      return { isAllowed: false, rule: `patterns of the key ${principal.id}` };
    }
    // A peer is sent every address, so a rule that admits nodes does not admit peers without the role.
    if (action === 'Connect' && origin === 'peer' && !this.mayForward(principal)) {
      return { isAllowed: false, rule: 'a peer needs the role sentinel' };
    }
    const policy = this.#source?.policy;
    if (policy === undefined || (policy.isForeign && IS_OWN.has(action) && action !== 'Call')) {
      return this.#byRole(principal, action, address, origin);
    }
    // The sentinel itself serves no address, so a call never needs DeliverLocal.
    const verdicts = (action === 'Call' ? ROUTE_BITS.map(([route]) => route) : [action]).map((one) =>
      policy.evaluate({ principal, action: one, address, origin }),
    );
    const verdict = verdicts.find(({ effect }) => effect === 'allow') ?? verdicts[0]!;
    return { isAllowed: verdict.effect === 'allow', rule: policy.placeOf(verdict) };
  }

  /** The routes that a message of this session to `address` may take, as bits of `ROUTE`. An empty address has the rules without one. */
  routes(session: Asker, address: string): number {
    if (!this.restricts(session)) return ALL_ROUTES;
    if (this.#cachedCount >= MAX_CACHED_IN_ALL) this.#forgetRoutes();
    const principal = principalOf(session);
    let cached = this.#routes.get(principal);
    if (cached === undefined) {
      cached = new Map();
      this.#routes.set(principal, cached);
    }
    const key = session.kind === 'node' ? address : `${session.kind} ${address}`;
    const known = cached.get(key);
    if (known !== undefined) return known;
    if (cached.size >= MAX_CACHED) {
      this.#cachedCount -= cached.size;
      cached.clear();
    }
    const origin = originOf(session);
    let routes = 0;
    for (const [action, bit] of ROUTE_BITS) {
      if (this.decide(principal, action, address, origin).isAllowed) routes |= bit;
    }
    cached.set(key, routes);
    this.#cachedCount++;
    return routes;
  }

  /** True if some messages of this session may be refused. */
  restricts(session: Asker): boolean {
    return this.#source?.policy !== undefined || session.terms.principal.allow !== undefined;
  }

  /** True if nodes may attach below a node of this principal: it forwards their messages. */
  mayForward({ roles }: Principal): boolean {
    return !this.isCredentialNeeded || roles.includes('sentinel') || roles.includes('admin');
  }

  /** The limits of the policy file for this principal. */
  limitsOf(principal: Principal): PrincipalLimits {
    return this.#source?.policy?.limitsOf(principal) ?? {};
  }

  #itemsOf(allow: readonly string[]): readonly AllowItem[] {
    let items = this.#allowLists.get(allow);
    if (items === undefined) {
      items = compileAllow(allow);
      this.#allowLists.set(allow, items);
    }
    return items;
  }

  #byRole(
    { roles, rights }: Principal,
    action: Action,
    address: string | undefined,
    origin: Origin,
  ): Decision {
    const has = (...wanted: Role[]): boolean =>
      roles.includes('admin') || wanted.some((role) => roles.includes(role));
    const isOpen = !this.isCredentialNeeded;
    const rule =
      isOpen && !OPERATOR.has(action)
        ? 'default of open mode'
        : `default of ${roles.length === 0 ? 'principals without a role' : `role ${roles.join(', ')}`}`;
    switch (action) {
      case 'Watch':
        return { isAllowed: has() || (address === 'nodes' && has('door')), rule };
      case 'Admin':
        return { isAllowed: has(), rule };
      case 'Conversations':
        return { isAllowed: has() || rights?.conversations === 'any', rule };
      case 'Bind':
      case 'Advertise':
        return { isAllowed: isOpen || has('agent', 'sentinel'), rule };
      case 'Connect':
        return { isAllowed: isOpen || (origin === 'peer' ? has('sentinel') : roles.length > 0), rule };
      default:
        return { isAllowed: isOpen || roles.length > 0, rule };
    }
  }
}

const IS_OWN: ReadonlySet<Action> = new Set(OWN_ACTIONS);
const OPERATOR: ReadonlySet<Action> = new Set(['Watch', 'Admin', 'Conversations']);
