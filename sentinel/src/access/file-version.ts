// Identity of a version of a file, to find changes without reading it.
import { statSync } from 'node:fs';

/** Returns undefined if there is no file, or if it cannot be reached. */
export function fileVersion(file: string): string | undefined {
  try {
    const { ino, mtimeNs, size } = statSync(file, { bigint: true });
    return `${ino}/${mtimeNs}/${size}`;
  } catch {
    return undefined;
  }
}
