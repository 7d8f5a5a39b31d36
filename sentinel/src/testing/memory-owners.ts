// A table of owners in memory for unit tests. Several sentinels share it, and a test can wipe it or make it unavailable.
import type { Clock } from '@fame-fabric/shared';
import type { OwnerEntry, OwnerRecord, OwnerTable } from '../cluster/owner-table.ts';

/** The store that the tables of a test share. */
export class MemoryOwnerStore {
  readonly #clock: Clock;
  readonly entries = new Map<string, OwnerEntry>();
  readonly leases = new Map<string, number>();
  isAvailable = true;
  /** Incremented with each wipe. */
  version = 0;
  #lastRevision = 0;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Removes everything, as a lost directory of JetStream does. */
  wipe(): void {
    this.entries.clear();
    this.leases.clear();
    this.version++;
  }

  /** The table of one sentinel. */
  tableOf(id: string): OwnerTable {
    let openedVersion = -1;
    const check = (): void => {
      if (!this.isAvailable) throw new Error('JetStream is not available');
    };
    const get = (address: string): OwnerEntry =>
      this.entries.get(address) ?? { record: undefined, revision: 0 };
    const set = (address: string, record: OwnerRecord | undefined): void => {
      this.entries.set(address, { record, revision: ++this.#lastRevision });
    };
    return {
      get: async (address) => {
        check();
        return get(address);
      },
      put: async (address, record, revision) => {
        check();
        if (get(address).revision !== revision) return false;
        set(address, record);
        return true;
      },
      remove: async (address, revision) => {
        check();
        if (get(address).revision === revision) set(address, undefined);
      },
      renew: async () => {
        check();
        this.leases.set(id, this.#clock.monotonic());
        const isNew = openedVersion !== this.version;
        openedVersion = this.version;
        return isNew;
      },
      leaseAgeMs: async (sentinel) => {
        check();
        const renewedAt = this.leases.get(sentinel);
        return renewedAt === undefined ? Number.POSITIVE_INFINITY : this.#clock.monotonic() - renewedAt;
      },
    };
  }
}
