// The owner of a session: who a node is to the sentinel, by the credential that it sent when it attached.

/** A set of permissions. `admin` lists nodes, watches the trace and reads the metrics. The other roles have no effect yet. */
export type Role = 'client' | 'agent' | 'sentinel' | 'door' | 'admin';

export interface Principal {
  /** `local` for the holder of the local key, `anonymous` for a node without a credential. */
  readonly id: string;
  readonly roles: readonly Role[];
}

/** The node that made a call, as its agent sees it. */
export interface Caller {
  /** Id of its principal: `local`, or `anonymous` if it sent no key or its sentinel is another one. */
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
