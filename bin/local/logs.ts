// Shows the logs of the background processes: the last lines of each, then, if asked, what is added.
import { closeSync, existsSync, openSync, readSync, statSync } from 'node:fs';
import type { Part } from './managed-process.ts';
import { pause } from './managed-process.ts';

const POLL_MS = 250;
const CHUNK_BYTES = 65_536;

/** Writes logs to `write`; with a signal it follows them until that aborts. */
export async function showLogs(
  parts: readonly Part[],
  write: (text: string) => void,
  options: { lines: number; follow?: AbortSignal },
): Promise<void> {
  for (const part of parts) {
    const tail = part.logTail(options.lines);
    write(`==> ${part.logFile} <==\n${tail === '' ? '(empty)' : tail}\n\n`);
  }
  const { follow } = options;
  if (!follow) return;
  const places = new Map(parts.map((part) => [part, sizeOf(part.logFile)]));
  let last: Part | undefined;
  while (!follow.aborted) {
    await pause(POLL_MS);
    for (const part of parts) {
      const size = sizeOf(part.logFile);
      let from = places.get(part)!;
      if (size < from) from = 0; // a new file took its place
      if (size === from) continue;
      const text = read(part.logFile, from, Math.min(size - from, CHUNK_BYTES));
      places.set(part, from + Math.min(size - from, CHUNK_BYTES));
      write(`${last === part ? '' : `==> ${part.name} <==\n`}${text}`);
      last = part;
    }
  }
}

const sizeOf = (file: string): number => (existsSync(file) ? statSync(file).size : 0);

function read(file: string, from: number, bytes: number): string {
  const handle = openSync(file, 'r');
  try {
    const buffer = Buffer.alloc(bytes);
    return buffer.toString('utf8', 0, readSync(handle, buffer, 0, bytes, from));
  } finally {
    closeSync(handle);
  }
}
