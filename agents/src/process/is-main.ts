// The guard of a file that is both a program and a module.
import { createRequire } from 'node:module';

/**
 * True if the module with `meta` is the program that Node was started with: `if (isMain(import.meta)) await runAgents([agent])`.
 * `import.meta.main` itself is missing before Node 24.2, so a guard with it would be false there.
 */
export function isMain(meta: {
  readonly main?: boolean | undefined;
  readonly filename?: string | undefined;
}): boolean {
  if (meta.main !== undefined) return meta.main;
  const program = process.argv[1];
  if (program === undefined) return false;
  try {
    // Also the file of a folder, and the target of a link.
    return createRequire(import.meta.url).resolve(program) === meta.filename;
  } catch {
    // Node was started with no file, such as by `--eval`, and the argument is one of the program's own.
    return false;
  }
}
