// The files of a package that a consumer can load: its entry points and all files that they import. Tests, test kits and other
// files that no entry point needs stay out of the package.
import { existsSync, readFileSync } from 'node:fs';
import { isBuiltin } from 'node:module';
import { dirname, join } from 'node:path';

/** `from '...'`, `import '...'` and `import('...')`. A file with a computed path must be listed in `files`. */
const SPECIFIER = /(?:\bfrom|\bimport|\bimport\()\s*(['"])([\w@.:/-]+)\1/g;

export interface Reachable {
  /** Relative to the folder of the package. */
  readonly files: ReadonlySet<string>;
  /** Imports of packages, such as `zod` or `@scope/name/entry`, without the built-in modules of Node. */
  readonly imports: ReadonlySet<string>;
}

/** Follows the imports of `entries`. @throws an Error if a file is missing */
export function reachableFiles(folder: string, entries: readonly string[]): Reachable {
  const files = new Set<string>();
  const imports = new Set<string>();
  const visit = (file: string, importer: string): void => {
    if (files.has(file)) return;
    if (!existsSync(join(folder, file))) {
      throw new Error(`${join(folder, importer)} needs ${file}, which does not exist. Run: npm run build`);
    }
    files.add(file);
    if (!/\.(?:[cm]?js|d\.ts)$/.test(file)) return;
    for (const [, , specifier] of readCode(join(folder, file)).matchAll(SPECIFIER)) {
      if (/^\.{1,2}\//.test(specifier!)) visit(targetOf(file, specifier!), file);
      else if (!isBuiltin(specifier!) && !specifier!.includes(':')) imports.add(specifier!);
    }
  };
  for (const entry of entries) visit(entry, 'package.json');
  return { files, imports };
}

/** The text of a file without its comments, whose examples import too. */
const readCode = (file: string): string =>
  readFileSync(file, 'utf8').replace(/\/\*[\s\S]*?\*\/|^\s*\/\/.*$/gm, '');

/** The file that a relative import means. In a declaration it is a declaration. */
function targetOf(importer: string, specifier: string): string {
  const file = join(dirname(importer), specifier);
  return importer.endsWith('.d.ts') ? file.replace(/(?:\.d)?\.[jt]sx?$/, '.d.ts') : file;
}

/** The name of the package that an import means. */
export const packageOf = (specifier: string): string =>
  specifier
    .split('/')
    .slice(0, specifier.startsWith('@') ? 2 : 1)
    .join('/');
