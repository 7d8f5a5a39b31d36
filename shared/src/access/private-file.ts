// Files that only their owner can read: keys and secrets of a data directory.
import { randomBytes } from 'node:crypto';
import { closeSync, existsSync, fsyncSync, linkSync, openSync, renameSync, rmSync, writeSync } from 'node:fs';
import { dirname } from 'node:path';
import { makeDirectory } from '../data-dir.ts';

/** Permission bits of the group and of others. */
const OTHERS = 0o077;
const NO_LINKS = new Set(['EPERM', 'ENOTSUP', 'EOPNOTSUPP', 'ENOSYS']);

/** True if users other than the owner may read, write or execute a file of this mode. */
export const isOpenToOthers = (mode: number): boolean => (mode & OTHERS) !== 0;

/**
 * Creates a file with mode 0600, and its directory. A reader never sees a part of it. Returns false if the file exists: two processes
 * that start at once then both use the first file.
 * @throws the system's error
 */
export function createPrivateFile(file: string, text: string): boolean {
  return withPartial(file, text, (partial) => linkIfAbsent(partial, file));
}

/** Writes a file with mode 0600, and its directory. Replaces an existing one in one step. @throws the system's error */
export function replacePrivateFile(file: string, text: string): void {
  withPartial(file, text, (partial) => renameSync(partial, file));
}

/**
 * Creates a file with mode 0600 and flushes it to the disk, so that its text is whole if the machine stops right after a rename.
 * @throws the system's error, also if the file exists
 */
export function writeFlushed(file: string, text: string): void {
  const handle = openSync(file, 'wx', 0o600);
  try {
    writeSync(handle, text);
    fsyncSync(handle);
  } finally {
    closeSync(handle);
  }
}

function withPartial<T>(file: string, text: string, install: (partial: string) => T): T {
  makeDirectory(dirname(file));
  const partial = `${file}-${process.pid}-${randomBytes(6).toString('hex')}`;
  try {
    writeFlushed(partial, text);
    return install(partial);
  } finally {
    rmSync(partial, { force: true });
  }
}

// A link fails if the file exists.
function linkIfAbsent(partial: string, file: string): boolean {
  try {
    linkSync(partial, file);
  } catch (error) {
    if (existsSync(file)) return false;
    // Some file systems have no links.
    if (!NO_LINKS.has((error as NodeJS.ErrnoException).code ?? '')) throw error;
    renameSync(partial, file);
  }
  return true;
}
