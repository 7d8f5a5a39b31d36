// The built files of the console, in memory: some 200 KB. A request selects one of them by its path, so no path of a request reaches the
// file system.
import { createHash } from 'node:crypto';
import { readdir, readFile } from 'node:fs/promises';
import { extname, join, sep } from 'node:path';
import { promisify } from 'node:util';
import { gzip } from 'node:zlib';

export interface ConsoleFile {
  readonly body: Buffer;
  /** The same, compressed. Absent for formats that are compressed already. */
  readonly gzipped: Buffer | undefined;
  readonly type: string;
  readonly etag: string;
  /** True if the name has a hash of the contents, so that a browser may keep the file. */
  readonly isImmutable: boolean;
}

const TYPES: Readonly<Record<string, string>> = {
  '.html': 'text/html; charset=utf-8',
  '.js': 'text/javascript; charset=utf-8',
  '.css': 'text/css; charset=utf-8',
  '.svg': 'image/svg+xml',
  '.json': 'application/json',
  '.webmanifest': 'application/manifest+json',
  '.png': 'image/png',
  '.ico': 'image/x-icon',
  '.woff2': 'font/woff2',
};
const COMPRESSED = new Set(['.png', '.woff2']);
const compress = promisify(gzip);

/** Reads all files of a folder, by their path in it. @throws the system's error */
export async function readConsoleFiles(folder: string): Promise<ReadonlyMap<string, ConsoleFile>> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true });
  const files = entries
    .filter((entry) => entry.isFile() && TYPES[extname(entry.name)] !== undefined)
    .map((entry) => join(entry.parentPath, entry.name));
  return new Map(
    await Promise.all(
      files.map(async (file) => {
        const path = file.slice(folder.length + 1).replaceAll(sep, '/');
        return [path, await readConsoleFile(file, path)] as const;
      }),
    ),
  );
}

async function readConsoleFile(file: string, path: string): Promise<ConsoleFile> {
  const body = await readFile(file);
  const extension = extname(path);
  return {
    body,
    gzipped: COMPRESSED.has(extension) ? undefined : await compress(body, { level: 9 }),
    type: TYPES[extension]!,
    etag: `"${createHash('sha256').update(body).digest('base64url').slice(0, 22)}"`,
    isImmutable: path.startsWith('assets/'),
  };
}
