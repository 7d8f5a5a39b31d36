// Prepared statements of one database, by their SQL.
import type { DatabaseSync, StatementSync } from 'node:sqlite';

type Value = string | number | null;

export class Statements {
  readonly #db: DatabaseSync;
  readonly #statements = new Map<string, StatementSync>();

  constructor(db: DatabaseSync) {
    this.#db = db;
  }

  get<T>(sql: string, ...values: Value[]): T | undefined {
    return this.prepare(sql).get(...values) as T | undefined;
  }

  all<T>(sql: string, ...values: Value[]): T[] {
    return this.prepare(sql).all(...values) as T[];
  }

  /** Reads row by row. The statement must not run again before the iteration has ended. */
  iterate<T>(sql: string, ...values: Value[]): Iterable<T> {
    return this.prepare(sql).iterate(...values) as Iterable<T>;
  }

  /** Returns the number of changed rows. */
  run(sql: string, ...values: Value[]): number {
    return Number(this.prepare(sql).run(...values).changes);
  }

  prepare(sql: string): StatementSync {
    let statement = this.#statements.get(sql);
    if (!statement) {
      statement = this.#db.prepare(sql);
      this.#statements.set(sql, statement);
    }
    return statement;
  }
}
