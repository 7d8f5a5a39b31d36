// The table of owners and the shared rules as a key-value bucket of JetStream. The age of a lease is the difference between two times of the
// server, so the clocks of the sentinels do not matter.
import { JetStreamApiError, type JetStreamManager, jetstream } from '@nats-io/jetstream';
import { type KV, Kvm } from '@nats-io/kv';
import type { NatsBus } from './nats-bus.ts';
import type { Lease, OwnerEntry, OwnerRecord, OwnerTable } from './owner-table.ts';
import type { SharedTexts } from './shared-rules.ts';

/** Time limit of one request to JetStream, in ms. */
const TIMEOUT_MS = 1_000;
/** Code of JetStream for an entry that has another revision. */
const WRONG_REVISION = 10_071;
/** Values of a lease. */
const PRESENT = '';
const LEFT = 'left';

export class KvOwners implements OwnerTable, SharedTexts {
  readonly #bus: NatsBus;
  readonly #bucket: string;
  readonly #leaseKey: string;
  #table: KV | undefined;
  /** Revision of the last lease of this sentinel. A bucket that another sentinel created again after a wipe does not have it. */
  #leaseRevision = 0;
  #manager: JetStreamManager | undefined;

  /** @param cluster name of the cluster @param id id of this sentinel */
  constructor(bus: NatsBus, { cluster, id }: { readonly cluster: string; readonly id: string }) {
    this.#bus = bus;
    this.#bucket = `fame_${cluster}`;
    this.#leaseKey = leaseKey(id);
  }

  async get(address: string): Promise<OwnerEntry> {
    const entry = await this.#open.get(addressKey(address));
    if (entry === null) return { record: undefined, revision: 0 };
    const record = entry.operation === 'PUT' ? readRecord(entry.string()) : undefined;
    return { record, revision: entry.revision };
  }

  put(address: string, record: OwnerRecord, revision: number): Promise<boolean> {
    return this.#put(addressKey(address), JSON.stringify(record), revision);
  }

  async text(name: string): Promise<{ text: string | undefined; revision: number }> {
    const entry = await this.#open.get(textKey(name));
    if (entry === null) return { text: undefined, revision: 0 };
    return { text: entry.operation === 'PUT' ? entry.string() : undefined, revision: entry.revision };
  }

  putText(name: string, text: string, revision: number): Promise<boolean> {
    return this.#put(textKey(name), text, revision);
  }

  async #put(key: string, value: string, previousSeq: number): Promise<boolean> {
    try {
      await this.#open.put(key, value, { previousSeq });
      return true;
    } catch (error) {
      if (isWrongRevision(error)) return false;
      throw error;
    }
  }

  // The delete operation of the bucket leaves a marker for each key for ever, and nodes may bind any number of addresses one after the other.
  async remove(address: string, revision: number): Promise<void> {
    if (this.#manager === undefined) throw notOpen();
    const filter = `$KV.${this.#bucket}.${addressKey(address)}`;
    await this.#manager.streams.purge(`KV_${this.#bucket}`, { filter, seq: revision + 1 });
  }

  async renew(): Promise<boolean> {
    const table = this.#table;
    if (table !== undefined) {
      try {
        const previousSeq = this.#leaseRevision;
        this.#leaseRevision = await table.put(this.#leaseKey, PRESENT, { previousSeq });
        return false;
      } catch {
        // The bucket may have been wiped with the directory of the server: open it again, and report that it lacks the owners.
        this.#table = undefined;
      }
    }
    const { connection } = this.#bus;
    if (connection === undefined) throw new Error('NATS is not connected');
    // Read from the leader of the bucket, because a read must return an owner that was just written.
    const client = jetstream(connection, { timeout: TIMEOUT_MS });
    const opened = await new Kvm(client).create(this.#bucket, { history: 1, allow_direct: false });
    this.#leaseRevision = await opened.put(this.#leaseKey, PRESENT);
    this.#manager ??= await client.jetstreamManager(false);
    this.#table = opened;
    return true;
  }

  async leave(): Promise<void> {
    await this.#open.put(this.#leaseKey, LEFT);
  }

  async leaseOf(sentinel: string): Promise<Lease> {
    const [own, theirs] = await Promise.all([
      this.#open.get(this.#leaseKey),
      this.#open.get(leaseKey(sentinel)),
    ]);
    if (own === null || theirs === null) return { ageMs: Number.POSITIVE_INFINITY, hasLeft: false };
    return {
      ageMs: own.created.getTime() - theirs.created.getTime(),
      hasLeft: theirs.string() === LEFT,
    };
  }

  get #open(): KV {
    if (this.#table === undefined) throw notOpen();
    return this.#table;
  }
}

const notOpen = (): Error => new Error('the table of owners is not open');

// Keys have letters, digits and `-_=./`; ids of sentinels and addresses have other characters, too.
const keyOf = (kind: string, text: string): string => `${kind}.${Buffer.from(text).toString('base64url')}`;
const leaseKey = (id: string): string => keyOf('s', id);
const textKey = (name: string): string => keyOf('r', name);
const addressKey = (address: string): string => keyOf('a', address);

const isWrongRevision = (error: unknown): boolean =>
  error instanceof JetStreamApiError && error.code === WRONG_REVISION;

function readRecord(text: string): OwnerRecord | undefined {
  try {
    const { sentinel, principal, epoch } = JSON.parse(text) as Partial<OwnerRecord>;
    const isValid =
      typeof sentinel === 'string' && typeof principal === 'string' && typeof epoch === 'number';
    return isValid ? { sentinel, principal, epoch } : undefined;
  } catch {
    // Not written by a sentinel: the next owner replaces it.
    return undefined;
  }
}
