// Conversation store in a SQLite file. This side sends requests to the thread that owns the file and settles a promise for each;
// the SQL is in `sqlite-journal.ts`. Requests of one callback of the event loop are sent together and share a commit.
import { randomBytes } from 'node:crypto';
import { dirname, join, resolve } from 'node:path';
import { Worker } from 'node:worker_threads';
import { type Clock, type ErrorCode, FabricError, newId, systemClock } from '@fame-fabric/shared';
import { makeDirectory } from '@fame-fabric/shared/node';
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
import { cursorOf, eventsAfter } from '../cursor.ts';
import type { QuotaChange, QuotaRefusal } from '../quota.ts';
import type {
  AcquiredConversation,
  Append,
  ConversationRecord,
  ConversationStore,
  CreatedConversation,
  EventBody,
  Fence,
  FindCursor,
  FindOptions,
  FoundPage,
  HistoryOptions,
  JournalEvent,
  ListOptions,
  NewConversation,
  NewEvent,
  Peek,
  ReachRequest,
  ReadOptions,
  RetryRequest,
  RoomReport,
  SweepOptions,
  SweepReport,
  TurnPlace,
} from '../store.ts';
import { NO_OWNER_LIMITS, type OwnerLimits } from '../store.ts';
import type { StoreTime } from '../store-time.ts';
import type { RawRecord } from './conversation-row.ts';
import type { RawCreated, RawEvent } from './sqlite-journal.ts';
import type { Operation, WorkerAnswer, WorkerRequest, WorkerSetup } from './sqlite-worker.ts';

export interface SqliteStoreOptions {
  /** Path of the file. A missing directory is created. */
  path: string;
  /** Size at which the store makes room, or refuses new conversations and turns, in bytes; 0 for no limit. @default 0 */
  maxBytes?: number | undefined;
  /** @default no limits */
  ownerLimits?: OwnerLimits | undefined;
  /** Called after a full store removed conversations to serve a request. */
  onRoom?: ((report: RoomReport) => void) | undefined;
  /** Longest wait for a lock of another process, in ms. @default 5_000 */
  busyMs?: number | undefined;
  clock?: Clock | undefined;
}

/** Reserve above `maxBytes` in which running turns can end. */
const RESERVE_BYTES = 16_777_216;

/** Tests run the sources. The build bundles the thread, whose own copies of our modules would take 4 MB. */
const WORKER = import.meta.url.endsWith('.ts') ? './sqlite-worker.ts' : '../../bundle/sqlite-worker.js';

interface Pending {
  resolve(value: never): void;
  reject(error: FabricError): void;
}

/** A store in a file. Create it with `open`, and `close` it at the end. */
export class SqliteStore implements ConversationStore, AgentStore {
  readonly place: string;
  readonly holder: string;
  readonly #worker: Worker;
  /** Settles when the thread has opened the file. */
  readonly #ready: Promise<void>;
  readonly #clock: Clock;
  readonly #onRoom: SqliteStoreOptions['onRoom'];
  readonly #pending = new Map<number, Pending>();
  #outbox: WorkerRequest[] = [];
  #lastId = 0;
  #failure: FabricError | undefined;
  #closing: Promise<void> | undefined;

  /** @throws {STORE_UNAVAILABLE | STORE_SCHEMA} with the path, the cause and the fix */
  static async open(options: SqliteStoreOptions): Promise<SqliteStore> {
    const place = resolve(options.path);
    try {
      makeDirectory(dirname(place));
    } catch (cause) {
      const why = `${(cause as Error).message}; set FAME_DATA_DIR to a writable directory`;
      throw new FabricError('STORE_UNAVAILABLE', `The store ${place} cannot be opened: ${why}.`, { cause });
    }
    const store = new SqliteStore(options);
    await store.#ready;
    return store;
  }

  private constructor(options: SqliteStoreOptions) {
    const { maxBytes = 0, busyMs = 5_000, ownerLimits = NO_OWNER_LIMITS } = options;
    this.place = resolve(options.path);
    this.holder = newId();
    this.#clock = options.clock ?? systemClock;
    this.#onRoom = options.onRoom;
    const setup: WorkerSetup = {
      path: this.place,
      reservePath: `${this.place}-reserve`,
      lockDirectory: join(dirname(this.place), 'writers'),
      holder: this.holder,
      busyMs,
      maxBytes,
      ownerLimits,
      hardMaxBytes: maxBytes > 0 ? maxBytes + RESERVE_BYTES : 0,
    };
    this.#worker = new Worker(new URL(WORKER, import.meta.url), {
      workerData: setup,
      // The thread does not inherit the flags of the program.
      execArgv: [],
      // Its objects live as long as one batch. V8 would let the young generation grow to 48 MB.
      resourceLimits: { maxYoungGenerationSizeMb: 6 },
    });
    this.#worker.on('message', (answers: WorkerAnswer[]) => this.#settle(answers));
    this.#worker.on('error', (error) => this.#fail(error));
    this.#worker.on('exit', () => this.#fail());
    this.#ready = new Promise((ready, reject) => {
      this.#pending.set(0, { resolve: ready as Pending['resolve'], reject });
    });
  }

  async create({ started, totals, ...rest }: NewConversation): Promise<CreatedConversation> {
    const given = { ...rest, totals: JSON.stringify(totals), started: rawEvent(started) };
    const { record, ...created } = await this.#request<RawCreated>('create', given);
    return { ...created, record: recordOf(record) };
  }

  async acquire(conversationId: string, leaseMs: number): Promise<AcquiredConversation | undefined> {
    const raw = await this.#request<
      | { record: RawRecord; fence: Fence; started: RawEvent; history: RawEvent[][]; open: RawEvent[][] }
      | undefined
    >('acquire', conversationId, leaseMs);
    if (!raw) return undefined;
    return {
      record: recordOf(raw.record),
      fence: raw.fence,
      started: eventOf(raw.started),
      history: raw.history.map((turn) => turn.map(eventOf)),
      open: raw.open.map((turn) => turn.map(eventOf)),
    };
  }

  reach(request: ReachRequest): Promise<string | undefined> {
    return this.#request('reach', request);
  }

  peek(conversationId: string, turnId?: string): Promise<Peek | undefined> {
    return this.#request('peek', conversationId, turnId);
  }

  append({ events, totals, ...rest }: Append): Promise<void> {
    return this.#request('append', {
      ...rest,
      events: events.map(rawEvent),
      totals: totals && JSON.stringify(totals),
    });
  }

  renew(conversationIds: readonly string[], leaseMs: number): Promise<readonly string[]> {
    return this.#request('renew', conversationIds, leaseMs);
  }

  async record(
    conversationId: string,
    options: Pick<ListOptions, 'inTrash'> = {},
  ): Promise<ConversationRecord | undefined> {
    const raw = await this.#request<RawRecord | undefined>('record', conversationId, options);
    return raw && recordOf(raw);
  }

  async read(conversationId: string, options: ReadOptions = {}): Promise<readonly JournalEvent[]> {
    const events = (await this.#request<RawEvent[]>('read', conversationId, options)).map(eventOf);
    const { afterCursor, limit = 500 } = options;
    return afterCursor === undefined ? events : eventsAfter(events, afterCursor, limit);
  }

  async history(
    conversationId: string,
    options: HistoryOptions = {},
  ): Promise<readonly (readonly JournalEvent[])[]> {
    const turns = await this.#request<RawEvent[][]>('history', conversationId, options);
    return turns.map((turn) => turn.map(eventOf));
  }

  turnOfApproval(conversationId: string, callId: string): Promise<string | undefined> {
    return this.#request('turnOfApproval', conversationId, callId);
  }

  unfinished(agent: string, limit: number): Promise<readonly string[]> {
    return this.#request('unfinished', agent, limit);
  }

  retried(request: RetryRequest): Promise<TurnPlace | undefined> {
    return this.#request('retried', request);
  }

  async find(options: FindOptions): Promise<FoundPage> {
    const { records, next } = await this.#request<{ records: RawRecord[]; next: FindCursor | undefined }>(
      'find',
      options,
    );
    return { records: records.map(recordOf), next };
  }

  async list(options: ListOptions = {}): Promise<readonly ConversationRecord[]> {
    return (await this.#request<RawRecord[]>('list', options)).map(recordOf);
  }

  trash(conversationId: string): Promise<boolean> {
    return this.#request('trash', conversationId);
  }

  restore(conversationId: string): Promise<boolean> {
    return this.#request('restore', conversationId);
  }

  async remove(conversationId: string): Promise<boolean> {
    const isRemoved = await this.#request<boolean>('remove', conversationId);
    if (isRemoved) await this.#shrink();
    return isRemoved;
  }

  async sweep(options: SweepOptions): Promise<SweepReport> {
    const report = await this.#request<SweepReport>('sweep', options);
    if (report.deleted > 0) await this.#shrink();
    return report;
  }

  getState(agent: string, key: string): Promise<StateEntry | undefined> {
    return this.#request('getState', agent, key);
  }

  putState(write: StateWrite): Promise<number | undefined> {
    return this.#request('putState', write);
  }

  deleteState(agent: string, key: string, ifVersion?: number): Promise<boolean> {
    return this.#request('deleteState', agent, key, ifVersion);
  }

  listState(agent: string, options: StateListOptions): Promise<StateEntries> {
    return this.#request('listState', agent, options);
  }

  keyIds(agent: string): Promise<readonly string[]> {
    return this.#request('keyIds', agent);
  }

  acceptRequest(request: NewRequest): Promise<AcceptedRequest> {
    return this.#request('acceptRequest', request);
  }

  startRequest(agent: string, id: string, maxAttempts: number): Promise<StartedRequest | undefined> {
    return this.#request('startRequest', agent, id, maxAttempts);
  }

  releaseRequest(agent: string, id: string, attempt: number, isInterrupted: boolean): Promise<void> {
    return this.#request('releaseRequest', agent, id, attempt, isInterrupted);
  }

  endRequest(end: RequestEnd): Promise<boolean> {
    return this.#request('endRequest', end);
  }

  adoptRequests(agent: string, limit: number): Promise<readonly StoredRequest[]> {
    return this.#request('adoptRequests', agent, limit);
  }

  getRequest(agent: string, id: string): Promise<StoredRequest | undefined> {
    return this.#request('getRequest', agent, id);
  }

  listRequests(options?: RequestListOptions): Promise<readonly StoredRequest[]> {
    return this.#request('listRequests', options);
  }

  reviveRequest(agent: string, id: string): Promise<boolean> {
    return this.#request('reviveRequest', agent, id);
  }

  removeRequest(agent: string, id: string): Promise<boolean> {
    return this.#request('removeRequest', agent, id);
  }

  changeQuota(principal: string, changes: readonly QuotaChange[]): Promise<QuotaRefusal | undefined> {
    return this.#request('changeQuota', principal, changes);
  }

  keepTime(elapsedMs: number): Promise<StoreTime | undefined> {
    return this.#request('keepTime', elapsedMs);
  }

  time(): Promise<StoreTime> {
    return this.#request('time');
  }

  endHold(): Promise<void> {
    return this.#request('endHold');
  }

  replicaKey(): Promise<string> {
    return this.#request('replicaKey', randomBytes(32).toString('base64url'));
  }

  /** Returns free pages to the file system, step by step, so that turns run in between. */
  async #shrink(): Promise<void> {
    try {
      while (!(await this.#request<{ isDone: boolean }>('shrink')).isDone);
    } catch {
      // The pages stay free for other conversations.
    }
  }

  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    if (this.#failure) return;
    const exited = new Promise<void>((done) => this.#worker.once('exit', () => done()));
    await this.#request('close');
    // Keep the process alive until the thread has exited.
    this.#worker.ref();
    await exited;
  }

  #request<T>(op: Operation, ...args: unknown[]): Promise<T> {
    if (this.#failure) return Promise.reject(this.#failure);
    return new Promise<T>((resolve, reject) => {
      const id = ++this.#lastId;
      // The thread keeps the process alive only while a request is pending.
      if (this.#pending.size === 0) this.#worker.ref();
      this.#pending.set(id, { resolve: resolve as Pending['resolve'], reject });
      if (this.#outbox.push({ id, op, now: this.#clock.now(), args }) === 1) queueMicrotask(this.#sendLater);
    });
  }

  // `nextTick` in a microtask runs after all microtasks. The writes of a turn follow each other after a few of them: its acceptance and
  // its first model call, its reply and its end.
  readonly #sendLater = (): void => process.nextTick(this.#send);

  readonly #send = (): void => {
    const batch = this.#outbox;
    this.#outbox = [];
    if (!this.#failure) this.#worker.postMessage(batch);
  };

  #settle(answers: readonly WorkerAnswer[]): void {
    for (const { id, value, fault, room } of answers) {
      if (room) this.#onRoom?.(room);
      const pending = this.#pending.get(id);
      if (!pending) continue;
      this.#pending.delete(id);
      if (fault) pending.reject(errorOf(fault));
      else pending.resolve(value as never);
    }
    if (this.#pending.size === 0) this.#worker.unref();
  }

  #fail(cause?: unknown): void {
    this.#failure ??= new FabricError('STORE_UNAVAILABLE', 'The conversation store is closed.', { cause });
    for (const pending of this.#pending.values()) pending.reject(this.#failure);
    this.#pending.clear();
  }
}

const errorOf = ({ code, message, details, cause }: NonNullable<WorkerAnswer['fault']>): FabricError =>
  new FabricError(code as ErrorCode, message, {
    details,
    cause: cause ? new Error(cause) : undefined,
  });

const rawEvent = ({ body, ...event }: NewEvent) => ({ ...event, body: JSON.stringify(body) });
function eventOf({ body: json, fence, firstSeq, ...raw }: RawEvent): JournalEvent {
  const event = { ...raw, body: JSON.parse(json) as EventBody };
  return { ...event, cursor: cursorOf({ fence, firstSeq }, event) };
}
const recordOf = ({ totals, ...record }: RawRecord): ConversationRecord => ({
  ...record,
  totals: JSON.parse(totals) as EventBody,
});
