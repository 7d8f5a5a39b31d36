// The source of the prompt's messages: a port that a terminal (terminal-input.ts), a pipe (piped-input.ts) and, in tests, a list
// implement.

export interface ReplInput {
  /** The next message, `undefined` at the end of the input. A terminal shows the prompt meanwhile. */
  read(): Promise<string | undefined>;
  /** Called for Ctrl-C and SIGINT. */
  onInterrupt: (() => void) | undefined;
  /** Writes a note of the program. It does not disturb a line that is being typed. */
  note(text: string): void;
  /** Ends the input: a pending `read` resolves to `undefined`. Further calls have no effect. */
  close(): void;
}
