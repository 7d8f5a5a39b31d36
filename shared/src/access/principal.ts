// The owner of a session: who a node is to the sentinel, by the credential that it sent when it attached.

/** What a principal may do: `admin` lists nodes, watches the trace and reads the metrics. The other roles have no effect yet. */
export type Role = 'client' | 'agent' | 'sentinel' | 'door' | 'admin';

export interface Principal {
  /** `local` for the holder of the local key, `anonymous` for a node without a credential. */
  readonly id: string;
  readonly roles: readonly Role[];
}

/** The principal of a node that sent no credential. */
export const ANONYMOUS: Principal = Object.freeze({ id: 'anonymous', roles: Object.freeze([]) });
