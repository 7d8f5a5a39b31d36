// Packs the JavaScript of a release for the tests of mixed versions: `npm run pack-release -- [CHECKOUT]` writes VERSION.tgz here.
// CHECKOUT is a clean, built checkout of the release. The same checkout gives the same bytes.
import { execFileSync } from 'node:child_process';
import { globSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';

const here = import.meta.dirname;
const checkout = resolve(process.argv[2] ?? join(here, '../..'));
const { version } = JSON.parse(readFileSync(join(checkout, 'package.json'), 'utf8')) as { version: string };

const WORKSPACES = ['shared', 'sentinel', 'agents', 'client', 'doors'];
const files = globSync(
  [
    'LICENSE',
    'package.json',
    'bin/fame',
    'dist/*.js',
    'dist/{verbs,local}/**/*.js',
    `{${WORKSPACES}}/package.json`,
    `{${WORKSPACES}}/dist/**/*.js`,
    'agents/examples/support-team/*.yaml',
  ],
  { cwd: checkout },
)
  .filter((file) => !/\.(test|conformance)\.js$|\/testing(\/|\.js$)/.test(file))
  .sort();
if (!files.includes('dist/fame.js')) throw new Error(`${checkout} has no dist/fame.js: npm run build first`);

const archive = execFileSync(
  'tar',
  [
    '--create',
    '--format=ustar',
    '--mtime=@0',
    '--owner=0',
    '--group=0',
    '--numeric-owner',
    '--mode=a=rX,u+w',
    '--no-recursion',
    ...files,
  ],
  { cwd: checkout, maxBuffer: 64 * 1024 * 1024 },
);
const output = join(here, `${version}.tgz`);
execFileSync('sh', ['-c', 'gzip -9n > "$0"', output], { input: archive });
console.log(`${output}: ${files.length} files`);
