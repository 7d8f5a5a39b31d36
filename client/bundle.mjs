// Bundles the client library into one ES module for pages without a build: `client/dist/fame-client.js`. `npm run build` runs it after
// the compiler.
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';

const path = (name) => fileURLToPath(new URL(name, import.meta.url));

/** Bundles and minifies `src/index.ts` with all that it imports. Returns the text of the module. */
export async function bundleClient() {
  const { version } = JSON.parse(readFileSync(path('package.json'), 'utf8'));
  const { outputFiles } = await build({
    entryPoints: [path('src/index.ts')],
    write: false,
    bundle: true,
    minify: true,
    format: 'esm',
    platform: 'browser',
    target: 'es2024',
    conditions: ['fame-source'],
    banner: { js: `/* @fame-fabric/client ${version}, Apache-2.0. Contains nanoid, MIT. */` },
  });
  return outputFiles[0].text;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  mkdirSync(path('dist'), { recursive: true });
  writeFileSync(path('dist/fame-client.js'), await bundleClient());
}
