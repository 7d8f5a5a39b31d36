// The Autobahn test suite: the reference tests of WebSocket implementations (RFC 6455). It needs Python 2.7, which few machines
// still have; without it, its tests are skipped.
import { execFileSync, spawn } from 'node:child_process';
import { existsSync, globSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';

const SUITE = 'autobahntestsuite==25.10.1';
/** Kept between runs, since pip compiles parts of it. */
const SITE = join(homedir(), '.cache', 'fame-fabric', SUITE.replace('==', '-'));
/** Unlike PYTHONPATH, `site` also reads the .pth files of the folder. */
const PROGRAM = `import site; site.addsitedir(${JSON.stringify(SITE)}); from autobahntestsuite.wstest import run; run()`;

export interface AutobahnRun {
  /** Servers to test, by name; each echoes every message. */
  readonly servers: Readonly<Record<string, string>>;
  /** Case patterns, such as `1.*`. */
  readonly cases: readonly string[];
  /** A folder of its own for the reports. */
  readonly outDir: string;
}

/** Outcome of the messages of a case, and of its closing handshake. */
export interface CaseResult {
  readonly behavior: string;
  readonly behaviorClose: string;
}

/** Path of a Python 2.7, of this shell or of pyenv; `undefined` if there is none. */
export function findPython2(): string | undefined {
  const pyenv = process.env.PYENV_ROOT ?? join(homedir(), '.pyenv');
  const candidates = ['python2.7', 'python2', ...globSync(join(pyenv, 'versions/2.7.*/bin/python2.7'))];
  return candidates.find((python) => {
    try {
      execFileSync(python, ['-c', 'import sys, pip; assert sys.version_info[:2] == (2, 7)'], {
        stdio: 'ignore',
      });
      return true;
    } catch {
      return false;
    }
  });
}

/** Installs the suite, unless an earlier run did. */
export function installAutobahn(python: string): void {
  if (existsSync(SITE)) return;
  const partial = `${SITE}.partial-${process.pid}`;
  mkdirSync(partial, { recursive: true });
  try {
    execFileSync(python, ['-m', 'pip', 'install', '--quiet', '--target', partial, SUITE], {
      stdio: ['ignore', 'ignore', 'pipe'],
    });
    renameSync(partial, SITE);
  } finally {
    rmSync(partial, { recursive: true, force: true });
  }
}

/** Runs cases against all servers, one after the other; returns the results by server and case. */
export async function runAutobahn(
  python: string,
  { servers, cases, outDir }: AutobahnRun,
): Promise<Record<string, Record<string, CaseResult>>> {
  const spec = join(outDir, 'spec.json');
  const reports = join(outDir, 'reports');
  writeFileSync(
    spec,
    JSON.stringify({
      outdir: reports,
      servers: Object.entries(servers).map(([agent, url]) => ({ agent, url })),
      cases,
      'exclude-cases': [],
      'exclude-agent-cases': {},
    }),
  );
  const suite = spawn(python, ['-c', PROGRAM, '-m', 'fuzzingclient', '-s', spec], {
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  const stop = (): void => void suite.kill('SIGKILL');
  process.once('exit', stop);
  let errors = '';
  suite.stderr.on('data', (data: Buffer) => {
    errors += data;
  });
  const code = await new Promise((resolve, reject) => suite.once('error', reject).once('close', resolve));
  process.off('exit', stop);
  if (code !== 0) throw new Error(`Autobahn ended with ${code}: ${errors.slice(-2_000)}`);
  return JSON.parse(readFileSync(join(reports, 'index.json'), 'utf8'));
}
