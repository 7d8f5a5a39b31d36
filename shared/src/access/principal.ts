// The owner of a session: who a node is to the sentinel, by the credential that it sent when it attached.

/** A set of permissions. `admin` lists nodes, watches the trace and reads the metrics. */
export type Role = 'client' | 'agent' | 'sentinel' | 'door' | 'admin';

export interface Principal {
  /**
   * `anonymous` for a node without a credential, `local` for the holder of the local key, else the name of its key, or an id with
   * a colon: `jwt:ISSUER/SUBJECT`, `spiffe://...` or `cert:SUBJECT`.
   */
  readonly id: string;
  readonly roles: readonly Role[];
  /** Scopes of its token. */
  readonly scopes?: readonly string[] | undefined;
  /** Claims of its token that agents may see. */
  readonly claims?: Readonly<Record<string, ClaimValue>> | undefined;
  readonly rights?: Rights | undefined;
  /** Patterns of the addresses that it may call and bind. @default as its roles permit */
  readonly allow?: readonly string[] | undefined;
}

export type ClaimValue = string | number | boolean | readonly string[];

export interface Rights {
  /** The conversations that it may read and continue: those that it started, or all. */
  readonly conversations: 'own' | 'any';
  /** Limits of its turns, from the policy of its sentinel. @default those of the agent */
  readonly limits?: SpendingLimits | undefined;
}

/** Limits of the turns that a principal runs. */
export interface SpendingLimits {
  readonly turnsPerMinute?: number | undefined;
  readonly tokensPerDay?: number | undefined;
  /** In the currency of the price list. */
  readonly moneyPerDay?: number | undefined;
}

/** The node that made a call, as its agent sees it. */
export interface Caller {
  /** Id of its principal: `local`, the name of a key, or `anonymous` if it sent no key or its sentinel is another one. */
  readonly principal: string;
  readonly roles: readonly string[];
  /** Claims of its token, those that its sentinel hands to agents. */
  readonly claims?: Readonly<Record<string, ClaimValue>> | undefined;
  readonly rights: Rights;
  /**
   * True if the sentinel did not state who it is, because a connection was lost or the call has ended. Its principal is then
   * `anonymous`. @default false
   */
  readonly isUnknown?: boolean | undefined;
  /** Path that receives the answer. */
  readonly path: string;
}

/** The principal of a node that sent no credential. */
export const ANONYMOUS: Principal = Object.freeze({ id: 'anonymous', roles: Object.freeze([]) });

const MAX_ROLES = 32;
const MAX_CHARS = 512;
const isName = (value: unknown): value is string =>
  typeof value === 'string' && value !== '' && value.length <= MAX_CHARS;

/** Rights of a principal whose sentinel states none: the local key may use every conversation. */
const rightsOf = (id: string): Rights => ({ conversations: id === 'local' ? 'any' : 'own' });

/** Returns the caller that agents see for a principal. */
export const callerOf = ({ id, roles, claims, rights = rightsOf(id) }: Principal, path: string): Caller => ({
  principal: id,
  roles,
  claims,
  rights,
  path,
});

/**
 * Reads a principal from the wire: `{ id, roles, claims?, rights? }`. Keeps roles of newer versions, and ignores claims and rights
 * that it does not know. Returns undefined for any other value.
 */
export function readPrincipal(value: unknown): Principal | undefined {
  if (!isObject(value)) return undefined;
  const { id, roles, claims, rights } = value;
  if (!isName(id) || !Array.isArray(roles) || roles.length > MAX_ROLES || !roles.every(isName))
    return undefined;
  return {
    id,
    roles: roles as Role[],
    claims: isObject(claims) ? only(claims, isClaim) : undefined,
    rights: isObject(rights) ? readRights(rights) : undefined,
  };
}

const readRights = ({ conversations, limits }: Record<string, unknown>): Rights => ({
  conversations: conversations === 'any' ? 'any' : 'own',
  limits: isObject(limits) ? only(limits, isLimit) : undefined,
});

/** The entries whose values have a type. An envelope bounds their number. */
const only = <T>(
  entries: Record<string, unknown>,
  isOfType: (value: unknown) => value is T,
): Record<string, T> =>
  Object.fromEntries(Object.entries(entries).filter((entry): entry is [string, T] => isOfType(entry[1])));

const isLimit = (value: unknown): value is number => typeof value === 'number' && value >= 0;
/** For values from JSON. */
const isClaim = (value: unknown): value is ClaimValue => !isObject(value) && value !== null;

const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);
