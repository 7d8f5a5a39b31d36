// The limit of open files of this process. Each session takes a descriptor.
import { readFileSync } from 'node:fs';

/** Reads the soft limit from the text of /proc/self/limits. */
export function openFilesIn(limits: string): number {
  const soft = /^Max open files\s+(\d+)/m.exec(limits)?.[1];
  return soft === undefined ? Number.POSITIVE_INFINITY : Number(soft);
}

/** Returns the limit of open files, or infinity where the system does not report one (all but Linux). */
export function openFileLimit(): number {
  try {
    return openFilesIn(readFileSync('/proc/self/limits', 'utf8'));
  } catch {
    return Number.POSITIVE_INFINITY;
  }
}
