// `fame conversations backup FILE | restore-backup FILE`: copies the store of this machine to a file while agents use it, and
// creates a store from such a file.
import { resolve } from 'node:path';
import { type BackupReport, backUpStore, restoreStore } from '@fame-fabric/agents/internal';
import { FabricError, isFabricError, systemClock } from '@fame-fabric/shared';
import { EXIT, printableJson } from '@fame-fabric/shared/internal';
import { countText } from '../count-text.ts';
import { onInterrupt } from '../interrupt.ts';
import type { Output } from './remote-conversations.ts';

/** Time between two lines about the progress, in ms. */
const PROGRESS_MS = 1_000;

/** Backs up the store `path`, undefined if there is none at `place`. Returns the exit code. @throws the errors of `backUpStore` */
export async function runBackup(
  path: string | undefined,
  place: string,
  file: string,
  { json, print, write }: Output,
): Promise<number> {
  if (path === undefined) {
    const text = `There is no store ${place}. Run the command where the agent was started, or set FAME_DATA_DIR to its data directory.`;
    throw new FabricError('STORE_UNAVAILABLE', text);
  }
  const interrupt = onInterrupt();
  try {
    const report = await backUpStore(path, resolve(file), {
      signal: interrupt.signal,
      onProgress: progressOf(write),
    });
    if (json) await print(`${printableJson(report)}\n`);
    else write(`Backed up ${contentText(report)} to ${report.path}. The backup was checked.`);
    return EXIT.ok;
  } catch (error) {
    if (!isFabricError(error, 'CALL_CANCELLED')) throw error;
    write('Interrupted: there is no backup.');
    return interrupt.exitCode;
  } finally {
    interrupt.release();
  }
}

/** Creates the store `path` from a backup. Returns the exit code. @throws the errors of `restoreStore` */
export async function runRestoreBackup(
  path: string,
  file: string,
  { json, print, write }: Output,
): Promise<number> {
  const report = await restoreStore(resolve(file), path);
  if (json) await print(`${printableJson(report)}\n`);
  else {
    write(`Restored ${contentText(report)} to ${report.path}.`);
    if (report.openTurns > 0)
      write(
        `${countText(report.openTurns, 'turn')} had not ended at the time of the backup. The agent continues them when it starts.`,
      );
  }
  return EXIT.ok;
}

/** Writes a line each second, the first one after a second. */
function progressOf(write: Output['write']): (copied: number, total: number) => void {
  let writtenAt = systemClock.monotonic();
  return (copied, total) => {
    const now = systemClock.monotonic();
    if (now - writtenAt < PROGRESS_MS) return;
    writtenAt = now;
    write(`Copied ${megabytes(copied)} of ${megabytes(total)} MB.`);
  };
}

const contentText = ({ conversations, bytes }: BackupReport): string =>
  `${countText(conversations, 'conversation')} (${megabytes(bytes)} MB)`;

const megabytes = (bytes: number): string => (bytes / 1e6).toFixed(1);
