// A command in a terminal of its own: `script` (util-linux, and its namesake of macOS) gives it a pseudo terminal and passes
// on what is typed, so that keys such as Ctrl-C arrive as they do for a person.
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
  /** Types keys, as they are. */
  type(keys: string): void {
    this.child.stdin?.write(keys);
  }

  /** Forgets what the screen showed so far, so that a wait sees what comes. */
  clear(): void {
    this.output = '';
  }
}
