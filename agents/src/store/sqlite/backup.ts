// Backs up a store that other processes use, and restores it. A backup is one file with everything that was committed when it began.
// It is written beside its target and renamed at the end, so a file with the name of the target is always complete.
//
// The copy runs inside a read transaction: without one, SQLite starts the copy again after each write of another process. Neither
// function changes the file that it reads, its schema included, so a newer version backs up the store of an older one.
import {
  chmodSync,
  closeSync,
  constants,
  copyFileSync,
  existsSync,
  fsyncSync,
  openSync,
  renameSync,
  rmSync,
  statSync,
} from 'node:fs';
import { dirname } from 'node:path';
import { backup, DatabaseSync } from 'node:sqlite';
import { type ErrorCode, FabricError } from '@fame-fabric/shared';
import { makeDirectory } from '@fame-fabric/shared/node';
import { MIGRATIONS } from './migrations/migrations.ts';
import { newerSchema, resultCode, type Schema, schemaOf } from './sqlite-database.ts';

/** Pages in one step of the copy, about 8 MB. */
const STEP_PAGES = 2_000;
/** Longest wait for a lock, in ms. */
const BUSY_MS = 5_000;

/** A backup that was written or restored. */
export interface BackupReport {
  /** Path of the new file. */
  readonly path: string;
  readonly bytes: number;
  /** Number of conversations in it, with those in the trash. */
  readonly conversations: number;
  /** Number of turns that had not ended. They continue when an agent opens the restored store. */
  readonly openTurns: number;
}

export interface BackupOptions {
  /** Called after each step of the copy, with bytes. */
  readonly onProgress?: ((copied: number, total: number) => void) | undefined;
  /** Ends the copy after its current step. */
  readonly signal?: AbortSignal | undefined;
}

/**
 * Writes a backup of the store `path` to the new file `target`, mode 0600, while agents use the store. Checks the copy before it
 * is renamed.
 * @throws {FILE_EXISTS} if there is such a file
 * @throws {STORE_UNAVAILABLE | STORE_SCHEMA | STORE_FULL} if the store cannot be read, or the backup not be written
 */
export async function backUpStore(
  path: string,
  target: string,
  { onProgress, signal }: BackupOptions = {},
): Promise<BackupReport> {
  return writeNew(target, async (partial) => {
    const db = open(path, 'read');
    try {
      assertOurs(schemaOf(db), path, Number.POSITIVE_INFINITY);
      // Opens the snapshot; BEGIN alone does not.
      db.exec('BEGIN; SELECT count(*) FROM sqlite_schema');
      const pageBytes = Number(db.prepare('PRAGMA page_size').get()!.page_size);
      await backup(db, partial, {
        rate: STEP_PAGES,
        progress({ totalPages, remainingPages }) {
          signal?.throwIfAborted();
          onProgress?.((totalPages - remainingPages) * pageBytes, totalPages * pageBytes);
        },
      });
      signal?.throwIfAborted();
    } catch (error) {
      throw faultOf(error, `The backup ${target} cannot be written`);
    } finally {
      db.close();
    }
    return check(partial, target, Number.POSITIVE_INFINITY);
  });
}

/**
 * Creates the store `path` from a backup, after a check that it is not damaged and that this version can open it. No process may use
 * the store.
 * @throws {FILE_EXISTS} if there is a store
 * @throws {STORE_UNAVAILABLE | STORE_SCHEMA | STORE_FULL} if the backup cannot be used
 */
export async function restoreStore(source: string, path: string): Promise<BackupReport> {
  try {
    makeDirectory(dirname(path));
  } catch (error) {
    throw faultOf(error, `The store ${path} cannot be written`);
  }
  // The log of another store would be applied to the restored file.
  const left = [path, `${path}-wal`, `${path}-shm`].find((file) => existsSync(file));
  if (left !== undefined) {
    throw new FabricError(
      'FILE_EXISTS',
      `There is a store: ${left} exists. Stop its agents, and move the folder ${dirname(path)} away.`,
    );
  }
  return writeNew(path, async (partial) => {
    try {
      copyFileSync(source, partial, constants.COPYFILE_FICLONE);
      chmodSync(partial, 0o600);
    } catch (error) {
      throw faultOf(error, `The backup ${source} cannot be copied`);
    }
    return check(partial, source, MIGRATIONS.at(-1)!.version);
  });
}

/** Runs `write` on a temporary file beside `target`, and renames that file to `target`, durably. */
async function writeNew(
  target: string,
  write: (partial: string) => Promise<Omit<BackupReport, 'path' | 'bytes'>>,
): Promise<BackupReport> {
  const partial = `${target}.partial`;
  if (existsSync(target)) throw exists(target);
  try {
    closeSync(openSync(partial, 'wx', 0o600));
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'ENOENT') {
      throw new FabricError('STORE_UNAVAILABLE', `There is no folder ${dirname(target)}. Create it first.`, {
        cause: error,
      });
    }
    if (code === 'EEXIST') {
      throw new FabricError(
        'FILE_EXISTS',
        `The file ${partial} exists: another command is writing it, or was killed. If none runs, remove it and try again.`,
      );
    }
    throw faultOf(error, `The file ${target} cannot be written`);
  }
  try {
    const report = await write(partial);
    sync(partial, 'r+');
    if (existsSync(target)) throw exists(target);
    renameSync(partial, target);
    // Windows cannot open a directory, and writes the new name by itself.
    if (process.platform !== 'win32') sync(dirname(target), 'r');
    return { path: target, bytes: statSync(target).size, ...report };
  } catch (error) {
    for (const end of ['', '-journal', '-wal', '-shm']) rmSync(`${partial}${end}`, { force: true });
    throw error;
  }
}

/** Checks a copy, and turns it into one file without a write-ahead log. `name` is the path to print in errors. */
function check(
  copy: string,
  name: string,
  newest: number,
): Pick<BackupReport, 'conversations' | 'openTurns'> {
  const db = open(copy, 'write');
  try {
    assertOurs(schemaOf(db), name, newest);
    db.exec('PRAGMA journal_mode = DELETE');
    const [result] = Object.values(db.prepare('PRAGMA integrity_check(1)').get()!);
    if (result !== 'ok') {
      throw new FabricError('STORE_UNAVAILABLE', `The file ${name} is damaged: ${String(result)}.`);
    }
    const count = (sql: string): number => Number(db.prepare(`SELECT count(*) AS n FROM ${sql}`).get()!.n);
    return {
      conversations: count('conversation'),
      openTurns: count(`turn WHERE state = 'open'`),
    };
  } catch (error) {
    throw faultOf(error, `The file ${name} cannot be checked`);
  } finally {
    db.close();
  }
}

function open(path: string, mode: 'read' | 'write'): DatabaseSync {
  try {
    return new DatabaseSync(path, { readOnly: mode === 'read', timeout: BUSY_MS });
  } catch (error) {
    throw faultOf(error, `The store ${path} cannot be opened`);
  }
}

/** @throws {STORE_SCHEMA} for a file of another program, or of a version above `newest` */
function assertOurs({ isEmpty, isForeign, version }: Schema, path: string, newest: number): void {
  if (isEmpty || isForeign)
    throw new FabricError('STORE_SCHEMA', `The file ${path} is not a conversation store.`);
  if (version <= newest) return;
  const cause = newerSchema(version, newest);
  throw new FabricError(
    'STORE_SCHEMA',
    `The backup ${path} cannot be used: ${cause}. Use the newer version.`,
  );
}

const exists = (path: string): FabricError =>
  new FabricError('FILE_EXISTS', `The file ${path} exists and is not overwritten.`);

/** Describes an error of SQLite or of the file system in a sentence that begins with `what`. */
function faultOf(error: unknown, what: string): unknown {
  // The reason of an abort, too, is an error of the caller.
  if (error instanceof FabricError) return error;
  const { code: name, message } = error as NodeJS.ErrnoException;
  const result = name === 'ENOSPC' ? DISK_FULL : resultCode(error);
  const [code, text] = FAULTS[result ?? -1] ?? ['STORE_UNAVAILABLE', message];
  return new FabricError(code, `${what}: ${text}.`, { cause: error });
}

const DISK_FULL = 13;
// Primary result codes of SQLite (https://www.sqlite.org/rescode.html).
const FAULTS: Readonly<Record<number, readonly [ErrorCode, string]>> = {
  11: ['STORE_UNAVAILABLE', 'it is damaged'],
  [DISK_FULL]: ['STORE_FULL', 'the disk is full'],
  26: ['STORE_SCHEMA', 'it is not a database'],
};

/** Flushes a file or a directory to the disk. Windows flushes a file only through a handle that may write, hence the mode. */
function sync(path: string, mode: 'r' | 'r+'): void {
  const file = openSync(path, mode);
  try {
    fsyncSync(file);
  } finally {
    closeSync(file);
  }
}
