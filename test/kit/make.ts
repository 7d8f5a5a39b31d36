// The make targets as a user types them, in this checkout, with their own settings and data. They do not build: `npm test` has
// built, and two builds at the same time in one checkout would disturb each other.
import { Proc, type StartOptions } from './processes.ts';

/** Starts `make TARGET`. Settings are environment variables. */
const startMake = (target: string, options: StartOptions = {}): Proc =>
  new Proc('make', ['--no-print-directory', '--old-file=dist/.made', target], {
    name: `make ${target}`,
    ...options,
  });

/** Exit code of make when its command exited with anything but 0. */
export const MAKE_FAILED = 2;

export interface Made {
  code: number | null;
  out: string;
  err: string;
}

/** Runs `make TARGET` to its end, with `input` on its standard input. */
export async function make(target: string, env: Record<string, string>, input = ''): Promise<Made> {
  const proc = startMake(target, { env });
  const output = { out: '', err: '' };
  proc.child.stdout?.on('data', (text: string) => {
    output.out += text;
  });
  proc.child.stderr?.on('data', (text: string) => {
    output.err += text;
  });
  proc.child.stdin?.end(input);
  const { code } = await proc.exited;
  return { code, ...output };
}
