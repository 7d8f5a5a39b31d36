// A command in a pseudo terminal, which `script` (of util-linux or macOS) provides. Keys such as Ctrl-C arrive as if a user had
// typed them.
import { Proc, type StartOptions } from './processes.ts';

export const CTRL_C = '\x03';
export const CTRL_D = '\x04';
export const ENTER = '\r';

const quoted = (word: string): string => `'${word.replaceAll("'", `'\\''`)}'`;

/** Starts `node` in a terminal. Its exit code is that of the command. */
export function startInTerminal(args: readonly string[], options: StartOptions = {}): Terminal {
  const command = [process.execPath, ...args];
  const script =
    process.platform === 'darwin'
      ? ['-q', '/dev/null', ...command]
      : ['-qefc', `exec ${command.map(quoted).join(' ')}`, '/dev/null'];
  const env = { TERM: 'xterm', SHELL: '/bin/sh', ...options.env };
  return new Terminal('script', script, { name: `terminal ${args.at(-1)}`, ...options, env });
}

export class Terminal extends Proc {
  /** Types these keys. */
  type(keys: string): void {
    this.child.stdin?.write(keys);
  }

  /** Clears the output, so that the next wait matches new output only. */
  clear(): void {
    this.output = '';
  }
}
