// Reads small configuration files: tokens, certificates and policies.
import { readFileSync, statSync } from 'node:fs';

/** Reads a text file of at most `maxBytes` bytes. @throws the system's error, or one about a file that is too large or no file */
export function readBoundedFile(file: string, maxBytes: number): string {
  const stats = statSync(file);
  // Reading a pipe would block.
  if (!stats.isFile()) throw new Error('it is not a file');
  if (stats.size > maxBytes) throw new Error(`it has more than ${maxBytes} bytes`);
  return readFileSync(file, 'utf8');
}
