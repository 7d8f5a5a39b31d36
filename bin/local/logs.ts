// Prints the logs of the background processes: their last lines and, if requested, new lines as they are written.
import { closeSync, existsSync, openSync, readSync, statSync } from 'node:fs';
import { systemClock } from '@fame-fabric/shared';
import { escapeControls, pause, textOfLogLine } from '@fame-fabric/shared/internal';
import type { ManagedProcess } from './managed-process.ts';

const POLL_MS = 250;
const CHUNK_BYTES = 65_536;

export interface ShowLogsOptions {
  /** Number of last lines to print of each log. */
  lines: number;
  /** Formats lines for people. Otherwise they are printed as they are in the files, with controls escaped. */
  isText: boolean;
  /** Follows the logs until this signal aborts. */
  follow?: AbortSignal | undefined;
}

/** Prints the logs of `parts`. With `follow`, continues until that signal aborts. */
export async function showLogs(
  parts: readonly ManagedProcess[],
  write: (text: string) => void,
  { lines, isText, follow }: ShowLogsOptions,
): Promise<void> {
  const format = (line: string): string => (isText ? textOfLogLine(line) : `${escapeControls(line)}\n`);
  for (const part of parts) {
    const tail = part.logTail(lines);
    const text = tail === '' ? '(empty)\n' : tail.split('\n').map(format).join('');
    write(`==> ${part.logFile} <==\n${text}\n`);
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
      const bytes = readLines(part.logFile, offset, Math.min(size - offset, CHUNK_BYTES));
      offsets.set(part, offset + bytes.length);
      if (bytes.length === 0) continue;
      const text = bytes.toString('utf8').trimEnd().split('\n').map(format).join('');
      write(`${last === part ? '' : `==> ${part.name} <==\n`}${text}`);
      last = part;
    }
  }
}

const sizeOf = (file: string): number => (existsSync(file) ? statSync(file).size : 0);

/** Reads the whole lines in a range of a file: nothing if a line is still being written. A line longer than a chunk is cut. */
function readLines(file: string, offset: number, length: number): Buffer {
  const handle = openSync(file, 'r');
  try {
    const buffer = Buffer.alloc(length);
    const bytes = buffer.subarray(0, readSync(handle, buffer, 0, length, offset));
    const end = bytes.lastIndexOf('\n') + 1;
    return end === 0 && bytes.length === CHUNK_BYTES ? bytes : bytes.subarray(0, end);
  } finally {
    closeSync(handle);
  }
}
