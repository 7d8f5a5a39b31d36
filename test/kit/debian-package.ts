// Programs of Debian that some tests need. They are unpacked into `node_modules/.cache` if the machine does not have them, so that
// no right to install is needed.
import { execFileSync } from 'node:child_process';
import { existsSync, globSync, mkdirSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { ROOT } from './processes.ts';

export class DebianPackage {
  readonly #name: string;
  readonly #file: string;
  readonly #cache: string;
  readonly #variable: string | undefined;

  /**
   * @param file path of the wanted file below `/`, which may contain `*`
   * @param variable environment variable with the path of another build of the file
   */
  constructor(name: string, file: string, variable?: string) {
    this.#name = name;
    this.#file = file;
    this.#variable = variable;
    this.#cache = join(ROOT, 'node_modules/.cache', name);
  }

  /** Path of the file: the one that the variable names, that of the machine or the unpacked one; undefined if there is none. */
  get path(): string | undefined {
    const named = this.#variable && process.env[this.#variable];
    if (named) return resolve(named);
    const [unpacked] = globSync(this.#file, { cwd: this.#cache });
    return globSync(`/${this.#file}`)[0] ?? (unpacked && join(this.#cache, unpacked));
  }

  /** True if tests can use the package. In CI they always run, and fail without it. */
  get isUsable(): boolean {
    return this.path !== undefined || Boolean(process.env.CI);
  }

  /** Unpacks the package unless the file is there. Needs Debian, and its package server the first time. */
  ensure(): void {
    if (this.path !== undefined || !existsSync('/usr/bin/apt-get')) return;
    mkdirSync(this.#cache, { recursive: true });
    const run = (command: string, ...args: string[]): void =>
      void execFileSync(command, args, { cwd: this.#cache, stdio: ['ignore', 'ignore', 'pipe'] });
    const download = (): void => run('apt-get', 'download', this.#name);
    try {
      try {
        download();
      } catch {
        // A new machine has no lists of packages yet.
        run('apt-get', 'update');
        download();
      }
      for (const file of globSync(`${this.#name}_*.deb`, { cwd: this.#cache }))
        run('dpkg-deb', '--extract', file, '.');
    } catch (error) {
      if (process.env.CI) throw error;
      const advice = `Install it, or run apt-get update, to run them.`;
      console.warn(
        `Tests that need ${this.#name} are skipped: ${(error as Error).message.split('\n')[0]}. ${advice}`,
      );
    }
  }
}
