// The port to the table of owners of a cluster: the owner of each exact address, also while its sentinel is gone. `kv-owners.ts` implements it
// over JetStream, and `testing/memory-owners.ts` for unit tests. The table supplements the answers of the living sentinels: it is needed only
// for sentinels that are gone, and a table that was wiped is written again.

/** The owner of an address. */
export interface OwnerRecord {
  /** Id of the sentinel. */
  readonly sentinel: string;
  /** Id of the principal of the node. */
  readonly principal: string;
  /** Epoch of the claim (`epochs.ts`). */
  readonly epoch: number;
}

/** The lease of a sentinel. */
export interface Lease {
  /** Time since the sentinel wrote its lease, in ms; infinite without a lease. */
  readonly ageMs: number;
  /** True if the sentinel wrote it when it left. */
  readonly hasLeft: boolean;
}

export interface OwnerEntry {
  /** Absent if the address has no owner. */
  readonly record: OwnerRecord | undefined;
  /** Version of the entry; 0 if there never was one. */
  readonly revision: number;
}

/** Every function rejects while the table is not available. */
export interface OwnerTable {
  get(address: string): Promise<OwnerEntry>;
  /** Writes the owner of an address. Resolves `false` if the entry has another revision. */
  put(address: string, record: OwnerRecord, revision: number): Promise<boolean>;
  /** Removes the owner of an address, unless the entry has another revision. */
  remove(address: string, revision: number): Promise<void>;
  /**
   * Renews the lease of this sentinel. Resolves `true` if the table may lack the owners, which must then be written: this call has created or
   * opened it, or the last lease is not in it.
   */
  renew(): Promise<boolean>;
  /** Marks the lease of this sentinel as left. */
  leave(): Promise<void>;
  leaseOf(sentinel: string): Promise<Lease>;
}
