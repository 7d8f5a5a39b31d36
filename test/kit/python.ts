// A virtual environment of Python for interop programs: found or made under `.fame`, with packages of the exact versions of a
// requirements file.
import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { ROOT } from './processes.ts';

/** A Python 3 of this machine with at least that minor version and with `venv`; $PYTHON comes first. @throws {Error} that names the fix */
function findPython(script: string, minor: number): string {
  const wanted = `import ensurepip, sys, venv; sys.exit(0 if sys.version_info >= (3, ${minor}) else 1)`;
  const names = [process.env.PYTHON, 'python3.12', 'python3.13', 'python3'];
  for (const command of names.filter((name) => name)) {
    try {
      execFileSync(command!, ['-c', wanted], { stdio: 'ignore' });
      return command!;
    } catch {
      // Missing or too old: try the next one.
    }
  }
  throw new Error(
    `Python 3.${minor} with venv was not found. Install it, or set its path: PYTHON=/path/to/python3 npm run ${script}`,
  );
}

/** Minor version of Python that the peer needs. */
const MINOR = 12;

/**
 * Path of the Python interpreter of `.fame/NAME`, where the packages of the requirements file are installed. Downloads them from
 * PyPI at the first run and after a change of the file. `NAME` is also the npm script that the error about a missing Python names.
 */
export function pythonWith(name: string, requirementsFile: string, minor = MINOR): string {
  const directory = join(ROOT, '.fame', name);
  const python = join(directory, 'bin/python');
  const requirements = readFileSync(requirementsFile, 'utf8');
  const stamp = join(directory, 'installed.txt');
  if (existsSync(stamp) && readFileSync(stamp, 'utf8') === requirements) return python;
  const found = findPython(name, minor);
  console.log(`installing Python packages into .fame/${name} with ${found}`);
  execFileSync(found, ['-m', 'venv', '--clear', directory], { stdio: 'inherit' });
  const pip = ['-m', 'pip', 'install', '--quiet', '--disable-pip-version-check', '-r', requirementsFile];
  execFileSync(python, pip, { stdio: 'inherit' });
  writeFileSync(stamp, requirements);
  return python;
}
