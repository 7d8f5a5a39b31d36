// Writes the packages as they are published, one folder each: the JavaScript and the types that their entry points need, the
// cleaned package.json, README and LICENSE.
import {
  copyFileSync,
  cpSync,
  globSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import { type Manifest, ROOT, readPackages, type SourcePackage } from './packages.ts';
import { entryFiles, publishedManifest } from './published-manifest.ts';
import { packageOf, reachableFiles } from './reachable-files.ts';
import { withAbsoluteLinks } from './readme-links.ts';

export interface StagedPackage {
  readonly name: string;
  readonly version: string;
  readonly folder: string;
}

export interface StageOptions {
  /** The folder of all packages. Its contents are replaced. */
  readonly output: string;
  /** URL of the repository. Without it the packages have no `repository`, and their READMEs no links into the repository. */
  readonly repository?: string | undefined;
}

/** Stages every package, each after those that it depends on. @throws an Error if a package is not built or has a fault */
export function stagePackages({ output, repository }: StageOptions): StagedPackage[] {
  rmSync(output, { recursive: true, force: true });
  const packages = readPackages();
  const published = new Map(
    packages.map(({ folder, manifest }) => [
      manifest.name,
      publishedManifest(manifest, { folder, repository }),
    ]),
  );
  return packages.map((one) => stagePackage(one, published, { output, repository }));
}

function stagePackage(
  source: SourcePackage,
  manifests: ReadonlyMap<string, Manifest>,
  { output, repository }: StageOptions,
): StagedPackage {
  const { folder, manifest } = source;
  const { name, version } = manifest;
  const from = join(ROOT, folder);
  const to = join(output, name.replace('@', '').replace('/', '-'));
  const published = manifests.get(name)!;

  const listed = listedFiles(source);
  // A page is a bundle, and text in it may look like an import.
  const isBuilt = (file: string): boolean => file.startsWith('dist/') && !file.startsWith('dist/page/');
  const { files, imports } = reachableFiles(from, [...entryFiles(published), ...listed.filter(isBuilt)]);
  const faulty = faultyImports(imports, manifests, name);
  if (faulty.length > 0)
    throw new Error(`${name} has imports that fail once installed: ${faulty.join(', ')}.`);

  for (const file of [...files, ...listed]) copy(join(from, file), join(to, file));
  const readme = readFileSync(join(from, 'README.md'), 'utf8');
  writeFileSync(join(to, 'README.md'), withAbsoluteLinks(readme, { folder, repository, ref: `v${version}` }));
  cpSync(join(ROOT, 'LICENSE'), join(to, 'LICENSE'));
  // Everything in the folder is published, so `files` names the top level of it. README and LICENSE are always included.
  const contents = globSync('*', { cwd: to }).filter(
    (entry) => !/^(package\.json|README\.md|LICENSE)$/.test(entry),
  );
  const text = JSON.stringify({ ...published, files: contents.sort() }, null, 2);
  writeFileSync(join(to, 'package.json'), `${text}\n`);
  return { name, version, folder: to };
}

/**
 * The files that `files` names: paths, folders or patterns. `dist` and `src` are left out: the needed files of `dist` are found
 * from the entry points.
 */
function listedFiles({ folder, manifest }: SourcePackage): string[] {
  const cwd = join(ROOT, folder);
  const patterns = (manifest.files ?? []).filter((entry) => !/^(dist|src)\/?$/.test(entry));
  return patterns.flatMap((pattern) => {
    const found = globSync(pattern, { cwd });
    if (found.length === 0) throw new Error(`${manifest.name} has no ${pattern}, which "files" names.`);
    return found.flatMap((entry) => filesBelow(cwd, entry));
  });
}

function filesBelow(cwd: string, entry: string): string[] {
  if (statSync(join(cwd, entry)).isFile()) return [entry];
  return readdirSync(join(cwd, entry)).flatMap((name) => filesBelow(cwd, join(entry, name)));
}

/** Imports of packages that `name` does not depend on, and of entry points of ours that are not published. */
export function faultyImports(
  imports: ReadonlySet<string>,
  manifests: ReadonlyMap<string, Manifest>,
  name: string,
): string[] {
  const { dependencies, peerDependencies, optionalDependencies } = manifests.get(name)!;
  const declared = { ...dependencies, ...peerDependencies, ...optionalDependencies, [name]: '' };
  return [...imports].filter((specifier) => {
    const imported = packageOf(specifier);
    const exports = manifests.get(imported)?.exports;
    const isPublished = exports === undefined || `.${specifier.slice(imported.length)}` in Object(exports);
    return !(imported in declared && isPublished);
  });
}

/**
 * Copies a file, or the target of a link: npm packs no links. The sources are not published, so source maps are left out, and
 * declarations import declarations.
 */
function copy(from: string, to: string): void {
  mkdirSync(dirname(to), { recursive: true });
  if (!/\.([cm]?js|d\.ts)$/.test(from)) {
    copyFileSync(from, to);
    return;
  }
  const text = readFileSync(from, 'utf8').replace(/\n?\/\/# sourceMappingURL=.*$/m, '\n');
  const code = from.endsWith('.d.ts')
    ? text.replace(/((?:from |import\()['"]\.{1,2}\/[^'"]+)\.tsx?(?=['"])/g, '$1.js')
    : text;
  writeFileSync(to, code, { mode: statSync(from).mode });
}
