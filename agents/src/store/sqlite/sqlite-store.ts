// Conversations in a SQLite file. This side turns calls into requests to the thread that owns the file and its answers into
// promises; the SQL stands in `sqlite-journal.ts`. Requests of one moment travel together and end up in one commit.
import { dirname, join, resolve } from 'node:path';
import { Worker } from 'node:worker_threads';
import { type Clock, type ErrorCode, FabricError, newId, systemClock } from '@fame-fabric/shared';
import { makeDirectory } from '@fame-fabric/shared/node';
import type {
  AcquiredConversation,
  Append,
  ConversationRecord,
  ConversationStore,
  EventBody,
  Fence,
  JournalEvent,
  ListOptions,
  NewConversation,
  NewEvent,
  Peek,
  ReadOptions,
  SweepOptions,
  SweepReport,
} from '../store.ts';
import type { RawEvent, RawRecord } from './sqlite-journal.ts';
import type { Operation, WorkerAnswer, WorkerRequest, WorkerSetup } from './sqlite-worker.ts';

export interface SqliteStoreOptions {
  /** The file; its directory is made if it is missing. */
  path: string;
  /** New conversations and turns are refused from here on, in bytes; 0 for no limit. @default 0 */
  maxBytes?: number;
  /** How long to wait while another process writes, in ms. @default 5_000 */
  busyMs?: number;
  clock?: Clock;
}

/** Room above `maxBytes` in which the turns that run may still end. */
const RESERVE_BYTES = 16_777_216;

interface Waiter {
  resolve(value: never): void;
  reject(error: FabricError): void;
}

/** A store in a file. `open` it, and `close` it in the end. */
export class SqliteStore implements ConversationStore {
  readonly place: string;
  /** Names this writer to others that share the file. */
  readonly holder: string;
  readonly #worker: Worker;
  readonly #clock: Clock;
  readonly #waiting = new Map<number, Waiter>();
  #outbox: WorkerRequest[] = [];
  #lastId = 0;
  #gone: FabricError | undefined;
  #closing: Promise<void> | undefined;

  /** @throws {STORE_UNAVAILABLE | STORE_SCHEMA} with the path, the cause and what to do */
  static async open(options: SqliteStoreOptions): Promise<SqliteStore> {
    const place = resolve(options.path);
    try {
      makeDirectory(dirname(place));
    } catch (cause) {
      const why = `${(cause as Error).message}; set FAME_DATA_DIR to a directory that may be written to`;
      throw new FabricError('STORE_UNAVAILABLE', `The store ${place} cannot be opened: ${why}.`, { cause });
    }
    const store = new SqliteStore(options);
    await store.#ready;
    return store;
  }

  readonly #ready: Promise<void>;

  private constructor(options: SqliteStoreOptions) {
    const { maxBytes = 0, busyMs = 5_000 } = options;
    this.place = resolve(options.path);
    this.holder = newId();
    this.#clock = options.clock ?? systemClock;
    const setup: WorkerSetup = {
      path: this.place,
      lockDirectory: join(dirname(this.place), 'writers'),
      holder: this.holder,
      busyMs,
      maxBytes,
      hardMaxBytes: maxBytes > 0 ? maxBytes + RESERVE_BYTES : 0,
    };
    // Sources run as they are under a test; otherwise both files stand compiled side by side.
    const extension = import.meta.url.endsWith('.ts') ? 'ts' : 'js';
    this.#worker = new Worker(new URL(`./sqlite-worker.${extension}`, import.meta.url), {
      workerData: setup,
      // Flags that are meant for the program do not concern this thread.
      execArgv: [],
    });
    this.#worker.on('message', (answers: WorkerAnswer[]) => this.#settle(answers));
    this.#worker.on('error', (error) => this.#lost(error));
    this.#worker.on('exit', () => this.#lost());
    this.#ready = new Promise((ready, reject) => {
      this.#waiting.set(0, { resolve: ready as Waiter['resolve'], reject });
    });
  }

  async create({ started, totals, ...rest }: NewConversation) {
    const given = { ...rest, totals: JSON.stringify(totals), started: rawEvent(started) };
    const { created, record } = await this.#ask<{ created: boolean; record: RawRecord }>('create', given);
    return { created, record: recordOf(record) };
  }

  async acquire(conversationId: string, leaseMs: number): Promise<AcquiredConversation | undefined> {
    const raw = await this.#ask<
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

  peek(conversationId: string, turnId?: string): Promise<Peek | undefined> {
    return this.#ask('peek', conversationId, turnId);
  }

  append({ events, totals, ...rest }: Append): Promise<void> {
    return this.#ask('append', {
      ...rest,
      events: events.map(rawEvent),
      ...(totals ? { totals: JSON.stringify(totals) } : {}),
    });
  }

  renew(conversationIds: readonly string[], leaseMs: number): Promise<readonly string[]> {
    return this.#ask('renew', conversationIds, leaseMs);
  }

  async record(conversationId: string): Promise<ConversationRecord | undefined> {
    const raw = await this.#ask<RawRecord | undefined>('record', conversationId);
    return raw && recordOf(raw);
  }

  async read(conversationId: string, options: ReadOptions = {}): Promise<readonly JournalEvent[]> {
    return (await this.#ask<RawEvent[]>('read', conversationId, options)).map(eventOf);
  }

  async history(conversationId: string): Promise<readonly (readonly JournalEvent[])[]> {
    const turns = await this.#ask<RawEvent[][]>('history', conversationId);
    return turns.map((turn) => turn.map(eventOf));
  }

  unfinished(agent: string, limit: number): Promise<readonly string[]> {
    return this.#ask('unfinished', agent, limit);
  }

  async list(options: ListOptions = {}): Promise<readonly ConversationRecord[]> {
    return (await this.#ask<RawRecord[]>('list', options)).map(recordOf);
  }

  remove(conversationId: string): Promise<boolean> {
    return this.#ask('remove', conversationId);
  }

  sweep(options: SweepOptions): Promise<SweepReport> {
    return this.#ask('sweep', options);
  }

  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    if (this.#gone) return;
    const exited = new Promise<void>((done) => this.#worker.once('exit', () => done()));
    await this.#ask('close');
    // Its answer was the last, and a thread that nobody waits for would let the process end before it has.
    this.#worker.ref();
    await exited;
  }

  #ask<T>(op: Operation, ...args: unknown[]): Promise<T> {
    if (this.#gone) return Promise.reject(this.#gone);
    return new Promise<T>((resolve, reject) => {
      const id = ++this.#lastId;
      // The thread keeps the process alive only while somebody waits for it.
      if (this.#waiting.size === 0) this.#worker.ref();
      this.#waiting.set(id, { resolve: resolve as Waiter['resolve'], reject });
      if (this.#outbox.push({ id, op, now: this.#clock.now(), args }) === 1)
        queueMicrotask(() => this.#send());
    });
  }

  #send(): void {
    const batch = this.#outbox;
    this.#outbox = [];
    if (!this.#gone) this.#worker.postMessage(batch);
  }

  #settle(answers: readonly WorkerAnswer[]): void {
    for (const { id, value, fault } of answers) {
      const waiter = this.#waiting.get(id);
      if (!waiter) continue;
      this.#waiting.delete(id);
      if (fault) waiter.reject(errorOf(fault));
      else waiter.resolve(value as never);
    }
    if (this.#waiting.size === 0) this.#worker.unref();
  }

  #lost(cause?: unknown): void {
    this.#gone ??= new FabricError('STORE_UNAVAILABLE', 'The store of conversations was closed.', { cause });
    for (const waiter of this.#waiting.values()) waiter.reject(this.#gone);
    this.#waiting.clear();
  }
}

const errorOf = ({ code, message, details, cause }: NonNullable<WorkerAnswer['fault']>): FabricError =>
  new FabricError(code as ErrorCode, message, {
    ...(details ? { details } : {}),
    ...(cause ? { cause: new Error(cause) } : {}),
  });

const rawEvent = ({ body, ...event }: NewEvent) => ({ ...event, body: JSON.stringify(body) });
const eventOf = ({ body, ...event }: RawEvent): JournalEvent => ({
  ...event,
  body: JSON.parse(body) as EventBody,
});
const recordOf = ({ totals, ...record }: RawRecord): ConversationRecord => ({
  ...record,
  totals: JSON.parse(totals) as EventBody,
});
