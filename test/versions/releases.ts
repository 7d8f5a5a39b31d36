// Installed versions of this repository: the checkout, and the releases that pack.ts packed. An unpacked release runs with the
// dependencies of the checkout. Only release 0.1.0 needs `eventsource-parser`.
import { execFileSync } from 'node:child_process';
import { existsSync, globSync, mkdirSync, readdirSync, readFileSync, symlinkSync } from 'node:fs';
import { basename, join } from 'node:path';
import { ROOT } from '../kit/processes.ts';
import { temporaryDirectory } from '../kit/sentinel.ts';

export interface Installed {
  readonly version: string;
  /** Directory with `dist`, `shared`, `sentinel`, `agents` and `client`. */
  readonly root: string;
}

const versionAt = (root: string): string =>
  (JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as { version: string }).version;

/** The build of this checkout. @throws if it was not built */
export function thisVersion(): Installed {
  if (!existsSync(join(ROOT, 'dist/fame.js'))) {
    throw new Error('These tests run the built command: `npm run build` first, or `npm test`, which builds.');
  }
  return { version: versionAt(ROOT), root: ROOT };
}

/** Packed releases, oldest first. */
export const RELEASES: readonly string[] = globSync('*.tgz', { cwd: import.meta.dirname })
  .map((file) => basename(file, '.tgz'))
  .sort((a, b) => a.localeCompare(b, 'en', { numeric: true }));

const WORKSPACES = ['shared', 'sentinel', 'agents', 'client', 'doors'];

/** Unpacks a release into a directory that is removed at the end of the test file. */
export function unpack(version: string): Installed {
  const root = temporaryDirectory();
  execFileSync('tar', ['--extract', '--gzip', '--file', join(import.meta.dirname, `${version}.tgz`)], {
    cwd: root,
  });
  link(join(ROOT, 'node_modules'), join(root, 'node_modules'), ['@fame-fabric', 'fame-fabric']);
  mkdirSync(join(root, 'node_modules/@fame-fabric'));
  for (const name of WORKSPACES) {
    if (!existsSync(join(root, name))) continue;
    symlinkSync(join(root, name), join(root, 'node_modules/@fame-fabric', name));
    const own = join(ROOT, name, 'node_modules');
    if (existsSync(own)) link(own, join(root, name, 'node_modules'), []);
  }
  if (versionAt(root) !== version) throw new Error(`${version}.tgz contains version ${versionAt(root)}`);
  return { version, root };
}

/** Makes `to`, a directory with a link to each entry of `from` but those named. */
function link(from: string, to: string, but: readonly string[]): void {
  mkdirSync(to);
  for (const name of readdirSync(from)) {
    if (!but.includes(name) && !name.startsWith('.')) symlinkSync(join(from, name), join(to, name));
  }
}
