// Messages typed on a terminal, with an editor for messages of several lines. The prompt is hidden while an answer is written;
// input typed meanwhile appears at the next prompt.
import { emitKeypressEvents } from 'node:readline';
import { type Clock, systemClock, type Timer } from '@fame-fabric/shared';
import { onAbort } from '@fame-fabric/shared/internal';
import { EditorScreen, type TerminalOutput } from './editor-screen.ts';
import { type Key, LineEditor } from './line-editor.ts';
import type { QuestionOptions, ReplInput } from './repl-input.ts';

export interface TerminalInputOptions {
  input: NodeJS.ReadableStream & { setRawMode?: ((isRaw: boolean) => unknown) | undefined };
  output: TerminalOutput;
  prompt: string;
  /** Prompt of all lines of a message but the first. */
  continuation: string;
  /** Earlier messages, newest first. */
  history?: readonly string[] | undefined;
  /** Called with every entered message. */
  onMessage?: ((message: string) => void) | undefined;
  /** Returns the commands that begin with `text`. */
  complete?: ((text: string) => readonly string[]) | undefined;
  /** Stops this process, and those that the user started it with. @default SIGTSTP to the process group */
  suspend?: (() => void) | undefined;
  clock?: Clock | undefined;
}

interface Question {
  readonly isReply: (text: string) => boolean;
  readonly end: (reply: string | undefined) => void;
}

const PASTE_ON = '\u001b[?2004h';
const PASTE_OFF = '\u001b[?2004l';
/** Terminals without bracketed paste deliver pasted lines faster than a person types. */
const FAST_INPUT_MS = 20;
/** Time for SIGTSTP to stop this process. The kernel ignores it where no shell could continue the process. */
const SUSPEND_MS = 50;

// npx and make wait for their child, so the shell gets the terminal back only if they stop as well.
const suspendGroup = (): void => void process.kill(0, 'SIGTSTP');

export class TerminalInput implements ReplInput {
  onInterrupt: (() => void) | undefined;
  readonly #options: TerminalInputOptions;
  readonly #editor: LineEditor;
  readonly #screen: EditorScreen;
  readonly #clock: Clock;
  readonly #messages: string[] = [];
  #lines: string[] = [];
  /** Pieces of a bracketed paste that has not ended. */
  #paste: string[] | undefined;
  #flush: Timer | undefined;
  #waiter: ((message: string | undefined) => void) | undefined;
  #question: Question | undefined;
  /** True if the last chunk of input was a line feed alone: Ctrl-J, and not a line typed before the terminal was raw. */
  #isLineFeed = false;
  #isClosed = false;

  constructor(options: TerminalInputOptions) {
    const { input, output, history, complete } = options;
    this.#options = options;
    this.#clock = options.clock ?? systemClock;
    this.#editor = new LineEditor({ history, complete });
    this.#screen = new EditorScreen(output, this.#editor, options.continuation);
    input.on('data', this.#onData); // must run before the listener that emitKeypressEvents adds
    emitKeypressEvents(input);
    input.on('keypress', this.#onKey);
    input.on('end', this.#onEnd);
    output.on('resize', this.#onResize);
    process.on('SIGCONT', this.#onContinue);
    input.setRawMode?.(true);
    input.resume();
    output.write(PASTE_ON);
  }

  read(): Promise<string | undefined> {
    const message = this.#messages.shift();
    if (message !== undefined) {
      // It was typed while the prompt was hidden. It is shown now, so that messages and answers alternate on the screen.
      this.#screen.writeMessage(this.#options.prompt, message);
      return Promise.resolve(message);
    }
    if (this.#isClosed) return Promise.resolve(undefined);
    this.#screen.show(this.#options.prompt);
    return new Promise((resolve) => {
      this.#waiter = (next) => {
        this.#screen.hide();
        resolve(next);
      };
    });
  }

  question(text: string, { isReply, signal }: QuestionOptions): Promise<string | undefined> {
    if (this.#isClosed || signal.aborted) return Promise.resolve(undefined);
    // Text that was typed ahead belongs to the next message, and must not become a part of the reply.
    const endReply = this.#editor.beginReply();
    this.#screen.show(text);
    const { promise, resolve } = Promise.withResolvers<string | undefined>();
    const stopListening = onAbort(signal, () => this.#question?.end(undefined));
    this.#question = {
      isReply,
      end: (reply) => {
        stopListening();
        this.#question = undefined;
        if (reply === undefined) this.#screen.leaveLine();
        this.#screen.hide();
        endReply();
        resolve(reply);
      },
    };
    return promise;
  }

  note(text: string): void {
    this.#screen.writeAbove(text);
  }

  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    const { input, output } = this.#options;
    input.removeListener('data', this.#onData);
    input.removeListener('keypress', this.#onKey);
    input.removeListener('end', this.#onEnd);
    output.removeListener('resize', this.#onResize);
    process.removeListener('SIGCONT', this.#onContinue);
    if (this.#lines.length > 0) this.#take();
    output.write(PASTE_OFF);
    input.setRawMode?.(false);
    input.pause();
    const waiter = this.#waiter;
    this.#waiter = undefined;
    if (waiter) {
      this.#screen.leaveLine();
      waiter(undefined);
    }
    this.#question?.end(undefined);
  }

  readonly #onData = (chunk: Buffer | string): void => {
    this.#isLineFeed = chunk.toString() === '\n';
  };

  readonly #onEnd = (): void => this.close();

  readonly #onResize = (): void => this.#screen.draw();

  readonly #onContinue = (): void => {
    this.#options.input.setRawMode?.(true);
    this.#options.output.write(PASTE_ON);
    this.#screen.isPaused = false;
    this.#screen.drawAnew();
  };

  readonly #onKey = (text: string | undefined, key: Key): void => {
    if (this.#isClosed) return;
    if (key.name === 'paste-start') this.#paste = [];
    else if (key.name === 'paste-end') this.#endPaste();
    else if (this.#paste) this.#paste.push(text ?? key.sequence ?? '');
    else this.#press(text, key);
    this.#screen.drawSoon();
  };

  #endPaste(): void {
    const text = this.#paste?.join('').replace(/\r\n?/g, '\n') ?? '';
    this.#paste = undefined;
    this.#editor.paste(text);
  }

  #press(text: string | undefined, key: Key): void {
    if (key.ctrl && key.name === 'c') this.#interrupt();
    else if (key.ctrl && key.name === 'z') this.#suspend();
    else if (key.ctrl && key.name === 'l') this.#screen.clear();
    else if (key.ctrl && key.name === 'd' && this.#editor.isEmpty) this.close();
    else if (key.name === 'return') this.#pressEnter(key.meta === true);
    else if (key.name === 'enter') this.#pressEnter(key.meta === true || this.#isLineFeed);
    else {
      const completions = this.#editor.press(text, key);
      if (completions) this.note(`${completions.join('  ')}\n`);
    }
  }

  #pressEnter(isNewLine: boolean): void {
    if (this.#question) this.#reply(this.#question);
    else if (isNewLine && !this.#editor.isEmpty) this.#editor.insert('\n');
    else if (!this.#editor.continueLine()) this.#enter();
  }

  #reply(question: Question): void {
    this.#screen.leaveLine();
    const text = this.#editor.take();
    if (question.isReply(text)) question.end(text);
    else this.#screen.draw();
  }

  #enter(): void {
    this.#editor.endSearch();
    const { prompt, continuation } = this.#options;
    const line = this.#editor.take();
    if (this.#waiter) this.#screen.writeMessage(this.#lines.length === 0 ? prompt : continuation, line);
    this.#screen.hide();
    this.#lines.push(line);
    this.#flush?.stop();
    this.#flush = this.#clock.after(FAST_INPUT_MS, () => this.#take());
  }

  #take(): void {
    this.#flush?.stop();
    this.#flush = undefined;
    const lines = this.#lines;
    this.#lines = [];
    // Commands that arrive fast, such as from a script, remain separate lines.
    const isSeparate =
      lines.length > 1 && lines.some((line) => /^\s*(?:exit|quit|\/[a-z]+.*)\s*$/i.test(line));
    for (const message of isSeparate ? lines : [lines.join('\n')]) {
      this.#messages.push(message);
      this.#editor.history.add(message);
      this.#options.onMessage?.(message);
    }
    const waiter = this.#waiter;
    if (!waiter) return;
    this.#waiter = undefined;
    waiter(this.#messages.shift());
  }

  #interrupt(): void {
    // At a question Ctrl-C cancels the turn, even after some input.
    const isTyping = !this.#question && this.#waiter && (!this.#editor.isEmpty || this.#lines.length > 0);
    if (!isTyping) {
      this.onInterrupt?.();
      return;
    }
    this.#flush?.stop();
    this.#lines = [];
    this.#screen.leaveLine();
    this.#editor.cancel();
    this.#screen.show(this.#options.prompt);
  }

  #suspend(): void {
    if (process.platform === 'win32') return; // it has no job control
    const { input, output, suspend = suspendGroup } = this.#options;
    this.#screen.leaveLine();
    this.#screen.isPaused = true;
    output.write(PASTE_OFF);
    input.setRawMode?.(false);
    suspend();
    // SIGCONT continues the prompt, unless the process was not stopped. After a stop the timer is overdue, and its callback runs
    // before that of the signal, which is then due in this iteration of the event loop.
    this.#clock.after(SUSPEND_MS, () =>
      setImmediate(() => {
        if (this.#screen.isPaused && !this.#isClosed) this.#onContinue();
      }),
    );
  }
}
