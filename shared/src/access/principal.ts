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
  /** True if it may make calls on behalf of its own callers. @default false */
  readonly onBehalf?: boolean | undefined;
}

/** The node that made a call, as its agent sees it. */
export interface Caller {
  /** Id of its principal: `local`, the name of a key, or `anonymous` if it sent no key or its sentinel is another one. */
  readonly principal: string;
  readonly roles: readonly string[];
  /** Path that receives the answer. */
  readonly path: string;
}

/** The principal of a node that sent no credential. */
export const ANONYMOUS: Principal = Object.freeze({ id: 'anonymous', roles: Object.freeze([]) });

const MAX_ROLES = 32;
const MAX_CHARS = 256;
const isName = (value: unknown): value is string =>
  typeof value === 'string' && value !== '' && value.length <= MAX_CHARS;

/** Reads a principal from the wire: `{ id, roles }`. Keeps roles of newer versions. Returns undefined for any other value. */
export function readPrincipal(value: unknown): Principal | undefined {
  if (typeof value !== 'object' || value === null) return undefined;
  const { id, roles } = value as Partial<Record<string, unknown>>;
  if (!isName(id) || !Array.isArray(roles) || roles.length > MAX_ROLES || !roles.every(isName))
    return undefined;
  return { id, roles: roles as Role[] };
}
