// A file with the session of a node at its sentinel. The next process of the node resumes the session: its path, its addresses and
// its queued messages.
import { createHash } from 'node:crypto';
import { readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { makeDirectory } from './data-dir.ts';
import { newId } from './ids.ts';

export interface StoredSession {
  readonly systemId: string;
  /** Secret. */
  readonly resumeToken: string;
}

const isText = (value: unknown): value is string =>
  typeof value === 'string' && value.length > 0 && value.length <= 128;

/** Path of the file in a data directory. `key` names the sentinel and what the node is to it. */
export function sessionFile(dataDir: string, key: readonly string[]): string {
  const digest = createHash('sha256').update(JSON.stringify(key)).digest('hex');
  return join(dataDir, `session-${digest.slice(0, 16)}.json`);
}

/** Reads a session; `undefined` if there is none, or if the file is damaged. */
export function readSession(file: string): StoredSession | undefined {
  try {
    const { systemId, resumeToken } = JSON.parse(readFileSync(file, 'utf8')) as StoredSession;
    if (isText(systemId) && isText(resumeToken)) return { systemId, resumeToken };
  } catch {
    // The node begins a new session.
  }
  return undefined;
}

/**
 * Replaces the file in one step, readable by its owner only. A crash leaves the earlier token, which the sentinel still accepts.
 * @throws the system's error
 */
export function writeSession(file: string, session: StoredSession): void {
  const fresh = `${file}.${newId()}`;
  makeDirectory(dirname(file));
  try {
    writeFileSync(fresh, JSON.stringify(session), { mode: 0o600, flag: 'wx' });
    renameSync(fresh, file);
  } finally {
    rmSync(fresh, { force: true });
  }
}
