// The input port of the prompt. Implemented by a terminal (terminal-input.ts), a pipe (piped-input.ts) and, in tests, a list.

export interface QuestionOptions {
  /** True for a line that answers the question. */
  isReply: (text: string) => boolean;
  /** Withdraws the question. */
  signal: AbortSignal;
}

/** The source of the user's messages. */
export interface ReplInput {
  /** Waits for the next message. Resolves to `undefined` at the end of the input. A terminal shows the prompt meanwhile. */
  read(): Promise<string | undefined>;
  /**
   * Asks the user during a turn. Resolves to the first line that `isReply` accepts. Resolves to `undefined` at the end of the
   * input, when `signal` aborts, and if the next line of a pipe is not a reply; that line remains the next message.
   */
  question(text: string, options: QuestionOptions): Promise<string | undefined>;
  /** Called for Ctrl-C and SIGINT. */
  onInterrupt: (() => void) | undefined;
  /** Writes a note of the program, without disturbing a line that the user is typing. */
  note(text: string): void;
  /** Ends the input: a pending `read` resolves to `undefined`. Further calls have no effect. */
  close(): void;
}
