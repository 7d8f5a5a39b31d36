// Conversation store and store of agents in a PostgreSQL database, which several processes share. Writes go through a few lanes that
// share commits (`lane.ts`): appends of one conversation always through the same one. Reads have connections of their own.
import {
  type Clock,
  type FabricError,
  isFabricError,
  type Logger,
  newId,
  silentLog,
  systemClock,
} from '@fame-fabric/shared';
import { backoffDelayMs, pause } from '@fame-fabric/shared/internal';
import type {
  AcceptedRequest,
  AgentStore,
  NewRequest,
  RequestEnd,
  RequestListOptions,
  StartedRequest,
  StateEntries,
  StateEntry,
  StateListOptions,
  StateWrite,
  StoredRequest,
} from '../agent-store.ts';
import type { QuotaChange, QuotaRefusal } from '../quota.ts';
import {
  type AcquiredConversation,
  type Append,
  type ConversationRecord,
  type ConversationStore,
  type CreatedConversation,
  type FindOptions,
  type FoundPage,
  type HistoryOptions,
  type JournalEvent,
  type ListOptions,
  type NewConversation,
  NO_OWNER_LIMITS,
  type OwnerLimits,
  type Peek,
  type ReachRequest,
  type ReadOptions,
  type RetryRequest,
  type RoomReport,
  type SweepOptions,
  type SweepReport,
  type TurnPlace,
} from '../store.ts';
import type { StoreTime } from '../store-time.ts';
import * as data from './agent-data.ts';
import { Appends, type GivenAppend, givenAppend, givenEvent, retryName } from './appends.ts';
import { Connection, type Sql } from './connection.ts';
import { closedFault, isContention, isStarting, openingFault, runningFault } from './faults.ts';
import { type Job, Lane, type Outcome, SERVER_WAIT_MS } from './lane.ts';
import * as operations from './operations.ts';
import * as reads from './reads.ts';
import { Reconnecting } from './reconnecting.ts';
import { remove, restore, trash } from './removal.ts';
import { ROOM_NAME, Room } from './room.ts';
import { prepareSchema } from './schema.ts';
import { checkSessions, Session } from './session.ts';
import { parseStoreUrl, type StoreAddress } from './store-url.ts';
import { sweep } from './sweep.ts';
import { SLOTS, type Transaction } from './transaction.ts';

export interface PostgresStoreOptions {
  /** URL of the database, as `parseStoreUrl` reads it. */
  url: string;
  /** Schema of the tables: lower-case letters, digits and underscores. @default 'fame' */
  schema?: string | undefined;
  /** Size at which the store makes room, or refuses new conversations and turns, in characters; 0 for no limit. @default 0 */
  maxBytes?: number | undefined;
  /** @default no limits */
  ownerLimits?: OwnerLimits | undefined;
  /** Called after a full store removed conversations to serve a request. */
  onRoom?: ((report: RoomReport) => void) | undefined;
  /** @default no log */
  log?: Logger | undefined;
  /** Replaces the clock of the database for leases and times, in tests. @default the clock of the database */
  clock?: Clock | undefined;
}

/** Lanes of appends. Lane 0 runs the other writes. */
const APPEND_LANES = 2;
const READERS = 2;
/** Pauses between attempts while the server starts. */
const STARTING = { minMs: 50, maxMs: 500 };

type Work = (tx: Transaction) => Promise<unknown>;

/** A store in a database. Create it with `open`, and `close` it at the end. */
export class PostgresStore implements ConversationStore, AgentStore {
  readonly place: string;
  /** Id of this writer, for others that share the database. */
  readonly holder = newId();
  readonly #clock: Clock | undefined;
  readonly #room: Room;
  readonly #connect: (isAgain: boolean) => Promise<Connection>;
  readonly #session: Session;
  readonly #writes: Lane<Work>;
  readonly #appends: readonly Pick<Lane<GivenAppend>, 'submit' | 'close'>[];
  readonly #readers: readonly Reconnecting[];
  readonly #reading = new Set<Promise<unknown>>();
  #nextReader = 0;
  #closing: Promise<void> | undefined;

  /**
   * Opens the store, and creates its tables in a new database. Waits at most 10 s for a server that is starting or recovering.
   * @throws {CONFIG_INVALID} for a faulty URL, a server that is too old or a pooler without sessions
   * @throws {STORE_UNAVAILABLE | STORE_SCHEMA} with the place, the cause and the fix, and never with the password
   */
  static async open(options: PostgresStoreOptions): Promise<PostgresStore> {
    const { log = silentLog } = options;
    const address = parseStoreUrl(options.url);
    if (!address.isProtected)
      log.warn(
        'the connection to PostgreSQL is not encrypted; add sslmode=verify-full to FAME_STORE_URL, or sslmode=disable for a private network',
        { store: address.place },
      );
    const store = new PostgresStore(address, options);
    try {
      await store.#openWhenStarted(options.schema ?? 'fame', log);
      return store;
    } catch (error) {
      await store.close();
      throw openingFault(error, address.place);
    }
  }

  private constructor(address: StoreAddress, options: PostgresStoreOptions) {
    const { schema = 'fame', maxBytes = 0, ownerLimits = NO_OWNER_LIMITS, onRoom } = options;
    this.place = address.place;
    this.#clock = options.clock;
    this.#room = new Room({ maxBytes, ownerLimits, onRoom });
    const common = { address, schema, name: `fame ${this.holder}`, clock: systemClock };
    const connect = (isAgain: boolean): Promise<Connection> => Connection.open({ ...common, isAgain });
    this.#connect = connect;
    const { holder } = this;
    this.#session = new Session({ holder, schema, clock: systemClock, connect });
    const firstSlot = Math.floor(Number.parseInt(holder.slice(0, 6), 36));
    const laneOf = (number: number) => ({
      number,
      holder,
      schema,
      slot: (firstSlot + number) % SLOTS,
      clock: systemClock,
      connect: (isAgain: boolean) => Connection.open({ ...common, isAgain, isWriter: true }),
      roomName: ROOM_NAME,
      makeRoom: (tx: Transaction, except: ReadonlySet<string>) => this.#room.makeRoom(tx, except),
    });
    this.#writes = new Lane<Work>({ ...laneOf(0), prefetch: async () => undefined, run: runWorks });
    this.#appends = Array.from({ length: APPEND_LANES }, (_, i) => {
      const appends = new Appends(this.#room);
      return new Lane({
        ...laneOf(1 + i),
        prefetch: (sql: Sql, jobs: readonly Job<GivenAppend>[]) => appends.prefetch(sql, jobs),
        run: (tx, jobs, prefetched, stopsWhenFull) => appends.run(tx, jobs, prefetched, stopsWhenFull),
      });
    });
    this.#readers = Array.from({ length: READERS }, () => new Reconnecting({ clock: systemClock, connect }));
  }

  // A server that starts, recovers, or becomes the primary is the right one, so wait for it. All other errors are for the operator.
  async #openWhenStarted(schema: string, log: Logger): Promise<void> {
    const until = systemClock.monotonic() + SERVER_WAIT_MS;
    for (let attempt = 0; ; attempt++) {
      try {
        await this.#open(schema);
        return;
      } catch (error) {
        if (!isStarting(error) || systemClock.monotonic() >= until) throw error;
        if (attempt === 0)
          log.info('waiting for the database server, which is starting', { store: this.place });
        await pause(systemClock, backoffDelayMs(attempt, STARTING));
      }
    }
  }

  async #open(schema: string): Promise<void> {
    await checkSessions(systemClock, () => this.#connect(false));
    const connection = await this.#connect(false);
    try {
      await prepareSchema(connection, { schema, place: this.place });
    } finally {
      await connection.close();
    }
    await this.#session.open();
  }

  create({ started, totals, ...rest }: NewConversation): Promise<CreatedConversation> {
    const given = { ...rest, totals: JSON.stringify(totals), started: givenEvent(started) };
    const { agent, principal = 'local', id } = given;
    const names = [`id:${id}`, ...(principal === 'local' ? [] : [`owner:${principal}`])];
    return this.#write(names, [id], (tx) =>
      operations.create(tx, this.#room, this.holder, { ...given, agent }),
    );
  }

  reach(request: ReachRequest): Promise<string | undefined> {
    return this.#read((sql) => reads.reach(sql, request));
  }

  acquire(conversationId: string, leaseMs: number): Promise<AcquiredConversation | undefined> {
    return this.#write([], [conversationId], (tx) =>
      operations.acquire(tx, this.holder, conversationId, leaseMs),
    );
  }

  async peek(conversationId: string, turnId?: string): Promise<Peek | undefined> {
    const now = this.#clock?.now();
    const found = await this.#read((sql) => reads.peek(sql, now, conversationId, turnId));
    if (!found) return undefined;
    const isFull = this.#room.isFull(found.bytes) && !(await this.#hasRoomAfterMaking(conversationId));
    return { ...found.peek, isFull };
  }

  /** A request that only reads must not find a full store while room can be made. */
  #hasRoomAfterMaking(conversationId: string): Promise<boolean> {
    return this.#write([ROOM_NAME], [], async (tx) => {
      while (this.#room.isFull(tx.bytes))
        if (!(await this.#room.makeRoom(tx, new Set([conversationId])))) return false;
      return true;
    });
  }

  async append(append: Append): Promise<void> {
    const { conversationId, retry } = append;
    const lane = this.#appends[laneOf(conversationId)]!;
    await lane.submit({
      given: givenAppend(append),
      now: this.#clock?.now(),
      names: retry ? [retryName(retry)] : [],
      conversations: [conversationId],
    });
    if (append.leaseMs === 0) this.#session.release();
  }

  renew(conversationIds: readonly string[], leaseMs: number): Promise<readonly string[]> {
    const ids = [...conversationIds];
    return this.#write([], ids, (tx) => operations.renew(tx, this.holder, ids, leaseMs));
  }

  record(
    conversationId: string,
    options?: Pick<ListOptions, 'inTrash'>,
  ): Promise<ConversationRecord | undefined> {
    return this.#read((sql) => reads.record(sql, conversationId, options));
  }

  read(conversationId: string, options: ReadOptions = {}): Promise<readonly JournalEvent[]> {
    return this.#read((sql) => reads.read(sql, conversationId, options));
  }

  history(conversationId: string, options?: HistoryOptions): Promise<readonly (readonly JournalEvent[])[]> {
    return this.#read((sql) => reads.history(sql, conversationId, options));
  }

  turnOfApproval(conversationId: string, callId: string): Promise<string | undefined> {
    return this.#read((sql) => reads.turnOfApproval(sql, conversationId, callId));
  }

  unfinished(agent: string, limit: number): Promise<readonly string[]> {
    const now = this.#clock?.now();
    return this.#read((sql) => reads.unfinished(sql, now, agent, limit));
  }

  retried(request: RetryRequest): Promise<TurnPlace | undefined> {
    return this.#write([retryName(request)], [], (tx) => operations.retried(tx, request));
  }

  find(options: FindOptions): Promise<FoundPage> {
    return this.#read((sql) => reads.find(sql, options));
  }

  list(options: ListOptions = {}): Promise<readonly ConversationRecord[]> {
    return this.#read((sql) => reads.list(sql, options));
  }

  trash(conversationId: string): Promise<boolean> {
    return this.#write([], [conversationId], (tx) => trash(tx, conversationId));
  }

  restore(conversationId: string): Promise<boolean> {
    return this.#write([], [conversationId], (tx) => restore(tx, conversationId));
  }

  remove(conversationId: string): Promise<boolean> {
    return this.#write([], [conversationId], (tx) => remove(tx, conversationId));
  }

  sweep(options: SweepOptions): Promise<SweepReport> {
    return this.#write([], [], (tx) => sweep(tx, options));
  }

  keepTime(elapsedMs: number): Promise<StoreTime | undefined> {
    return this.#write(['time'], [], (tx) => operations.keepTime(tx, this.holder, elapsedMs));
  }

  time(): Promise<StoreTime> {
    return this.#read(operations.readStoreTime);
  }

  endHold(): Promise<void> {
    return this.#write(['time'], [], operations.endHold);
  }

  changeQuota(principal: string, changes: readonly QuotaChange[]): Promise<QuotaRefusal | undefined> {
    return this.#write([`quota:${principal}`], [], (tx) => operations.changeQuota(tx, principal, changes));
  }

  replicaKey(): Promise<string> {
    return this.#write([], [], (tx) => operations.sharedSecret(tx, 'replica'));
  }

  onRelease(listener: () => void): () => void {
    return this.#session.onRelease(listener);
  }

  getState(agent: string, key: string): Promise<StateEntry | undefined> {
    return this.#read((sql) => data.getState(sql, agent, key));
  }

  putState(write: StateWrite): Promise<number | undefined> {
    return this.#write([data.agentName(write.agent)], [], (tx) => data.putState(tx, this.#room, write));
  }

  deleteState(agent: string, key: string, ifVersion?: number): Promise<boolean> {
    return this.#write([data.agentName(agent)], [], (tx) => data.deleteState(tx, agent, key, ifVersion));
  }

  listState(agent: string, options: StateListOptions): Promise<StateEntries> {
    return this.#read((sql) => data.listState(sql, agent, options));
  }

  keyIds(agent: string): Promise<readonly string[]> {
    return this.#read((sql) => data.keyIds(sql, agent));
  }

  acceptRequest(request: NewRequest): Promise<AcceptedRequest> {
    return this.#write([data.agentName(request.agent)], [], (tx) =>
      data.acceptRequest(tx, this.#room, this.holder, request),
    );
  }

  startRequest(agent: string, id: string, maxAttempts: number): Promise<StartedRequest | undefined> {
    return this.#write([data.agentName(agent)], [], (tx) =>
      data.startRequest(tx, this.holder, agent, id, maxAttempts),
    );
  }

  releaseRequest(agent: string, id: string, attempt: number, isInterrupted: boolean): Promise<void> {
    return this.#write([data.agentName(agent)], [], (tx) =>
      data.releaseRequest(tx, this.holder, agent, id, attempt, isInterrupted),
    );
  }

  endRequest(end: RequestEnd): Promise<boolean> {
    return this.#write([data.agentName(end.agent)], [], (tx) => data.endRequest(tx, this.holder, end));
  }

  adoptRequests(agent: string, limit: number): Promise<readonly StoredRequest[]> {
    return this.#write([data.agentName(agent)], [], (tx) =>
      data.adoptRequests(tx, this.holder, agent, limit),
    );
  }

  getRequest(agent: string, id: string): Promise<StoredRequest | undefined> {
    return this.#read((sql) => data.getRequest(sql, agent, id));
  }

  listRequests(options?: RequestListOptions): Promise<readonly StoredRequest[]> {
    return this.#read((sql) => data.listRequests(sql, options));
  }

  reviveRequest(agent: string, id: string): Promise<boolean> {
    return this.#write([data.agentName(agent)], [], (tx) => data.reviveRequest(tx, agent, id));
  }

  removeRequest(agent: string, id: string): Promise<boolean> {
    return this.#write([data.agentName(agent)], [], (tx) => data.removeRequest(tx, agent, id));
  }

  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    await Promise.all([this.#writes, ...this.#appends].map((lane) => lane.close()));
    await Promise.allSettled(this.#reading);
    await Promise.all(this.#readers.map((reader) => reader.close()));
    await this.#session.close();
  }

  #write<T>(
    names: readonly string[],
    conversations: readonly string[],
    work: (tx: Transaction) => Promise<T>,
  ) {
    return this.#writes.submit({ given: work, now: this.#clock?.now(), names, conversations }) as Promise<T>;
  }

  async #read<T>(work: (sql: Sql) => Promise<T>): Promise<T> {
    if (this.#closing) throw closedFault();
    this.#nextReader = (this.#nextReader + 1) % READERS;
    const until = systemClock.monotonic() + SERVER_WAIT_MS;
    const read = async (): Promise<T> => {
      try {
        return await this.#readers[this.#nextReader]!.use(until, work);
      } catch (error) {
        if (isContention(error)) return await this.#readers[0]!.use(until, work);
        throw error;
      }
    };
    const reading = read();
    this.#reading.add(reading);
    try {
      return await reading;
    } catch (error) {
      throw runningFault(error);
    } finally {
      this.#reading.delete(reading);
    }
  }
}

/** Runs operations one after the other. One that fails with FabricError has written nothing. */
async function runWorks(
  tx: Transaction,
  jobs: readonly Job<Work>[],
  _: unknown,
  stopsWhenFull: boolean,
): Promise<Outcome[]> {
  const outcomes: Outcome[] = [];
  for (const { given } of jobs) {
    try {
      outcomes.push({ value: await given(tx) });
    } catch (error) {
      if (!isFabricError(error)) throw error;
      if (stopsWhenFull && error.code === 'STORE_FULL') break;
      outcomes.push({ fault: error as FabricError });
    }
  }
  return outcomes;
}

function laneOf(conversationId: string): number {
  let hash = 0;
  for (let i = 0; i < conversationId.length; i++) hash = (hash * 31 + conversationId.charCodeAt(i)) | 0;
  return Math.abs(hash) % APPEND_LANES;
}
