// Bundles the packages that every process loads: one file for each entry point, and one for each part that entry points share. Node
// loads a bundle in a fraction of the time of its modules (decision 61). Also bundles the thread of the SQLite store. `npm run build`
// runs this after the compiler, which writes the types.
import { readFileSync, rmSync } from 'node:fs';
import { basename, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';

const ROOT = fileURLToPath(new URL('..', import.meta.url));
const PACKAGES = ['shared', 'sentinel'];
const OUTPUT = 'dist/bundle';
const OPTIONS = {
  outdir: OUTPUT,
  bundle: true,
  format: 'esm',
  platform: 'node',
  target: 'es2024',
  sourcemap: true,
  logLevel: 'warning',
};

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
  await build({ ...OPTIONS, absWorkingDir: directory, entryPoints, splitting: true, packages: 'external' });
}

/** Bundles a thread with everything that it imports: it shares no module with the rest of its process. */
const bundleThread = (folder, entryPoint) =>
  build({
    ...OPTIONS,
    absWorkingDir: join(ROOT, folder),
    entryPoints: [entryPoint],
    conditions: ['fame-source'],
  });

await Promise.all([
  ...PACKAGES.map(bundlePackage),
  bundleThread('agents', 'src/store/sqlite/sqlite-worker.ts'),
]);
