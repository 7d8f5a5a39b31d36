// Bundles the client library into one ES module for pages without a build: `client/dist/fame-client.js`. `npm run build` runs it after
// the compiler.
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';

const path = (name) => fileURLToPath(new URL(name, import.meta.url));
const ROOT = path('..');

/** Bundles and minifies `src/index.ts` with all its imports. Returns the text of the module, with the licences of the packages in it. */
export async function bundleClient() {
  const { version } = JSON.parse(readFileSync(path('package.json'), 'utf8'));
  const { outputFiles, metafile } = await build({
    absWorkingDir: ROOT,
    metafile: true,
    entryPoints: [path('src/index.ts')],
    write: false,
    bundle: true,
    minify: true,
    format: 'esm',
    platform: 'browser',
    target: 'es2024',
    conditions: ['fame-source'],
  });
  const banner = [`@fame-fabric/client ${version}, Apache-2.0`, ...licences(Object.keys(metafile.inputs))];
  return `/*\n${banner.join('\n\n')}\n*/\n${outputFiles[0].text}`;
}

/** The licences of the packages that `files`, relative to the root of the repository, belong to. */
function licences(files) {
  const folders = files.flatMap((file) => /^.*node_modules\/(?:@[^/]+\/)?[^/]+/.exec(file) ?? []);
  return [...new Set(folders)].map((folder) => {
    const text = readFileSync(join(ROOT, folder, 'LICENSE'), 'utf8').trim();
    return `Contains ${folder.replace(/^.*node_modules\//, '')}:\n\n${text}`;
  });
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  mkdirSync(path('dist'), { recursive: true });
  writeFileSync(path('dist/fame-client.js'), await bundleClient());
}
