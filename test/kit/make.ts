// The make targets as people type them, in this checkout, with settings and data of their own. What is built is left as it
// is: `npm test` has built, and two builds at once in one checkout would step on each other.
import { Proc, type StartOptions } from './processes.ts';

/** Starts `make TARGET`. Settings are environment variables. */
export const startMake = (target: string, options: StartOptions = {}): Proc =>
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
  const said = { out: '', err: '' };
  proc.child.stdout?.on('data', (text: string) => {
    said.out += text;
  });
  proc.child.stderr?.on('data', (text: string) => {
    said.err += text;
  });
  proc.child.stdin?.end(input);
  const { code } = await proc.exited;
  return { code, ...said };
}
