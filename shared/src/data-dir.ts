// The data directory of a process: created if it is missing, and checked at startup.
import { accessSync, constants, existsSync, mkdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { FabricError } from './errors/error.ts';

/**
 * Creates a directory and its missing parents, accessible only to their owner. Node's recursive mkdir is not used, because it
 * hangs on a file system that accepts no directories, such as /proc (seen with 24.21).
 * @throws the system's error
 */
export function makeDirectory(path: string): void {
  const missing: string[] = [];
  for (let at = resolve(path); !existsSync(at); at = dirname(at)) missing.push(at);
  for (const directory of missing.reverse()) {
    try {
      mkdirSync(directory, { mode: 0o700 });
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error; // another process created it first
    }
  }
  statSync(`${path}/.`); // throws ENOTDIR if it exists as a file
}

/** Creates the data directory and writes a test file to it. @throws {CONFIG_INVALID} when either fails */
export function checkDataDir(dataDir: string): void {
  try {
    makeDirectory(dataDir);
    const testFile = join(dataDir, `.test-${process.pid}`);
    writeFileSync(testFile, '', { mode: 0o600 });
    rmSync(testFile);
  } catch (error) {
    throw dataDirFault(dataDir, error);
  }
}

/**
 * Checks the data directory without creating it. Returns false if it does not exist yet.
 * @throws {CONFIG_INVALID} when it cannot be written, or not be created
 */
export function probeDataDir(dataDir: string): boolean {
  if (existsSync(dataDir)) {
    checkDataDir(dataDir);
    return true;
  }
  let above = resolve(dataDir);
  while (!existsSync(above)) above = dirname(above);
  try {
    statSync(`${above}/.`); // throws ENOTDIR if it is a file
    accessSync(above, constants.W_OK | constants.X_OK);
    return false;
  } catch (error) {
    throw dataDirFault(dataDir, error);
  }
}

/**
 * Searches `dataDir`, or without one the `.fame` of the directory `from` and of those above, the nearest first. Returns the first
 * result of `find`.
 */
export function searchDataDirs<T>(
  dataDir: string | undefined,
  find: (dataDir: string) => T | undefined,
  from = '.',
): T | undefined {
  if (dataDir) return find(dataDir);
  for (let at = resolve(from); ; at = dirname(at)) {
    const found = find(join(at, '.fame'));
    if (found !== undefined || at === dirname(at)) return found;
  }
}

/** Creates the error for an unusable data directory. */
export function dataDirFault(dataDir: string, cause: unknown): FabricError {
  const { code = '', message } = cause as NodeJS.ErrnoException;
  return new FabricError(
    'CONFIG_INVALID',
    `FAME_DATA_DIR is "${dataDir}", which cannot be used: ${CAUSES[code] ?? message}. Set it to a writable directory, or leave it unset to use .fame in the current directory.`,
    { cause },
  );
}

const CAUSES: Readonly<Record<string, string>> = {
  EACCES: 'permission denied (EACCES)',
  EPERM: 'the system does not permit it (EPERM)',
  EROFS: 'its file system is read-only (EROFS)',
  ENOTDIR: 'it, or a directory above it, is a file (ENOTDIR)',
  ENOENT: 'its file system accepts no new files or directories (ENOENT)',
  ENOSPC: 'the disk is full (ENOSPC)',
};
