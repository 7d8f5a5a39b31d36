// Python with the packages of naylence, in an environment of its own below `test/interop`, made when a test first needs it.
import { execFileSync, spawnSync } from 'node:child_process';
import { existsSync, globSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { ROOT } from './processes.ts';

const HOME = join(ROOT, 'test/interop/.venv');
const PYTHON = join(HOME, 'bin/python');
/** Its dependencies follow from it; this is the version that the comparison in the README was made with. */
const PACKAGE = 'naylence-agent-sdk==0.4.12';

/** A Python that naylence runs on: 3.12 or newer. */
function findPython(): string | undefined {
  const installed = globSync(join(homedir(), '.pyenv/versions/3.1[2-9]*/bin/python'));
  return ['python3', 'python3.12', 'python3.13', 'python3.14', ...installed].find((command) => {
    const asked = spawnSync(command, ['-c', 'import sys; sys.exit(sys.version_info < (3, 12))'], {
      stdio: 'ignore',
    });
    return asked.status === 0;
  });
}

/** The interpreter, or why there is none. */
export function pythonWithNaylence(): { python: string } | { missing: string } {
  if (existsSync(join(HOME, 'ready'))) return { python: PYTHON };
  const base = findPython();
  if (base === undefined) return { missing: 'no Python 3.12 or newer is installed' };
  try {
    execFileSync(base, ['-m', 'venv', HOME], { stdio: 'pipe' });
    execFileSync(PYTHON, ['-m', 'pip', 'install', '--quiet', '--disable-pip-version-check', PACKAGE], {
      stdio: 'pipe',
    });
    execFileSync('touch', [join(HOME, 'ready')]);
  } catch (error) {
    return { missing: `${PACKAGE} could not be installed: ${(error as Error).message.slice(0, 200)}` };
  }
  return { python: PYTHON };
}
