// The file with the local key, `token` in the data directory of a sentinel: its format, and how it is created and replaced.
// Sentinels write it, and so does `fame key rotate`; agents and commands read it.
import { randomBytes } from 'node:crypto';
import { chmodSync, existsSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { FabricError } from '../errors/error.ts';
import { readBoundedFile } from './bounded-file.ts';
import { createPrivateFile, isOpenToOthers, replacePrivateFile } from './private-file.ts';

const NAME = 'token';
/** `fk_<id>_<secret>`; the secret has 256 bits. */
const LOCAL_KEY = /^fk_local_[\w-]{43}$/;
/** A larger file is not a key, and is not read. */
const MAX_BYTES = 8_192;

/** Path of the local key of a data directory. */
export const localKeyFile = (dataDir: string): string => join(dataDir, NAME);

/** True if `text` has the format of a local key. */
export const isLocalKey = (text: string): boolean => LOCAL_KEY.test(text);

export interface EnsuredKey {
  readonly file: string;
  readonly isNew: boolean;
  /** True if other users could read the file; its mode is 0600 now, if the system permits the change. */
  readonly wasReadable: boolean;
}

/**
 * Makes sure that the data directory has a local key, which only its owner can read.
 * @throws {CONFIG_INVALID} when the file belongs to another user, or contains something else
 * @throws the system's error
 */
export function ensureLocalKey(dataDir: string): EnsuredKey {
  const file = localKeyFile(dataDir);
  // An existing key may be in a directory that cannot be written, such as a mounted secret.
  const isNew = !existsSync(file) && createPrivateFile(file, newKey());
  const { mode, uid } = statSync(file);
  if (!isTrusted(uid)) {
    throw new FabricError(
      'CONFIG_INVALID',
      `${file} belongs to another user, who would know the local key. Remove the file, or set FAME_DATA_DIR to a directory of your own.`,
    );
  }
  const wasReadable = !isNew && isOpenToOthers(mode);
  if (wasReadable) tighten(file);
  if (!isLocalKey(readTokenFile(file))) {
    throw new FabricError(
      'CONFIG_INVALID',
      `${file} does not contain a local key. Remove the file: the next start writes a new key.`,
    );
  }
  return { file, isNew, wasReadable };
}

/** True if a file of this owner is one of this user, or of root. */
export function isTrusted(uid: number): boolean {
  const user = process.getuid?.();
  return user === undefined || user === 0 || uid === user || uid === 0;
}

/** Replaces the local key by a new one, in one step. Returns the path of the file. @throws the system's error */
export function rotateLocalKey(dataDir: string): string {
  const file = localKeyFile(dataDir);
  replacePrivateFile(file, newKey());
  return file;
}

/** Reads a file with a token and trims it. @throws the system's error, or one about a file that is not a token */
export function readTokenFile(file: string): string {
  return readBoundedFile(file, MAX_BYTES).trim();
}

const newKey = (): string => `fk_local_${randomBytes(32).toString('base64url')}\n`;

function tighten(file: string): void {
  try {
    chmodSync(file, 0o600);
  } catch {
    // The file belongs to another user, who alone may change it.
  }
}
