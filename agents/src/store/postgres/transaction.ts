// One transaction of a lane. It first locks the names and conversations of its operations, always in the same order, so that
// transactions do not deadlock. It adds up the changes of sizes and writes them at the end.
//
// Invariants: I1 Names are locked first, in the order of their hashes, then conversations in the order of their keys, and sizes last.
// I2 An operation that fails with FabricError has written nothing.
import { type Connection, together } from './connection.ts';
import { COLUMNS, type Row } from './rows.ts';

/** First part of the advisory locks of names. */
const NAME_LOCK = 0x46414d45 + 1;
/** First part of the advisory locks of writers. */
export const WRITER_LOCK = 0x46414d45 + 2;
/** Slots of the sizes. */
export const SLOTS = 16;

const NOW = `(extract(epoch FROM clock_timestamp()) * 1000)::bigint`;
/** Size of the store in characters. */
export const SIZE = `((SELECT coalesce(sum(chars), 0) FROM size)
  + (SELECT coalesce(sum(state_chars + request_chars), 0) FROM agent_usage))::bigint`;

export interface TransactionOptions {
  readonly connection: Connection;
  readonly schema: string;
  /** Slot of the sizes. */
  readonly slot: number;
  /** Time that replaces the clock of the database; undefined for none. */
  readonly now: number | undefined;
  /** Names to lock. */
  readonly names: readonly string[];
  /** Ids of the conversations to lock. */
  readonly conversations: readonly string[];
}

export class Transaction {
  readonly sql: Connection;
  readonly now: number;
  readonly #slot: number;
  /** The locked conversations, also those in the trash. Operations keep the rows as they write them. */
  readonly #rows: Map<string, Row>;
  #bytes: number;
  /** Change of the sizes, and the change that its operation writes itself. */
  #bytesChange = 0;
  #usedChange = 0;
  readonly #ownerChanges = new Map<string, number>();
  readonly #sent: Promise<unknown>[] = [];

  /**
   * Begins a transaction. Another one with the same `batch` waits for it. Returns `undefined` if that was committed before. `prefetch`
   * sends reads that travel with the first statements and see the locked state.
   */
  static async begin<T>(
    options: TransactionOptions,
    batch: { holder: string; lane: number; number: number },
    prefetch: (sql: Connection) => Promise<T>,
  ): Promise<{ tx: Transaction; prefetched: T } | undefined> {
    const { connection: sql, schema, conversations } = options;
    const names = [...new Set(options.names)].map((name) => `${schema}:${name}`);
    const [, state, , rows, prefetched] = await together<
      [unknown, { is_new: boolean; now: number; bytes: number } | undefined, unknown, Row[], T]
    >([
      sql.run('BEGIN'),
      sql.get<{ is_new: boolean; now: number; bytes: number }>(
        `WITH batch AS (
           INSERT INTO batch VALUES ($1, $2, $3)
           ON CONFLICT (holder, lane) DO UPDATE SET number = excluded.number, committed_at = excluded.committed_at
           WHERE batch.number < excluded.number RETURNING 1)
         SELECT EXISTS (SELECT 1 FROM batch) AS is_new, ${NOW} AS now, ${SIZE} AS bytes`,
        batch.holder,
        batch.lane,
        batch.number,
      ),
      names.length === 0
        ? Promise.resolve()
        : sql.run(
            `SELECT pg_advisory_xact_lock($1, hash)
             FROM (SELECT DISTINCT hashtext(name) AS hash FROM unnest($2::text[]) AS name ORDER BY hash) AS hashes`,
            NAME_LOCK,
            names,
          ),
      conversations.length === 0
        ? Promise.resolve([])
        : sql.all<Row>(`SELECT ${COLUMNS} FROM conversation WHERE id = ANY($1) ORDER BY key FOR UPDATE`, [
            ...new Set(conversations),
          ]),
      prefetch(sql),
    ]);
    return state!.is_new ? { tx: new Transaction(options, rows, state!), prefetched } : undefined;
  }

  private constructor(
    { connection, slot, now }: TransactionOptions,
    rows: readonly Row[],
    state: { now: number; bytes: number },
  ) {
    this.sql = connection;
    this.#slot = slot;
    this.now = now ?? state.now;
    this.#bytes = state.bytes;
    this.#rows = new Map(rows.map((row) => [row.id, row]));
  }

  /** Size of the store in characters, with the changes of this transaction. */
  get bytes(): number {
    return this.#bytes + this.#bytesChange + this.#usedChange;
  }

  /** Returns a locked conversation that is not in the trash. */
  row(id: string): Row | undefined {
    const row = this.#rows.get(id);
    return row?.trashed_at === 0 ? row : undefined;
  }

  /** Returns a locked conversation in the trash. */
  trashedRow(id: string): Row | undefined {
    const row = this.#rows.get(id);
    return row !== undefined && row.trashed_at > 0 ? row : undefined;
  }

  /** Adds a conversation that the transaction created or locked meanwhile. */
  addRow(row: Row): void {
    this.#rows.set(row.id, row);
  }

  /** Forgets a conversation that was deleted or renamed. */
  dropRow(id: string): void {
    this.#rows.delete(id);
  }

  /** Changes the size of the store. */
  addBytes(chars: number): void {
    this.#bytesChange += chars;
  }

  /** Notes a change of the size of an agent's data, which its operation writes. */
  addUsedBytes(chars: number): void {
    this.#usedChange += chars;
  }

  /** Changes the size of an owner's conversations outside the trash. */
  addToOwner(principal: string, chars: number): void {
    this.#ownerChanges.set(principal, this.ownerChange(principal) + chars);
  }

  /** Change of the size of an owner that this transaction has not written yet. */
  ownerChange(principal: string): number {
    return this.#ownerChanges.get(principal) ?? 0;
  }

  /** Sends a statement whose result no operation needs. `commit` waits for it. */
  send(statement: Promise<unknown>): void {
    // `commit` reports the error, unless an operation fails before.
    statement.catch(() => undefined);
    this.#sent.push(statement);
  }

  /** Writes the sizes and commits. The statements travel together: after one that fails, the server rolls back instead. */
  async commit(): Promise<void> {
    if (this.#bytesChange !== 0) {
      this.send(
        this.sql.run(
          'INSERT INTO size VALUES ($1, $2) ON CONFLICT (slot) DO UPDATE SET chars = size.chars + excluded.chars',
          this.#slot,
          this.#bytesChange,
        ),
      );
    }
    const owners = [...this.#ownerChanges].filter(([, chars]) => chars !== 0);
    if (owners.length > 0) {
      this.send(
        this.sql.run(
          `INSERT INTO owner SELECT principal, $1, chars FROM unnest($2::text[], $3::bigint[]) AS o (principal, chars)
           ORDER BY principal COLLATE "C" ON CONFLICT (principal, slot) DO UPDATE SET chars = owner.chars + excluded.chars`,
          this.#slot,
          owners.map(([principal]) => principal),
          owners.map(([, chars]) => chars),
        ),
      );
    }
    await together([...this.#sent, this.sql.run('COMMIT')]);
  }
}
