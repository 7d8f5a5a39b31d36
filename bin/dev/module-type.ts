// Detects a file that Node reads as CommonJS because `npm init` has written `"type": "commonjs"`.
import { readFileSync } from 'node:fs';
import { findPackageJSON } from 'node:module';
import { pathToFileURL } from 'node:url';

const IMPORT = /^\s*(?:import|export)\b/m;

/** Returns the advice for a file with `import` or `export` in a package of CommonJS; `undefined` for other files. */
export function commonJsAdvice(file: string): string | undefined {
  if (!/\.[jt]s$/.test(file)) return undefined;
  try {
    const path = findPackageJSON('.', pathToFileURL(file));
    if (path === undefined || !IMPORT.test(readFileSync(file, 'utf8'))) return undefined;
    const { type } = JSON.parse(readFileSync(path, 'utf8')) as { type?: unknown };
    return type === 'commonjs' ? `Set "type": "module" in ${path}, because the file uses import.` : undefined;
  } catch {
    return undefined; // A missing file, or a broken package.json: Node has printed that fault.
  }
}
