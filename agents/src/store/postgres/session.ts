// The session of a writer: a connection that proves to the other writers that this one lives, and that sends and receives notifications
// of released conversations. A notification may be missed, so writers also search for free conversations periodically. Each one is sent
// in its own transaction, because a commit with a notification waits for all other such commits.
import { randomInt } from 'node:crypto';
import { type Clock, FabricError, newId, type Timer } from '@fame-fabric/shared';
import type { Connection } from './connection.ts';
import { isLost, sqlState } from './faults.ts';
import { SERVER_WAIT_MS } from './lane.ts';
import { deleteDead } from './living.ts';
import { Reconnecting } from './reconnecting.ts';
import { WRITER_LOCK } from './transaction.ts';

const MAX_NUMBER = 2 ** 31 - 1;
/** Interval of the signs of life, in ms. */
const BEAT_MS = 1_000;
/** Wait for the notification that checks the connection, in ms. */
const CHECK_MS = 3_000;

export interface SessionOptions {
  readonly holder: string;
  readonly schema: string;
  readonly clock: Clock;
  connect(isAgain: boolean): Promise<Connection>;
}

export class Session {
  readonly #options: SessionOptions;
  readonly #connection: Reconnecting;
  readonly #listeners = new Set<() => void>();
  #beat: Timer | undefined;
  #beating: Promise<void> | undefined;
  #releasing: Promise<void> | undefined;
  #isClosed = false;
  /** True if the session returned since the last beat: a server that ends each session must not be called without a pause. */
  #hasReturned = false;

  constructor(options: SessionOptions) {
    this.#options = options;
    this.#connection = new Reconnecting({
      clock: options.clock,
      connect: (isAgain) => this.#register(isAgain),
    });
  }

  /** Registers the writer. @throws errors of the server */
  async open(): Promise<void> {
    const { clock } = this.#options;
    await this.#connection.use(clock.monotonic(), async (connection) => {
      await connection.run('SELECT 1');
    });
    this.#beat = clock.every(BEAT_MS, () => {
      this.#hasReturned = false;
      this.#showLife();
    });
  }

  #showLife(): void {
    this.#beating ??= this.#signOfLife().finally(() => {
      this.#beating = undefined;
    });
  }

  // Without its session this writer counts as dead, and the others take its turns. So it returns at once, and not with the next beat.
  #return(): void {
    if (this.#isClosed || this.#hasReturned) return;
    this.#hasReturned = true;
    this.#showLife();
  }

  /** Calls `listener` when another writer may have released conversations. Returns the function that ends it. */
  onRelease(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** Notifies the other writers of released conversations. Releases of the same moment share a notification. */
  release(): void {
    this.#releasing ??= this.#notifyReleased().finally(() => {
      this.#releasing = undefined;
    });
  }

  /** Ends the session: the leases of this writer are free. */
  async close(): Promise<void> {
    this.#isClosed = true;
    this.#beat?.stop();
    await Promise.all([this.#beating, this.#releasing]);
    const { clock, holder } = this.#options;
    // Without the row, the other writers find its conversations free when their server is back.
    await this.#connection
      .use(clock.monotonic(), async (connection) => {
        await connection.run('DELETE FROM writer WHERE holder = $1', holder);
        await connection.run('DELETE FROM batch WHERE holder = $1', holder);
        await connection.run('SELECT pg_notify($1, $2)', this.#channel, holder);
      })
      .catch(() => undefined);
    await this.#connection.close();
  }

  get #channel(): string {
    return `fame_release_${this.#options.schema}`;
  }

  async #register(isAgain: boolean): Promise<Connection> {
    const { holder, connect } = this.#options;
    const connection = await connect(isAgain);
    try {
      connection.onNotification = (payload) => this.#hear(payload);
      // Signs of life need not survive a crash of the server.
      await connection.run('SET synchronous_commit = off');
      await registerWriter(connection, holder);
      await connection.run(`LISTEN ${this.#channel}`);
      connection.onLost = () => this.#return();
      return connection;
    } catch (error) {
      connection.destroy();
      throw error;
    }
  }

  #hear(payload: string): void {
    if (payload === this.#options.holder) return;
    for (const listener of this.#listeners) listener();
  }

  async #signOfLife(): Promise<void> {
    const { clock, holder } = this.#options;
    try {
      await this.#connection.use(clock.monotonic(), async (connection) => {
        const isThere = await connection.run(
          'UPDATE writer SET seen_at = clock_timestamp() WHERE holder = $1',
          holder,
        );
        // Other writers may have assumed that this one is dead while it was cut off.
        if (isThere === 0 && !this.#isClosed) await registerWriter(connection, holder);
        if (await deleteDead(connection)) {
          await connection.run('SELECT pg_notify($1, $2)', this.#channel, holder);
          for (const listener of this.#listeners) listener();
        }
      });
    } catch (error) {
      // The next beat tries again.
      if (!isLost(error) && !(error instanceof Error)) throw error;
    }
  }

  async #notifyReleased(): Promise<void> {
    await Promise.resolve();
    const { clock, holder } = this.#options;
    await this.#connection
      .use(clock.monotonic() + SERVER_WAIT_MS, (connection) =>
        connection.run('SELECT pg_notify($1, $2)', this.#channel, holder),
      )
      // The other writers find them in their next search.
      .catch(() => undefined);
  }
}

/**
 * Checks that connections keep their sessions, by a notification from one to another.
 * @throws {CONFIG_INVALID} if a pooler is in between that gives the statements of a connection to any session
 */
export async function checkSessions(clock: Clock, connect: () => Promise<Connection>): Promise<void> {
  let isKept: boolean;
  try {
    isKept = await isNotified(clock, connect);
  } catch (error) {
    if (!SESSION_MIXED.has(sqlState(error) ?? '')) throw error;
    isKept = false;
  }
  if (isKept) return;
  throw new FabricError(
    'CONFIG_INVALID',
    'FAME_STORE_URL leads to a connection pooler that does not keep sessions, so LISTEN does not work. Name the PostgreSQL server itself, or a pool in session mode.',
  );
}

/** Errors about prepared statements of other connections: they share a session. */
const SESSION_MIXED = new Set(['42P05', '26000']);

/** Returns true if a notification of one connection reaches another. */
async function isNotified(clock: Clock, connect: () => Promise<Connection>): Promise<boolean> {
  const channel = `fame_check_${newId().toLowerCase()}`;
  const { promise, resolve, reject } = Promise.withResolvers<boolean>();
  const opened = [await connect()];
  let limit: Timer | undefined;
  try {
    const [listening] = opened as [Connection];
    listening.onNotification = () => resolve(true);
    await listening.run(`LISTEN ${channel}`);
    const sending = await connect();
    opened.push(sending);
    await sending.run('SELECT pg_notify($1, $2)', channel, '');
    // A server that is only slow sends the notification before it answers this statement.
    const ask = (): Promise<void> => listening.run('SELECT 1').then(() => resolve(false), reject);
    limit = clock.after(CHECK_MS, () => void ask(), { keepAlive: true });
    return await promise;
  } finally {
    limit?.stop();
    await Promise.all(opened.map((connection) => connection.close()));
  }
}

/** Writes the row of a writer and takes its lock, which an earlier session of it may still hold for a moment. */
async function registerWriter(connection: Connection, holder: string): Promise<void> {
  const row = await connection.get<{ number: number }>(
    `INSERT INTO writer (holder, number, seen_at) VALUES ($1, $2, clock_timestamp())
     ON CONFLICT (holder) DO UPDATE SET seen_at = excluded.seen_at RETURNING number`,
    holder,
    randomInt(MAX_NUMBER),
  );
  await connection.run('SELECT pg_advisory_lock($1, $2)', WRITER_LOCK, row!.number);
}
