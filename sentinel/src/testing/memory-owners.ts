// A table of owners in memory for unit tests. Several sentinels share it, and a test can wipe it or make it unavailable.
import type { Clock } from '@fame-fabric/shared';
import type { Lease, OwnerEntry, OwnerRecord, OwnerTable } from '../cluster/owner-table.ts';
import type { SharedTexts } from '../cluster/shared-rules.ts';

/** The store that the tables of a test share. */
export class MemoryOwnerStore {
  readonly #clock: Clock;
  readonly entries = new Map<string, OwnerEntry>();
  readonly texts = new Map<string, { readonly text: string | undefined; readonly revision: number }>();
  /** Times at which the sentinels wrote their leases. */
  readonly leases = new Map<string, { readonly at: number; readonly hasLeft: boolean }>();
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
    this.texts.clear();
    this.leases.clear();
    this.version++;
  }

  /** The table of one sentinel. */
  tableOf(id: string): OwnerTable & SharedTexts {
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
      text: async (name) => {
        check();
        return this.texts.get(name) ?? { text: undefined, revision: 0 };
      },
      putText: async (name, text, revision) => {
        check();
        if ((this.texts.get(name)?.revision ?? 0) !== revision) return false;
        this.texts.set(name, { text, revision: ++this.#lastRevision });
        return true;
      },
      remove: async (address, revision) => {
        check();
        if (get(address).revision === revision) set(address, undefined);
      },
      renew: async () => {
        check();
        this.leases.set(id, { at: this.#clock.monotonic(), hasLeft: false });
        const isNew = openedVersion !== this.version;
        openedVersion = this.version;
        return isNew;
      },
      leave: async () => {
        check();
        this.leases.set(id, { at: this.#clock.monotonic(), hasLeft: true });
      },
      leaseOf: async (sentinel): Promise<Lease> => {
        check();
        const lease = this.leases.get(sentinel);
        if (lease === undefined) return { ageMs: Number.POSITIVE_INFINITY, hasLeft: false };
        return { ageMs: this.#clock.monotonic() - lease.at, hasLeft: lease.hasLeft };
      },
    };
  }
}
