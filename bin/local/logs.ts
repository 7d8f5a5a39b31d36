// Prints the logs of the background processes: their last lines and, if requested, new lines as they are written.
import { closeSync, existsSync, openSync, readSync, statSync } from 'node:fs';
import { systemClock } from '@fame-fabric/shared';
import { escapeControls, pause } from '@fame-fabric/shared/internal';
import type { ManagedProcess } from './managed-process.ts';

const POLL_MS = 250;
const CHUNK_BYTES = 65_536;

export interface ShowLogsOptions {
  /** Number of last lines to print of each log. */
  lines: number;
  /** Follows the logs until this signal aborts. */
  follow?: AbortSignal | undefined;
}

/** Prints the logs of `parts`. With `follow`, continues until that signal aborts. */
export async function showLogs(
  parts: readonly ManagedProcess[],
  write: (text: string) => void,
  { lines, follow }: ShowLogsOptions,
): Promise<void> {
  for (const part of parts) {
    const tail = part.logTail(lines);
    write(`==> ${part.logFile} <==\n${tail === '' ? '(empty)' : escapeControls(tail)}\n\n`);
  }
  if (!follow) return;
  const offsets = new Map(parts.map((part) => [part, sizeOf(part.logFile)]));
  let last: ManagedProcess | undefined;
  while (!follow.aborted) {
    await pause(systemClock, POLL_MS);
    for (const part of parts) {
      const size = sizeOf(part.logFile);
      let offset = offsets.get(part)!;
      if (size < offset) offset = 0; // the log was rotated
      if (size === offset) continue;
      const bytes = Math.min(size - offset, CHUNK_BYTES);
      const text = read(part.logFile, offset, bytes);
      offsets.set(part, offset + bytes);
      write(`${last === part ? '' : `==> ${part.name} <==\n`}${escapeControls(text)}`);
      last = part;
    }
  }
}

const sizeOf = (file: string): number => (existsSync(file) ? statSync(file).size : 0);

function read(file: string, offset: number, bytes: number): string {
  const handle = openSync(file, 'r');
  try {
    const buffer = Buffer.alloc(bytes);
    return buffer.toString('utf8', 0, readSync(handle, buffer, 0, bytes, offset));
  } finally {
    closeSync(handle);
  }
}
