// The `fame` command as a process: agents that keep running, and commands that finish.
import { chmodSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type Exit, fameArgs, type Proc, startNode } from './processes.ts';
import { temporaryDirectory } from './sentinel.ts';

export interface CommandOptions {
  /** Admission URL of the sentinel to attach to. */
  url: string;
  env?: Record<string, string>;
}

/** Makes a directory with an `npx` that runs `node` and `fame` from the sources. */
export function npxDirectory(): string {
  const directory = temporaryDirectory();
  const quoted = (words: readonly string[]): string => words.map((word) => `'${word}'`).join(' ');
  const node = quoted([process.execPath, ...fameArgs().slice(0, -1)]);
  const script = `#!/bin/sh\ncase "$1" in\nnode) shift; exec ${node} "$@";;\nfame|fame-fabric) shift; exec ${quoted([process.execPath, ...fameArgs()])} "$@";;\nesac\nexit 2\n`;
  writeFileSync(join(directory, 'npx'), script);
  chmodSync(join(directory, 'npx'), 0o755);
  return directory;
}

const environment = ({ url, env }: CommandOptions): Record<string, string> => ({
  FAME_DIRECT_ADMISSION_URL: url,
  FAME_DATA_DIR: temporaryDirectory(),
  ...env,
});

/** Starts `fame agent NAMES` with the offline model and waits until it is served. */
export async function startOurAgent(options: CommandOptions, ...names: string[]): Promise<Proc> {
  const proc = startNode(fameArgs('agent', ...names), { name: 'agent', env: environment(options) });
  await proc.waitFor(/ is served through /, 20_000);
  return proc;
}

export interface Finished extends Exit {
  stdout: string;
  /** Standard output and standard error. */
  output: string;
}

/** Runs a command to its end. `input` is written to its standard input. */
export async function runFame(options: CommandOptions, args: string[], input = ''): Promise<Finished> {
  const proc = startNode(fameArgs(...args), { name: `fame ${args[0]}`, env: environment(options) });
  let stdout = '';
  proc.child.stdout?.on('data', (text: string) => {
    stdout += text;
  });
  proc.child.stdin?.end(input);
  return { ...(await proc.exited), stdout, output: proc.output };
}
