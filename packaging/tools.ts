// Runs a tool of this folder, which it installs first: `node packaging/tools.ts knip|typedoc [ARGUMENT...]`.
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { ensurePackagingTools } from '../test/kit/install-packages.ts';
import { ROOT } from './packages.ts';

if (import.meta.main) {
  ensurePackagingTools();
  const [tool, ...args] = process.argv.slice(2);
  const folder = join(import.meta.dirname, 'node_modules', tool ?? '');
  const { bin } = JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8')) as {
    bin: Record<string, string>;
  };
  const { status } = spawnSync(process.execPath, [join(folder, bin[tool!]!), ...args], {
    cwd: ROOT,
    stdio: 'inherit',
  });
  process.exitCode = status ?? 1;
}
