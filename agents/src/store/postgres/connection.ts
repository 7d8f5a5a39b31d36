// One connection to PostgreSQL. The only file that imports `pg`. Statements are prepared once per connection, and several that are
// sent in one tick travel together.
import { readFileSync } from 'node:fs';
import { type Clock, FabricError } from '@fame-fabric/shared';
import { pause } from '@fame-fabric/shared/internal';
import pg from 'pg';
import type { StoreAddress, StoreHost } from './store-url.ts';

/** Value of a parameter. A JavaScript array is an array of PostgreSQL. */
export type Value = string | number | boolean | null | readonly (string | number | boolean | null)[];

/** Runs statements. */
export interface Sql {
  /** False for a while after the server was lost: the sessions of other living writers may not be back yet. */
  readonly knowsLiving: boolean;
  /** Returns the rows. */
  all<T>(text: string, ...values: Value[]): Promise<T[]>;
  /** Returns the first row. */
  get<T>(text: string, ...values: Value[]): Promise<T | undefined>;
  /** Returns the number of changed rows. */
  run(text: string, ...values: Value[]): Promise<number>;
}

export interface ConnectionOptions {
  readonly address: StoreAddress;
  /** Schema of the tables. */
  readonly schema: string;
  /** Name of the connection in the views of the server. */
  readonly name: string;
  readonly clock: Clock;
  /** True if an earlier connection was lost. */
  readonly isAgain: boolean;
  /** True if the connection commits writes that must be durable. @default false */
  readonly isWriter?: boolean | undefined;
}

const CONNECT_MS = 3_000;
/** Time after which the next host is tried too, in ms: a host that is down often does not answer at all. */
const NEXT_HOST_MS = 500;
/** Time that other writers have to return after the server was lost, in ms. */
const RETURN_MS = 3_000;
const MIN_VERSION = 140_000;

// The server ends sessions whose client vanished, so that their locks are released, and abandoned transactions.
const SETTINGS: Readonly<Record<string, string>> = {
  synchronous_commit: 'on',
  // A transaction takes locks before it reads. With another default of the database it could read the state before its locks.
  default_transaction_isolation: `'read committed'`,
  statement_timeout: '20000',
  lock_timeout: '5000',
  idle_in_transaction_session_timeout: '10000',
  tcp_keepalives_idle: '5',
  tcp_keepalives_interval: '2',
  tcp_keepalives_count: '3',
  // Compilation takes longer than the execution of any statement.
  jit: 'off',
  // Planning takes longer than execution, so each statement is planned once. A new database has no statistics, and a plan for an empty
  // table, with a scan or hash of the whole table, would stay. Every statement that names rows has an index.
  plan_cache_mode: 'force_generic_plan',
  enable_seqscan: 'off',
  enable_hashjoin: 'off',
  enable_mergejoin: 'off',
};

/**
 * Settings of connections that write. At the time limit of a statement, a COMMIT that waits for a synchronous standby would succeed
 * without it.
 */
const WRITER_SETTINGS: Readonly<Record<string, string>> = { statement_timeout: '0' };

const { builtins } = pg.types;
const numbers = new Set<number>([builtins.INT8, builtins.NUMERIC]);
// Times and sizes are 64-bit integers below 2^53.
const types: pg.CustomTypesConfig = {
  getTypeParser: ((oid: number, format?: 'text') =>
    numbers.has(oid) ? Number : pg.types.getTypeParser(oid, format)) as typeof pg.types.getTypeParser,
};

export class Connection implements Sql {
  readonly #client: pg.Client;
  readonly #clock: Clock;
  readonly #settings: Readonly<Record<string, string>>;
  /** Monotonic time from which on the sessions of other writers count. */
  readonly #livingFrom: number;
  readonly #names = new Map<string, string>();
  #isLost = false;
  /** Called once when the connection has ended, unless `close` ended it. */
  onLost: (() => void) | undefined;
  /** Called for each notification. */
  onNotification: ((payload: string) => void) | undefined;

  /** Connects to the first host that accepts writes. @throws the error of the last host */
  static async open(options: ConnectionOptions): Promise<Connection> {
    const connections = options.address.hosts.map((host) => new Connection(options, host));
    const ended = new AbortController();
    let opened: Connection | undefined;
    let before: Promise<unknown> = Promise.resolve();
    const attempts = connections.map((connection, i) => {
      const failed = before;
      const attempt = (async () => {
        await Promise.race([failed, pause(options.clock, i * NEXT_HOST_MS, ended.signal)]);
        if (opened) throw new Error('another host is used');
        await connection.#connect();
        opened ??= connection;
        return connection;
      })();
      before = attempt.catch(() => undefined);
      return attempt;
    });
    try {
      return await Promise.any(attempts);
    } catch (error) {
      throw (error as AggregateError).errors.at(-1);
    } finally {
      ended.abort();
      for (const connection of connections) if (connection !== opened) connection.destroy();
    }
  }

  private constructor(options: ConnectionOptions, { host, port }: StoreHost) {
    const { address, schema, name, clock, isAgain, isWriter = false } = options;
    this.#clock = clock;
    this.#settings = { ...SETTINGS, ...(isWriter ? WRITER_SETTINGS : {}), search_path: schema };
    this.#livingFrom = isAgain ? clock.monotonic() + RETURN_MS : Number.NEGATIVE_INFINITY;
    this.#client = new pg.Client({
      host,
      port,
      database: address.database,
      user: address.user,
      password: address.password ?? '',
      ssl: tlsOptions(address),
      application_name: name,
      connectionTimeoutMillis: CONNECT_MS,
      keepAlive: true,
      keepAliveInitialDelayMillis: 5_000,
      types,
      pipeline: true,
    });
    this.#client.on('error', () => this.#lose());
    this.#client.on('end', () => this.#lose());
    this.#client.on('notification', ({ payload = '' }) => this.onNotification?.(payload));
  }

  get isLost(): boolean {
    return this.#isLost;
  }

  get knowsLiving(): boolean {
    return this.#clock.monotonic() >= this.#livingFrom;
  }

  async #connect(): Promise<void> {
    await this.#client.connect();
    // Poolers refuse most settings in the start message.
    await this.script(
      Object.entries(this.#settings)
        .map(([name, value]) => `SET ${name} = ${value}`)
        .join(';'),
    );
    const row = await this.get<{ is_standby: boolean; version: number }>(
      `SELECT pg_is_in_recovery() AS is_standby, current_setting('server_version_num')::int AS version`,
    );
    if (row!.version < MIN_VERSION) {
      throw new FabricError(
        'CONFIG_INVALID',
        `The server of FAME_STORE_URL is PostgreSQL ${Math.floor(row!.version / 10_000)}. The store needs PostgreSQL 14 or later.`,
      );
    }
    if (row!.is_standby) {
      // Has the form of an error of the server, so that it is handled like one.
      throw Object.assign(new Error('the server is a standby'), { severity: 'ERROR', code: '25006' });
    }
  }

  async all<T>(text: string, ...values: Value[]): Promise<T[]> {
    return (await this.#query(text, values)).rows as T[];
  }

  async get<T>(text: string, ...values: Value[]): Promise<T | undefined> {
    return (await this.#query(text, values)).rows[0] as T | undefined;
  }

  async run(text: string, ...values: Value[]): Promise<number> {
    return (await this.#query(text, values)).rowCount ?? 0;
  }

  /** Runs several statements without parameters. */
  async script(text: string): Promise<void> {
    await this.#client.query(text);
  }

  #query(text: string, values: readonly Value[]): Promise<pg.QueryResult> {
    const faulty = values.find(hasNul);
    if (faulty !== undefined)
      return Promise.reject(
        new FabricError(
          'PARAMS_INVALID',
          'An id or key contains the character U+0000, which PostgreSQL cannot store.',
        ),
      );
    let name = this.#names.get(text);
    if (name === undefined) {
      name = `s${this.#names.size}`;
      this.#names.set(text, name);
    }
    return this.#client.query({ name, text, values: values as unknown[] });
  }

  /** Ends the connection when its statements have ended. */
  async close(): Promise<void> {
    this.onLost = undefined;
    if (!this.#isLost) await this.#client.end().catch(() => this.destroy());
  }

  /** Ends the connection at once. Its pending statements fail. */
  destroy(): void {
    (this.#client as unknown as { connection: { stream: { destroy(): void } } }).connection.stream.destroy();
    this.#lose();
  }

  #lose(): void {
    if (this.#isLost) return;
    this.#isLost = true;
    this.onLost?.();
  }
}

const hasNul = (value: Value): boolean =>
  typeof value === 'string'
    ? value.includes('\0')
    : Array.isArray(value) && value.some((one) => typeof one === 'string' && one.includes('\0'));

function tlsOptions({ tls, tlsRootFile }: StoreAddress): pg.ClientConfig['ssl'] {
  if (tls === 'disable') return false;
  if (tls === 'require') return { rejectUnauthorized: false };
  try {
    return { ca: tlsRootFile === undefined ? undefined : readFileSync(tlsRootFile, 'utf8') };
  } catch (cause) {
    const text = `FAME_STORE_URL names the file ${tlsRootFile} in sslrootcert, which cannot be read.`;
    throw new FabricError('CONFIG_INVALID', text, { cause });
  }
}

/**
 * Waits for statements that were sent together. Throws the error of the first that failed: the errors of later ones in its
 * transaction only follow from it.
 */
export async function together<T extends readonly unknown[]>(
  statements: readonly [...{ [K in keyof T]: Promise<T[K]> }],
): Promise<T> {
  const results = await Promise.allSettled(statements);
  return results.map((result) => {
    if (result.status === 'rejected') throw result.reason;
    return result.value;
  }) as unknown as T;
}
