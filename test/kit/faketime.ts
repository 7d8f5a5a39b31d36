// Wall clocks of processes that a test sets, while the monotonic clock runs as it is. Needs libfaketime (Debian's package
// `libfaketime`), which is unpacked into `node_modules/.cache` if the machine does not have it.
import { execFileSync } from 'node:child_process';
import { existsSync, globSync, mkdirSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { ROOT } from './processes.ts';
import { temporaryDirectory } from './sentinel.ts';

const CACHE = join(ROOT, 'node_modules/.cache/faketime');
const LIBRARY = 'usr/lib/*/faketime/libfaketime.so.1';

const installed = (): string | undefined =>
  globSync(`/${LIBRARY}`)[0] ?? globSync(LIBRARY, { cwd: CACHE }).map((file) => join(CACHE, file))[0];

/** Unpacks libfaketime unless the machine has it. Needs Debian, and its package server the first time. */
export function ensureFaketime(): void {
  if (installed() !== undefined || !existsSync('/usr/bin/apt-get')) return;
  mkdirSync(CACHE, { recursive: true });
  const run = (command: string, ...args: string[]): void =>
    void execFileSync(command, args, { cwd: CACHE, stdio: ['ignore', 'ignore', 'pipe'] });
  const download = (): void => run('apt-get', 'download', 'libfaketime');
  try {
    try {
      download();
    } catch {
      // A new machine has no lists of packages yet.
      run('apt-get', 'update');
      download();
    }
    for (const file of globSync('libfaketime_*.deb', { cwd: CACHE })) run('dpkg-deb', '--extract', file, '.');
  } catch (error) {
    if (process.env.CI) throw error;
    console.warn(`Tests with clock steps are skipped: ${(error as Error).message}`);
  }
}

/** True if processes can have clocks of their own. In CI the tests that need them always run. */
export const hasFaketime = (): boolean => installed() !== undefined || Boolean(process.env.CI);

/** The wall clock of one or several processes. */
export class FakeWallClock {
  readonly #file = join(temporaryDirectory(), 'offset');
  #seconds = 0;

  /** @param seconds offset from the clock of the machine at the start */
  constructor(seconds = 0) {
    this.set(seconds);
  }

  /** Environment of a process that has this clock. */
  get env(): Record<string, string> {
    return {
      LD_PRELOAD: installed()!,
      FAKETIME_TIMESTAMP_FILE: this.#file,
      FAKETIME_NO_CACHE: '1',
      FAKETIME_DONT_FAKE_MONOTONIC: '1',
      NO_FAKE_STAT: '1',
    };
  }

  /** Sets the clock forwards by `seconds`, or back if negative, at once. */
  step(seconds: number): void {
    this.set(this.#seconds + seconds);
  }

  /** Sets the clock to an offset from that of the machine, at once. */
  set(seconds: number): void {
    this.#seconds = seconds;
    // The process may read the file at any time.
    writeFileSync(`${this.#file}.new`, seconds < 0 ? `${seconds}` : `+${seconds}`);
    renameSync(`${this.#file}.new`, this.#file);
  }
}
