// Bundles the packages that every process loads: one file for each entry point, and one for each part that entry points share. Node
// loads a bundle in a fraction of the time of its modules (decision 61). `npm run build` runs this after the compiler, which
// writes the types.
import { readFileSync, rmSync } from 'node:fs';
import { basename, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';

const ROOT = fileURLToPath(new URL('..', import.meta.url));
const PACKAGES = ['shared', 'sentinel'];
const OUTPUT = 'dist/bundle';

/** Bundles the entry points of a package. Other packages, also our own, stay imports, so each module exists once in a process. */
async function bundlePackage(folder) {
  const directory = join(ROOT, folder);
  const { exports } = JSON.parse(readFileSync(join(directory, 'package.json'), 'utf8'));
  const entryPoints = Object.fromEntries(
    Object.values(exports).flatMap(({ 'fame-source': source, default: output }) =>
      output === undefined ? [] : [[basename(output, '.js'), source]],
    ),
  );
  rmSync(join(directory, OUTPUT), { recursive: true, force: true });
  await build({
    absWorkingDir: directory,
    entryPoints,
    outdir: OUTPUT,
    bundle: true,
    splitting: true,
    packages: 'external',
    format: 'esm',
    platform: 'node',
    target: 'es2024',
    sourcemap: true,
    logLevel: 'warning',
  });
}

await Promise.all(PACKAGES.map(bundlePackage));
