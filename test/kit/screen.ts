// A shell in a pseudo terminal, and the screen that its user sees. `script` of util-linux provides the terminal: every Linux
// machine has it, unlike tmux. xterm.js interprets the output, as in the terminals of editors.
import { spawnSync } from 'node:child_process';
import xterm from '@xterm/headless'; // CommonJS
import { cleanEnv, Proc } from './processes.ts';
import { WAIT_LIMIT_MS } from './wait-limit.ts';

/** Size of a terminal in cells. */
export interface ScreenSize {
  readonly columns: number;
  readonly rows: number;
}
const SIZE: ScreenSize = { columns: 80, rows: 24 };

/** Keys as a terminal sends them. */
export const KEYS = {
  enter: '\r',
  altEnter: '\u001b\r',
  tab: '\t',
  up: '\u001b[A',
  ctrlC: '\u0003',
  ctrlD: '\u0004',
  ctrlR: '\u0012',
  ctrlZ: '\u001a',
};

export class ShellScreen {
  readonly proc: Proc;
  readonly #emulator: xterm.Terminal;
  readonly #watchers = new Set<() => void>();
  #tty = '';

  private constructor(env: Record<string, string>, { columns, rows }: ScreenSize) {
    this.#emulator = new xterm.Terminal({ cols: columns, rows, scrollback: 5_000, allowProposedApi: true });
    const shell = 'exec bash --norc --noprofile -i';
    this.proc = new Proc('script', ['-qefc', shell, '/dev/null'], {
      name: 'shell',
      env: { TERM: 'xterm-256color', SHELL: '/bin/sh', PS1: '$ ', NO_COLOR: '', ...env },
    });
    const show = (text: string): void => this.#emulator.write(text, () => this.#notify());
    this.proc.child.stdout?.on('data', show);
    this.proc.child.stderr?.on('data', show);
    void this.proc.exited.then(() => this.#notify());
  }

  /** Opens a shell, by default of 80 columns and 24 rows. Its first line on the screen is the name of its terminal. */
  static async open(env: Record<string, string>, size = SIZE): Promise<ShellScreen> {
    const screen = new ShellScreen(env, size);
    await screen.waitFor(/\$ $/);
    screen.type(`stty cols ${size.columns} rows ${size.rows}; clear; tty\r`);
    [screen.#tty] = await screen.waitFor(/^\/dev\/\S+/);
    return screen;
  }

  /** The rows of the screen and those above it that have scrolled off, down to the cursor. The last row ends at the cursor. */
  get text(): string {
    const { active } = this.#emulator.buffer;
    const end = active.baseY + active.cursorY;
    const rows = Array.from({ length: end + 1 }, (_, row) =>
      active.getLine(row)!.translateToString().trimEnd(),
    );
    return rows.with(end, rows[end]!.padEnd(active.cursorX)).join('\n');
  }

  type(keys: string): void {
    this.proc.child.stdin?.write(keys);
  }

  /** Pastes text as terminals do: in brackets if the program requested them. */
  paste(text: string): void {
    const { bracketedPasteMode } = this.#emulator.modes;
    const keys = text.replaceAll('\n', '\r');
    this.type(bracketedPasteMode ? `\u001b[200~${keys}\u001b[201~` : keys);
  }

  /** Clears the screen except the row of the cursor. */
  clear(): void {
    this.#emulator.clear();
  }

  /** Changes the size of the terminal, as a window manager does. */
  resize(columns: number, rows: number): void {
    this.#emulator.resize(columns, rows);
    const { status, stderr } = spawnSync('stty', ['-F', this.#tty, 'cols', `${columns}`, 'rows', `${rows}`], {
      env: cleanEnv(),
      encoding: 'utf8',
    });
    if (status !== 0) throw new Error(`stty failed: ${stderr}`);
  }

  /** The active buffer of the emulator, with colours and the cursor. */
  get buffer(): xterm.IBuffer {
    return this.#emulator.buffer.active;
  }

  /** Calls `listener` after each change of the screen. Returns a function that removes the listener. */
  onChange(listener: () => void): () => void {
    this.#watchers.add(listener);
    return () => void this.#watchers.delete(listener);
  }

  /** Waits until the text of the screen matches. */
  async waitFor(pattern: RegExp): Promise<RegExpMatchArray> {
    const { promise, resolve, reject } = Promise.withResolvers<RegExpMatchArray>();
    const check = (): void => {
      const found = this.text.match(pattern);
      if (found) resolve(found);
      else if (!this.proc.alive) reject(this.#failure(`exited before it showed ${pattern}`));
    };
    const fail = () => reject(this.#failure(`did not show ${pattern}`));
    const timer = setTimeout(fail, WAIT_LIMIT_MS);
    this.#watchers.add(check);
    check();
    try {
      return await promise;
    } finally {
      clearTimeout(timer);
      this.#watchers.delete(check);
    }
  }

  #failure(what: string): Error {
    return new Error(`The terminal ${what}. Its screen:\n${this.text}`);
  }

  #notify(): void {
    for (const check of this.#watchers) check();
  }
}
