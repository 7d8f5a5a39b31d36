// The `fame` command as a process: agents that keep running, and commands that finish.
import { type Exit, fameArgs, type Proc, startNode } from './processes.ts';
import { temporaryDirectory } from './sentinel.ts';

export interface CommandOptions {
  /** Admission URL of the sentinel to attach to. */
  url: string;
  env?: Record<string, string>;
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
