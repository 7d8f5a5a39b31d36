// `npm run set-version -- X.Y.Z`: sets the version of all packages, of their dependencies on each other, of the sentinel, of the
// image and of the lock file, and names the unreleased section of the changelog.
import { execFileSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { ROOT, readWorkspaces } from './packages.ts';

/** Replaces the version of a package, and that of its dependencies on `names`. */
export function withVersion(text: string, names: readonly string[], version: string): string {
  let changed = text.replace(/^( {2}"version": )"[^"]*"/m, `$1"${version}"`);
  for (const name of names)
    changed = changed.replace(new RegExp(`("${name}": )"\\d[^"]*"`, 'g'), `$1"${version}"`);
  return changed;
}

/** Puts the entries of `Unreleased` into a section of their own. @throws an Error if there are none */
export function withRelease(changelog: string, version: string, date: string): string {
  const [, entries] = /^## Unreleased\n([\s\S]*?)(?=^## )/m.exec(changelog) ?? [];
  if (!entries?.trim()) throw new Error('The section "Unreleased" of CHANGELOG.md is empty.');
  return changelog.replace('## Unreleased\n', `## Unreleased\n\n## ${version} - ${date}\n`);
}

/** Changes a file of the repository. @throws an Error if nothing changes */
function edit(file: string, change: (text: string) => string): void {
  const path = join(ROOT, file);
  const text = readFileSync(path, 'utf8');
  const changed = change(text);
  if (changed === text) throw new Error(`${file} has no version to change.`);
  writeFileSync(path, changed);
}

if (import.meta.main) {
  const [version = ''] = process.argv.slice(2);
  // npm publishes a pre-release only with a tag, which `publish.ts` does not set.
  if (!/^\d+\.\d+\.\d+$/.test(version)) throw new Error('Usage: npm run set-version -- X.Y.Z');
  edit('Dockerfile', (text) => text.replace(/^ARG VERSION=.*$/m, `ARG VERSION=${version}`));
  edit('CHANGELOG.md', (text) => withRelease(text, version, new Date().toISOString().slice(0, 10)));
  const workspaces = readWorkspaces();
  const names = workspaces.map(({ manifest }) => manifest.name);
  for (const { folder } of workspaces) {
    edit(join(folder, 'package.json'), (text) => withVersion(text, names, version));
  }
  edit('sentinel/src/identity.ts', (text) => text.replace(/(?<=SOFTWARE = 'fame-fabric\/)[^']+/, version));
  edit('doors/src/mcp/mcp-door.ts', (text) => text.replace(/(?<=VERSION = ')[^']+/, version));
  execFileSync('npm', ['install', '--package-lock-only', '--ignore-scripts'], {
    cwd: ROOT,
    stdio: 'inherit',
  });
}
