// Opens a SQLite file as a conversation store: durability, schema, and the translation of SQLite's errors. Runs in the store's
// own thread (`sqlite-worker.ts`), so it does not import the rest of the project.
import { chmodSync } from 'node:fs';
import { DatabaseSync, type StatementSync } from 'node:sqlite';
import { ERRORS } from '@fame-fabric/shared';
import { MIGRATIONS, type Migration } from './migrations/migrations.ts';

/** Marks the file as ours: `FAME` in ASCII. */
const APPLICATION_ID = 0x46414d45;

type FaultCode = 'STORE_UNAVAILABLE' | 'STORE_CONFLICT' | 'STORE_SCHEMA' | 'STORE_FULL' | 'QUOTA_EXCEEDED';

/** An error that becomes a FabricError on the caller's side of the thread. */
export class StoreFault extends Error {
  readonly code: FaultCode;
  readonly details: Record<string, unknown> | undefined;

  constructor(code: FaultCode, message: string, details?: Record<string, unknown>) {
    super(message);
    this.code = code;
    this.details = details;
  }
}

export interface DatabaseOptions {
  path: string;
  /** Longest wait for a lock of another process, in ms. */
  busyMs: number;
  /** Hard limit of the file size, in bytes; 0 for no limit. */
  hardMaxBytes: number;
  /** @default MIGRATIONS */
  migrations?: readonly Migration[] | undefined;
}

/** Opens the file; its directory must exist. @throws {StoreFault} STORE_UNAVAILABLE or STORE_SCHEMA, with path, cause and fix */
export function openDatabase(options: DatabaseOptions): DatabaseSync {
  const { path } = options;
  let db: DatabaseSync | undefined;
  try {
    db = new DatabaseSync(path, { timeout: options.busyMs });
    // Conversations are private. SQLite gives the files beside this one the same mode.
    chmodSync(path, 0o600);
    prepare(db, options);
    return db;
  } catch (error) {
    try {
      db?.close();
    } catch {
      // The first error is the one to report.
    }
    throw openingFault(error, path);
  }
}

function prepare(db: DatabaseSync, options: DatabaseOptions): void {
  const migrations = options.migrations ?? MIGRATIONS;
  const newest = migrations.at(-1)?.version ?? 0;
  const { isEmpty, isForeign, version } = schemaOf(db);
  if (isForeign) {
    throw new StoreFault(
      'STORE_SCHEMA',
      'it is a database of another program; set FAME_DATA_DIR to another directory',
    );
  }
  if (version > newest) {
    throw new StoreFault(
      'STORE_SCHEMA',
      `${newerSchema(version, newest)}; run the newer version, or set FAME_DATA_DIR to another directory`,
    );
  }
  // Return freed pages to the file system; otherwise a store at its limit would never shrink.
  if (isEmpty) db.exec('PRAGMA auto_vacuum = INCREMENTAL');
  db.exec('PRAGMA journal_mode = WAL');
  db.exec('PRAGMA synchronous = FULL');
  if (text(db, 'journal_mode') !== 'wal' || number(db, 'synchronous') !== 2) {
    throw new StoreFault(
      'STORE_UNAVAILABLE',
      'its file system does not support a durable write-ahead log; set FAME_DATA_DIR to a directory on a local disk',
    );
  }
  if (options.hardMaxBytes > 0) {
    const pages = Math.ceil(options.hardMaxBytes / number(db, 'page_size'));
    db.exec(`PRAGMA max_page_count = ${pages}`);
  }
  if (missingIn(db, migrations).length === 0) return;
  db.exec('BEGIN IMMEDIATE');
  // Another process may have migrated the file first.
  for (const { version: next, sql, isAdditive = false } of missingIn(db, migrations)) {
    db.exec(sql);
    if (isAdditive) db.exec(`${CREATE_MIGRATION}; INSERT INTO migration VALUES (${next})`);
    else db.exec(`PRAGMA user_version = ${next}`);
  }
  db.exec(`PRAGMA application_id = ${APPLICATION_ID}`);
  db.exec('COMMIT');
}

/** Owner and version of a file's schema. */
export interface Schema {
  /** True if the file has no tables yet. */
  readonly isEmpty: boolean;
  /** True if it is a database of another program. */
  readonly isForeign: boolean;
  /** Version that a program must know to open the file. Additive migrations of a newer program do not count. */
  readonly version: number;
}

export function schemaOf(db: DatabaseSync): Schema {
  // Keep this order: another process that creates the file writes both in one commit, which may happen between the reads.
  const isEmpty = number(db, 'schema_version') === 0;
  const isForeign = number(db, 'application_id') !== APPLICATION_ID && !isEmpty;
  return { isEmpty, isForeign, version: number(db, 'user_version') };
}

export const newerSchema = (version: number, newest: number): string =>
  `its schema is version ${version}, and this program supports versions up to ${newest}`;

/** Additive migrations that ran. `user_version` is the newest other one, which a program must know to open the file. */
const CREATE_MIGRATION = 'CREATE TABLE IF NOT EXISTS migration (version INTEGER PRIMARY KEY) STRICT';

/** Returns the migrations that the file lacks, in order. */
function missingIn(db: DatabaseSync, migrations: readonly Migration[]): readonly Migration[] {
  const hasTable = db.prepare(`SELECT 1 FROM sqlite_schema WHERE name = 'migration'`).get() !== undefined;
  const rows = hasTable ? db.prepare('SELECT version FROM migration').all() : [];
  const applied = new Set(rows.map((row) => Number(row.version)));
  const required = number(db, 'user_version');
  return migrations.filter(({ version }) => version > required && !applied.has(version));
}

const pragma = (db: DatabaseSync, name: string): unknown =>
  Object.values(db.prepare(`PRAGMA ${name}`).get()!)[0];
const number = (db: DatabaseSync, name: string): number => Number(pragma(db, name));
const text = (db: DatabaseSync, name: string): string => String(pragma(db, name));

/** Statements that read the size of a database. Each commit runs them, and to prepare them takes longer than to run them. */
class SizeQueries {
  static readonly #ofDatabase = new WeakMap<DatabaseSync, SizeQueries>();
  readonly #pageCount: StatementSync;
  readonly #freePages: StatementSync;
  readonly #pageBytes: number;

  static of(db: DatabaseSync): SizeQueries {
    let queries = SizeQueries.#ofDatabase.get(db);
    if (!queries) {
      queries = new SizeQueries(db);
      SizeQueries.#ofDatabase.set(db, queries);
    }
    return queries;
  }

  private constructor(db: DatabaseSync) {
    this.#pageCount = db.prepare('PRAGMA page_count');
    this.#freePages = db.prepare('PRAGMA freelist_count');
    this.#pageBytes = number(db, 'page_size');
  }

  get freePages(): number {
    return Number(this.#freePages.get()!.freelist_count);
  }

  get usedBytes(): number {
    return (Number(this.#pageCount.get()!.page_count) - this.freePages) * this.#pageBytes;
  }
}

/** Size of the database in bytes, without free pages. */
export const usedBytes = (db: DatabaseSync): number => SizeQueries.of(db).usedBytes;

/** Pages of the file that are not in use. */
export const freePages = (db: DatabaseSync): number => SizeQueries.of(db).freePages;

// Primary result codes of SQLite (https://www.sqlite.org/rescode.html).
const FAULTS: Readonly<Record<number, readonly [FaultCode, string]>> = {
  5: [
    'STORE_UNAVAILABLE',
    'it is locked by another process; stop that process or give it another FAME_DATA_DIR',
  ],
  6: [
    'STORE_UNAVAILABLE',
    'it is locked by another process; stop that process or give it another FAME_DATA_DIR',
  ],
  8: ['STORE_UNAVAILABLE', 'it is read-only; give this user write access'],
  10: ['STORE_UNAVAILABLE', 'the disk failed to read or write; check the disk'],
  11: [
    'STORE_UNAVAILABLE',
    'its file is damaged; restore it from a backup, or move it away to start with an empty store',
  ],
  13: ['STORE_FULL', `it is full. ${ERRORS.STORE_FULL.fix.replace(/\.$/, '')}`],
  14: ['STORE_UNAVAILABLE', 'its file cannot be opened; check that the directory exists and is writable'],
  26: ['STORE_SCHEMA', 'it is not a database; move the file away or set FAME_DATA_DIR to another directory'],
};

/** Primary result code of an error of SQLite; undefined for any other error. */
export const resultCode = (error: unknown): number | undefined => {
  const code = (error as { errcode?: unknown } | undefined)?.errcode;
  return typeof code === 'number' ? code & 0xff : undefined;
};

/** True if another process has locked the database. */
export const isBusy = (error: unknown): boolean => resultCode(error) === 5;

/** True if the disk is full, or the file has its maximum size. */
export const isDiskFull = (error: unknown): boolean => resultCode(error) === 13;

/** True if a full disk may be the cause. A file that SQLite needs beside the database could not be created or extended. */
export const mayBeDiskFull = (error: unknown): boolean => [10, 13, 14].includes(resultCode(error) ?? -1);

/** Maps an error of a running store. Its message contains no path, because it may travel to a caller. */
export function runningFault(error: unknown): StoreFault {
  if (error instanceof StoreFault) return error;
  const [code, cause] = FAULTS[resultCode(error) ?? -1] ?? [
    'STORE_UNAVAILABLE' as const,
    'an operation on it failed',
  ];
  const fault = new StoreFault(code, `The conversation store failed: ${cause}.`);
  fault.cause = error;
  return fault;
}

/** Maps an error at the start. Its message contains the path, because it is for the operator. */
export function openingFault(error: unknown, path: string): StoreFault {
  const isFault = error instanceof StoreFault;
  const known = isFault ? undefined : FAULTS[resultCode(error) ?? -1];
  const [code, cause] = isFault
    ? ([error.code, error.message] as const)
    : (known ?? [
        'STORE_UNAVAILABLE',
        `${(error as Error).message}; set FAME_DATA_DIR to a writable directory`,
      ]);
  const fault = new StoreFault(code, `The store ${path} cannot be opened: ${cause}.`);
  fault.cause = error;
  return fault;
}
