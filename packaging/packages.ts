// The packages that are published: the root package, which has the `fame` command, and its workspaces.
import { globSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

export const ROOT = join(import.meta.dirname, '..');

/** The file of one entry point, or its files by condition. */
export type EntryPoint = string | { readonly [condition: string]: EntryPoint };

export interface Manifest {
  readonly name: string;
  readonly version: string;
  readonly [field: string]: unknown;
  readonly workspaces?: readonly string[];
  readonly bin?: string | Readonly<Record<string, string>>;
  readonly exports?: EntryPoint;
  readonly files?: readonly string[];
  readonly dependencies?: Readonly<Record<string, string>>;
  readonly peerDependencies?: Readonly<Record<string, string>>;
  readonly optionalDependencies?: Readonly<Record<string, string>>;
}

export interface SourcePackage {
  /** Relative to the root of the repository; empty for the root package. */
  readonly folder: string;
  readonly manifest: Manifest;
}

const readManifest = (folder: string): Manifest =>
  JSON.parse(readFileSync(join(ROOT, folder, 'package.json'), 'utf8')) as Manifest;

/** The root package and all its workspaces. */
export function readWorkspaces(): SourcePackage[] {
  const patterns = (readManifest('').workspaces ?? []).map((pattern) => `${pattern}/package.json`);
  const folders = globSync(patterns, { cwd: ROOT }).map((file) => file.slice(0, -'/package.json'.length));
  return [...folders.sort(), ''].map((folder) => ({ folder, manifest: readManifest(folder) }));
}

/** The packages that are published, each after those that it depends on. Examples, below a folder `examples`, are not. */
export const readPackages = (): SourcePackage[] =>
  inOrder(readWorkspaces().filter(({ folder }) => !folder.split('/').includes('examples')));

function inOrder(packages: readonly SourcePackage[]): SourcePackage[] {
  const ordered = new Set<SourcePackage>();
  const add = (one: SourcePackage, dependents: readonly string[]): void => {
    const { name, dependencies, peerDependencies } = one.manifest;
    if (dependents.includes(name))
      throw new Error(`Packages depend on each other: ${dependents.join(', ')}.`);
    for (const dependency of Object.keys({ ...dependencies, ...peerDependencies })) {
      const ours = packages.find(({ manifest }) => manifest.name === dependency);
      if (ours) add(ours, [...dependents, name]);
    }
    ordered.add(one);
  };
  for (const one of packages) add(one, []);
  return [...ordered];
}
