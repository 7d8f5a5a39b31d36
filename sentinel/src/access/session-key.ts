// The key that seals session cookies: 256 bits in the file `session-key` of the data directory, so that sessions survive a restart.
// Remove the file and restart the sentinel to end all sessions.
import { randomBytes } from 'node:crypto';
import { statSync } from 'node:fs';
import { join } from 'node:path';
import type { Logger } from '@fame-fabric/shared';
import {
  createPrivateFile,
  isOpenToOthers,
  isTrusted,
  readTokenFile,
  replacePrivateFile,
} from '@fame-fabric/shared/router';

const NAME = 'session-key';
const KEY = /^[\w-]{43}$/;

const newKey = (): string => `${randomBytes(32).toString('base64url')}\n`;

/**
 * Reads the key of a data directory, and writes it at the first use. A file that other users could read, or that contains something else,
 * is replaced, which ends all sessions. Without a writable directory the key stays in memory, and sessions end with the process.
 */
export function openSessionKey(dataDir: string | undefined, log: Logger): Buffer {
  if (dataDir === undefined) return randomBytes(32);
  const file = join(dataDir, NAME);
  try {
    if (!createPrivateFile(file, newKey()) && !isSafe(file)) {
      log.warn(
        'other users could read the key of the session cookies; it is replaced, and all sessions end',
        {
          file,
        },
      );
      replacePrivateFile(file, newKey());
    }
    return Buffer.from(readTokenFile(file), 'base64url');
  } catch (error) {
    log.warn('cannot keep the key of the session cookies; sessions end with this process', { file, error });
    return randomBytes(32);
  }
}

function isSafe(file: string): boolean {
  const { mode, uid } = statSync(file);
  return isTrusted(uid) && !isOpenToOthers(mode) && KEY.test(readTokenFile(file));
}
