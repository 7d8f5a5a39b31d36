// The package.json of a published package. It is made from the one in the repository, which has `private`, so that `npm publish`
// in a workspace fails, and the condition `fame-source`, which only our own tools set.
import type { EntryPoint, Manifest } from './packages.ts';

const SOURCE_CONDITION = 'fame-source';

/** Fields that are published as they are, after name and version. */
const FIELDS = [
  'description',
  'keywords',
  'license',
  'type',
  'engines',
  'os',
  'cpu',
  'sideEffects',
  'bin',
  'dependencies',
  'peerDependencies',
  'peerDependenciesMeta',
];

export interface PublishedOptions {
  /** Relative to the root of the repository. */
  readonly folder: string;
  /** URL of the repository, such as `https://github.com/OWNER/NAME`. npm refuses provenance for packages without it. */
  readonly repository?: string | undefined;
}

/** Makes the manifest that is published. @throws an Error if the manifest of the repository lacks a field */
export function publishedManifest(manifest: Manifest, { folder, repository }: PublishedOptions): Manifest {
  for (const field of ['description', 'keywords', 'license']) {
    if (!manifest[field]) throw new Error(`${manifest.name} has no "${field}" in its package.json.`);
  }
  if (manifest.private !== true)
    throw new Error(`${manifest.name} needs "private": true, so that npm publish in its folder is refused.`);
  const entryPoints = manifest.exports && publishedExports(manifest.exports);
  const optional = Object.entries(manifest.optionalDependencies ?? {}).filter(([name]) => !isNode(name));
  return {
    name: manifest.name,
    version: manifest.version,
    ...pick(manifest, FIELDS),
    ...(entryPoints && { exports: entryPoints }),
    ...(optional.length > 0 && { optionalDependencies: Object.fromEntries(optional) }),
    ...(repository && repositoryFields(repository, folder)),
    publishConfig: { access: 'public' },
  };
}

/** True for a package with Node for one platform. It serves the clone; a published package runs on the Node of its user. */
const isNode = (name: string): boolean => /^node-(bin-)?(darwin|linux|win)-/.test(name);

function pick(manifest: Manifest, fields: readonly string[]): Record<string, unknown> {
  return Object.fromEntries(
    fields.filter((field) => manifest[field] !== undefined).map((field) => [field, manifest[field]]),
  );
}

function repositoryFields(repository: string, folder: string): Record<string, unknown> {
  return {
    repository: { type: 'git', url: `git+${repository}.git`, ...(folder && { directory: folder }) },
    homepage: `${repository}#readme`,
    bugs: `${repository}/issues`,
  };
}

/** Without our own condition, types first. An entry point without `default` is for this repository only and is left out. */
function publishedExports(exports: EntryPoint): EntryPoint {
  if (typeof exports === 'string') return exports;
  const published = Object.entries(exports).flatMap(([path, conditions]): [string, EntryPoint][] => {
    if (typeof conditions === 'string') return [[path, conditions]];
    const { [SOURCE_CONDITION]: _, types, ...others } = conditions;
    return others.default ? [[path, { ...(types && { types }), ...others }]] : [];
  });
  return Object.fromEntries(published);
}

/** The files that the manifest names: entry points with their types, and commands. */
export function entryFiles({ exports, bin }: Manifest): string[] {
  const filesOf = (entry: EntryPoint): string[] =>
    typeof entry === 'string' ? [entry] : Object.values(entry).flatMap(filesOf);
  const files = [...filesOf(exports ?? {}), ...filesOf(bin ?? {})];
  return [...new Set(files.map((file) => file.replace(/^\.\//, '')))];
}
