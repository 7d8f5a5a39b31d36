// A lane: one connection that writes. It runs the operations that arrived during its last commit in one transaction, and answers after
// the commit. It repeats a transaction after a deadlock or a lost connection. Batches have numbers, and each number is committed once,
// also if the connection is lost while the answer to COMMIT is on its way.
import type { Clock, FabricError } from '@fame-fabric/shared';
import { backoffDelayMs, pause } from '@fame-fabric/shared/internal';
import type { Connection, Sql } from './connection.ts';
import { closedFault, isContention, isLost, runningFault } from './faults.ts';
import { Reconnecting, type ReconnectingOptions } from './reconnecting.ts';
import { Transaction } from './transaction.ts';

/** Longest wait of an operation for a server that does not answer, in ms. */
export const SERVER_WAIT_MS = 10_000;
/** Maximum attempts of a batch that conflicts with other transactions. */
const MAX_ATTEMPTS = 8;
const CONTENTION = { minMs: 5, maxMs: 200 };
/** Limit of operations in one commit. */
const MAX_BATCH = 256;

/** An operation of the store. */
export interface Job<Given> {
  readonly given: Given;
  /** Time that replaces the clock of the database; undefined for none. */
  readonly now: number | undefined;
  /** Names and conversations that its transaction locks. */
  readonly names: readonly string[];
  readonly conversations: readonly string[];
}

/** The result of an operation, or the error that it failed with. */
export type Outcome = { readonly value: unknown } | { readonly fault: FabricError };

interface Pending<Given> {
  readonly job: Job<Given>;
  readonly until: number;
  resolve(value: unknown): void;
  reject(error: FabricError): void;
}

export interface LaneOptions<Given, Prefetched> extends ReconnectingOptions {
  /** Number of the lane, unique for its writer. */
  readonly number: number;
  readonly holder: string;
  readonly schema: string;
  /** Slot of the sizes. */
  readonly slot: number;
  /** For pauses and limits of this process. */
  readonly clock: Clock;
  /** Sends reads that all operations need, before the answers to the first statements. It awaits none before it has sent all. */
  prefetch(sql: Sql, jobs: readonly Job<Given>[]): Promise<Prefetched>;
  /**
   * Runs operations in a transaction. Returns their outcomes in order. With `stopsWhenFull` it ends before the first one that fails
   * with STORE_FULL.
   */
  run(
    tx: Transaction,
    jobs: readonly Job<Given>[],
    prefetched: Prefetched,
    stopsWhenFull: boolean,
  ): Promise<Outcome[]>;
  /** Makes room in a full store, never by the conversations `except`. Returns false if it found nothing to remove. */
  makeRoom(tx: Transaction, except: ReadonlySet<string>): Promise<boolean>;
  /** Name that `makeRoom` locks. */
  readonly roomName: string;
}

type Needs = Pick<Job<unknown>, 'now' | 'names' | 'conversations'>;

export class Lane<Given, Prefetched = void> {
  readonly #options: LaneOptions<Given, Prefetched>;
  readonly #connection: Reconnecting;
  #queue: Pending<Given>[] = [];
  #running: Promise<void> | undefined;
  #batch = 0;
  #isClosed = false;

  constructor(options: LaneOptions<Given, Prefetched>) {
    this.#options = options;
    this.#connection = new Reconnecting(options);
  }

  submit(job: Job<Given>): Promise<unknown> {
    if (this.#isClosed) return Promise.reject(closedFault());
    return new Promise((resolve, reject) => {
      this.#queue.push({ job, until: this.#options.clock.monotonic() + SERVER_WAIT_MS, resolve, reject });
      this.#running ??= this.#run();
    });
  }

  /** Waits for the operations and closes the connection. */
  async close(): Promise<void> {
    this.#isClosed = true;
    await this.#running;
    await this.#connection.close();
  }

  async #run(): Promise<void> {
    // Operations of the same tick share the commit.
    await Promise.resolve();
    while (this.#queue.length > 0) await this.#serve(this.#queue.splice(0, MAX_BATCH));
    this.#running = undefined;
  }

  async #serve(batch: readonly Pending<Given>[]): Promise<void> {
    let canMakeRoom = true;
    for (let rest = batch; rest.length > 0; ) {
      rest = rest.slice(await this.#commit(rest, canMakeRoom));
      if (rest.length > 0) canMakeRoom = await this.#makeRoom(rest);
    }
  }

  async #makeRoom(batch: readonly Pending<Given>[]): Promise<boolean> {
    const { roomName, makeRoom } = this.#options;
    const except = new Set(batch.flatMap(({ job }) => job.conversations));
    const [{ job, until }] = batch as [Pending<Given>];
    try {
      const needs = { now: job.now, names: [roomName], conversations: [] };
      return await this.#transact(
        needs,
        until,
        async () => undefined,
        (tx) => makeRoom(tx, except),
      );
    } catch {
      // The operations then fail with a fault of their own.
      return false;
    }
  }

  /** Runs operations in one commit and answers them. Returns the number of those that were answered. */
  async #commit(batch: readonly Pending<Given>[], stopsWhenFull: boolean): Promise<number> {
    const jobs = batch.map(({ job }) => job);
    const needs = {
      now: jobs[0]!.now,
      names: jobs.flatMap(({ names }) => names),
      conversations: jobs.flatMap(({ conversations }) => conversations),
    };
    let outcomes: Outcome[];
    try {
      const { run, prefetch } = this.#options;
      outcomes = await this.#transact(
        needs,
        batch[0]!.until,
        (sql) => prefetch(sql, jobs),
        (tx, prefetched) => run(tx, jobs, prefetched, stopsWhenFull),
      );
    } catch (error) {
      if (batch.length > 1 && !isLost(error)) return await this.#commitEach(batch);
      // Without a connection, each of them alone would only wait again.
      for (const { reject } of batch) reject(runningFault(error));
      return batch.length;
    }
    for (const [i, outcome] of outcomes.entries()) {
      const { resolve, reject } = batch[i]!;
      if ('fault' in outcome) reject(outcome.fault);
      else resolve(outcome.value);
    }
    return outcomes.length;
  }

  /** Runs each operation on its own, because one of them failed all. */
  async #commitEach(batch: readonly Pending<Given>[]): Promise<number> {
    for (const one of batch) {
      const isAnswered = (await this.#commit([one], true)) === 1;
      if (isAnswered) continue;
      await this.#makeRoom([one]);
      await this.#commit([one], false);
    }
    return batch.length;
  }

  /** Runs `work` in a transaction until it is committed. @throws the error of the last attempt */
  async #transact<T, Read>(
    needs: Needs,
    until: number,
    prefetch: (sql: Sql) => Promise<Read>,
    work: (tx: Transaction, prefetched: Read) => Promise<T>,
  ): Promise<T> {
    const { clock, holder, schema, slot, number: lane } = this.#options;
    this.#batch += 1;
    const batch = { holder, lane, number: this.#batch };
    /** Result of the last attempt whose commit may have succeeded. */
    let sent: { readonly result: T } | undefined;
    const attempt = async (connection: Connection): Promise<T> => {
      const begun = await Transaction.begin({ connection, schema, slot, ...needs }, batch, prefetch);
      if (!begun) {
        // A crash of the server ends the wait for a synchronous standby. This commit waits for it again.
        await connection.run('COMMIT');
        return sent!.result;
      }
      const { tx, prefetched } = begun;
      const result = await work(tx, prefetched);
      sent = { result };
      await tx.commit();
      return result;
    };
    for (let attempts = 1; ; attempts++) {
      try {
        return await this.#connection.use(until, async (connection) => {
          try {
            return await attempt(connection);
          } catch (error) {
            if (!isLost(error)) await connection.run('ROLLBACK');
            throw error;
          }
        });
      } catch (error) {
        const isOver = attempts >= MAX_ATTEMPTS || clock.monotonic() >= until;
        if (!isContention(error) || isOver) throw error;
        await pause(clock, backoffDelayMs(attempts - 1, CONTENTION));
      }
    }
  }
}
