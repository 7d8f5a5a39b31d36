// Opens a SQLite file as a store of conversations: its durability, its schema, and what each fault of it means. Runs in
// the store's own thread (`sqlite-worker.ts`), so it knows nothing of the rest of the project.
import { chmodSync } from 'node:fs';
import { DatabaseSync } from 'node:sqlite';
import { MIGRATIONS, type Migration } from './migrations/migrations.ts';

/** Marks the file as ours: `FAME` in ASCII. */
const APPLICATION_ID = 0x46414d45;

export type FaultCode = 'STORE_UNAVAILABLE' | 'STORE_CONFLICT' | 'STORE_SCHEMA' | 'STORE_FULL';

/** A fault that becomes a FabricError on the other side of the thread. */
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
  /** How long to wait for another process that writes, in ms. */
  busyMs: number;
  /** The file may not grow past this, in bytes; 0 for no limit. */
  hardMaxBytes: number;
  migrations?: readonly Migration[];
}

/** The directory of the file is there already. @throws {StoreFault} STORE_UNAVAILABLE or STORE_SCHEMA, with the path, the cause and what to do */
export function openDatabase(options: DatabaseOptions): DatabaseSync {
  const { path } = options;
  let db: DatabaseSync | undefined;
  try {
    db = new DatabaseSync(path, { timeout: options.busyMs });
    // What people said is nobody else's business; SQLite gives the files beside it the same mode.
    chmodSync(path, 0o600);
    prepare(db, options);
    return db;
  } catch (error) {
    try {
      db?.close();
    } catch {
      // The fault that matters is the one that kept it from opening.
    }
    throw openingFault(error, path);
  }
}

function prepare(db: DatabaseSync, options: DatabaseOptions): void {
  const migrations = options.migrations ?? MIGRATIONS;
  // In this order: another process that makes the file at the same moment writes both at once, and may do so in between.
  const isEmpty = number(db, 'schema_version') === 0;
  const applicationId = number(db, 'application_id');
  if (applicationId !== APPLICATION_ID && !isEmpty) {
    throw new StoreFault('STORE_SCHEMA', 'it is a database of another program');
  }
  const newest = migrations.at(-1)?.version ?? 0;
  const version = number(db, 'user_version');
  if (version > newest) {
    throw new StoreFault(
      'STORE_SCHEMA',
      `its schema is version ${version}, this program knows up to ${newest}`,
    );
  }
  // Freed pages must be given back, or the limit on the size of the store would never be met again.
  if (isEmpty) db.exec('PRAGMA auto_vacuum = INCREMENTAL');
  db.exec('PRAGMA journal_mode = WAL');
  db.exec('PRAGMA synchronous = FULL');
  if (text(db, 'journal_mode') !== 'wal' || number(db, 'synchronous') !== 2) {
    throw new StoreFault('STORE_UNAVAILABLE', 'its file system does not support a durable write-ahead log');
  }
  if (options.hardMaxBytes > 0) {
    const pages = Math.ceil(options.hardMaxBytes / number(db, 'page_size'));
    db.exec(`PRAGMA max_page_count = ${pages}`);
  }
  if (version === newest) return;
  db.exec('BEGIN IMMEDIATE');
  // Another process may have been faster.
  for (const migration of migrations) {
    if (migration.version <= number(db, 'user_version')) continue;
    db.exec(migration.sql);
    db.exec(`PRAGMA user_version = ${migration.version}`);
  }
  db.exec(`PRAGMA application_id = ${APPLICATION_ID}`);
  db.exec('COMMIT');
}

const pragma = (db: DatabaseSync, name: string): unknown =>
  Object.values(db.prepare(`PRAGMA ${name}`).get()!)[0];
const number = (db: DatabaseSync, name: string): number => Number(pragma(db, name));
const text = (db: DatabaseSync, name: string): string => String(pragma(db, name));

/** What the database holds, in bytes: pages in use, without those that wait to be given back. */
export const usedBytes = (db: DatabaseSync): number =>
  (number(db, 'page_count') - number(db, 'freelist_count')) * number(db, 'page_size');

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
  8: ['STORE_UNAVAILABLE', 'it is read-only; allow this user to write to it'],
  10: ['STORE_UNAVAILABLE', 'the disk failed to read or write; check the disk'],
  11: ['STORE_UNAVAILABLE', 'its file is damaged; restore it from a backup, or move it away to begin anew'],
  13: ['STORE_FULL', 'there is no room left; free space or raise FAME_STORE_MAX_BYTES'],
  14: [
    'STORE_UNAVAILABLE',
    'its file cannot be opened; check that the directory exists and may be written to',
  ],
  26: ['STORE_SCHEMA', 'it is not a database; move the file away or set FAME_DATA_DIR to another directory'],
};

const resultCode = (error: unknown): number | undefined => {
  const code = (error as { errcode?: unknown }).errcode;
  return typeof code === 'number' ? code & 0xff : undefined;
};

/** Another process holds the database. */
export const isBusy = (error: unknown): boolean => resultCode(error) === 5;

/** A fault while the store is in use. It says nothing of paths, because it may travel to a caller. */
export function runningFault(error: unknown): StoreFault {
  if (error instanceof StoreFault) return error;
  const [code, cause] = FAULTS[resultCode(error) ?? -1] ?? [
    'STORE_UNAVAILABLE' as const,
    'an operation on it failed',
  ];
  const fault = new StoreFault(code, `The store of conversations cannot be used: ${cause}.`);
  fault.cause = error;
  return fault;
}

/** A fault at the start: it names the path, because it is for the operator. */
export function openingFault(error: unknown, path: string): StoreFault {
  if (error instanceof StoreFault) {
    const fix = 'Run the newer version, or set FAME_DATA_DIR to another directory.';
    return new StoreFault(error.code, `The store ${path} cannot be opened: ${error.message}. ${fix}`);
  }
  const cause =
    FAULTS[resultCode(error) ?? -1]?.[1] ??
    `${(error as Error).message}; set FAME_DATA_DIR to a directory that may be written to`;
  const code = FAULTS[resultCode(error) ?? -1]?.[0] ?? 'STORE_UNAVAILABLE';
  return new StoreFault(code, `The store ${path} cannot be opened: ${cause}.`);
}
