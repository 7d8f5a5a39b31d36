// Where the REPL's messages come from: a port with three implementations, a terminal (terminal-input.ts), a pipe
// (piped-input.ts) and, in tests, a list.

export interface ReplInput {
  /** The next message, or `undefined` at the end of the input. On a terminal it shows the prompt. */
  read(): Promise<string | undefined>;
  /** Ctrl-C, or the signal SIGINT. */
  onInterrupt: (() => void) | undefined;
  /** Writes a note of the program without spoiling a line that is being typed. */
  note(text: string): void;
  /** Ends the input: a waiting `read` gets `undefined`. Twice is harmless. */
  close(): void;
}
