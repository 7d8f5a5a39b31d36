// Packages that only some tests need are packages of their own below `test/`, so that users who build or run the fabric do
// not download them. They are installed when a suite first needs them.
import { execFileSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { ROOT } from './processes.ts';

/** Installs the package in `folder` unless `dependency` is there already. Needs the npm registry the first time. */
export function installOnce(folder: string, dependency: string): void {
  if (existsSync(join(folder, 'node_modules', dependency, 'package.json'))) return;
  execFileSync('npm', ['ci', '--ignore-scripts', '--no-fund', '--no-audit', '--prefix', folder], {
    stdio: ['ignore', 'ignore', 'inherit'],
    env: machineEnvironment(),
  });
}

/** Installs the tools that check the published packages. */
export const ensurePackagingTools = (): void => installOnce(join(ROOT, 'packaging'), 'publint');

/**
 * The environment in which tests run npm. npm reads its global configuration, certificates included, beside the node that runs
 * it. That must be the node of the machine, not the one in `node_modules`, which `npm test` puts first in PATH.
 */
export function machineEnvironment(): NodeJS.ProcessEnv {
  const env = Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith('npm_')));
  const path = (process.env.PATH ?? '').split(delimiter);
  env.PATH = path.filter((folder) => !folder.includes('node_modules')).join(delimiter);
  return env;
}
