// The data directory of a process: made level by level, and tried out before anything relies on it. Imported by its own name,
// so that a sentinel does not load what else `node.ts` brings.
import { existsSync, mkdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { FabricError } from './errors/error.ts';

/**
 * Makes a directory, and those above it that are missing, for its owner only. Node's own recursive mkdir does not return where
 * a file system takes no directories, such as /proc (seen with 24.21).
 * @throws what the system says
 */
export function makeDirectory(path: string): void {
  const missing: string[] = [];
  for (let at = resolve(path); !existsSync(at); at = dirname(at)) missing.push(at);
  for (const directory of missing.reverse()) {
    try {
      mkdirSync(directory, { mode: 0o700 });
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error; // somebody else was faster
    }
  }
  statSync(`${path}/.`); // ENOTDIR when it was there, as a file
}

/** Makes the data directory and writes to it, as a trial. @throws {CONFIG_INVALID} when that cannot be done */
export function checkDataDir(dataDir: string): void {
  try {
    makeDirectory(dataDir);
    const trial = join(dataDir, `.trial-${process.pid}`);
    writeFileSync(trial, '', { mode: 0o600 });
    rmSync(trial);
  } catch (error) {
    throw dataDirFault(dataDir, error);
  }
}

/** Says that the data directory cannot be used, why, and what to do. */
export function dataDirFault(dataDir: string, cause: unknown): FabricError {
  const { code = '', message } = cause as NodeJS.ErrnoException;
  return new FabricError(
    'CONFIG_INVALID',
    `FAME_DATA_DIR is "${dataDir}", which cannot be used: ${CAUSES[code] ?? message}. Set it to a directory that you may write to, or leave it unset for .fame in the current directory.`,
    { cause },
  );
}

const CAUSES: Readonly<Record<string, string>> = {
  EACCES: 'permission denied (EACCES)',
  EPERM: 'the system does not permit it (EPERM)',
  EROFS: 'it lies on a read-only file system (EROFS)',
  ENOTDIR: 'it, or what it lies in, is a file and not a directory (ENOTDIR)',
  ENOENT: 'its file system takes no new files or directories (ENOENT)',
  ENOSPC: 'the disk is full (ENOSPC)',
};
