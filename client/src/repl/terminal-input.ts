// Messages typed on a terminal. node:readline edits lines and keeps the history. Several pasted lines are one message. The
// prompt is hidden while an answer is written; input typed meanwhile appears at the next prompt.
import { clearScreenDown, createInterface, cursorTo, type Interface, moveCursor } from 'node:readline';
import { Writable } from 'node:stream';
import { type Clock, systemClock, type Timer } from '@fame-fabric/shared';
import { onAbort } from '@fame-fabric/shared/internal';
import type { QuestionOptions, ReplInput } from './repl-input.ts';

export interface TerminalInputOptions {
  input: NodeJS.ReadableStream;
  output: NodeJS.WritableStream & { columns?: number; rows?: number };
  prompt: string;
  /** Prompt of all lines of a pasted message but the first. */
  continuation: string;
  /** Earlier lines, newest first, as readline expects them. */
  history?: readonly string[] | undefined;
  /** Called with every entered line. */
  onLine?: ((line: string) => void) | undefined;
  clock?: Clock | undefined;
}

const PASTE_ON = '\u001b[?2004h';
const PASTE_OFF = '\u001b[?2004l';
/** Terminals without bracketed paste deliver pasted lines faster than a person types. */
const FAST_INPUT_MS = 20;
const HISTORY_SIZE = 1_000;

export class TerminalInput implements ReplInput {
  onInterrupt: (() => void) | undefined;
  readonly #options: TerminalInputOptions;
  readonly #editor: Interface;
  readonly #screen: Screen;
  readonly #clock: Clock;
  readonly #messages: string[] = [];
  #lines: string[] = [];
  #isPasting = false;
  #hasPasted = false;
  #flush: Timer | undefined;
  #waiter: ((message: string | undefined) => void) | undefined;
  /** A question to the user that waits for its reply. */
  #question: { isReply: (text: string) => boolean; end: (reply: string | undefined) => void } | undefined;
  #isClosed = false;

  constructor(options: TerminalInputOptions) {
    this.#options = options;
    this.#clock = options.clock ?? systemClock;
    this.#screen = new Screen(options.output);
    this.#screen.isMuted = true; // until the first read
    this.#editor = createInterface({
      input: options.input,
      output: this.#screen,
      terminal: true,
      prompt: options.prompt,
      history: [...(options.history ?? [])],
      historySize: HISTORY_SIZE,
      removeHistoryDuplicates: true,
      tabSize: 2,
    });
    this.#editor.on('line', (line) => this.#onLine(line));
    // Replies to questions are not messages, so the history omits them.
    this.#editor.on('history', (lines: string[]) => this.#question && lines.shift());
    this.#editor.on('SIGINT', () => this.#onInterrupt());
    this.#editor.on('close', () => this.#onClose());
    options.input.on('keypress', this.#onKey);
    options.output.write(PASTE_ON);
  }

  read(): Promise<string | undefined> {
    const message = this.#messages.shift();
    if (message !== undefined) {
      this.#show(message);
      return Promise.resolve(message);
    }
    if (this.#isClosed) return Promise.resolve(undefined);
    this.#screen.isMuted = false;
    this.#editor.setPrompt(this.#options.prompt);
    this.#editor.prompt(true);
    return new Promise((resolve) => {
      this.#waiter = (next) => {
        this.#screen.isMuted = true;
        resolve(next);
      };
    });
  }

  question(text: string, { isReply, signal }: QuestionOptions): Promise<string | undefined> {
    if (this.#isClosed || signal.aborted) return Promise.resolve(undefined);
    // Text that was typed ahead belongs to the next message, and must not become a part of the reply.
    const typedAhead = this.#takeLine();
    this.#screen.isMuted = false;
    this.#editor.setPrompt(text);
    this.#editor.prompt();
    const { promise, resolve } = Promise.withResolvers<string | undefined>();
    const withdraw = (): void => {
      this.#takeLine();
      this.#options.output.write('\n');
      this.#question?.end(undefined);
    };
    const stopListening = onAbort(signal, withdraw);
    this.#question = {
      isReply,
      end: (reply) => {
        stopListening();
        this.#question = undefined;
        this.#screen.isMuted = true;
        if (!this.#isClosed) this.#editor.write(typedAhead);
        resolve(reply);
      },
    };
    return promise;
  }

  note(text: string): void {
    const { output } = this.#options;
    if (this.#screen.isMuted || this.#isClosed) {
      output.write(text);
      return;
    }
    moveCursor(output, 0, -this.#editor.getCursorPos().rows);
    cursorTo(output, 0);
    clearScreenDown(output);
    output.write(text);
    this.#editor.prompt(true);
  }

  close(): void {
    if (!this.#isClosed) this.#editor.close();
  }

  // Shows a message that was typed ahead when it is sent, so that questions and answers alternate on the screen.
  #show(message: string): void {
    const { output, prompt, continuation } = this.#options;
    output.write(`${prompt}${message.split('\n').join(`\n${continuation}`)}\n`);
  }

  readonly #onKey = (_text: string | undefined, key: { name?: string } | undefined): void => {
    if (key?.name === 'paste-start') this.#isPasting = this.#hasPasted = true;
    else if (key?.name === 'paste-end') this.#isPasting = false;
  };

  // Clears the line that is being edited and returns it.
  #takeLine(): string {
    const { line } = this.#editor;
    this.#editor.write(null, { ctrl: true, name: 'e' });
    this.#editor.write(null, { ctrl: true, name: 'u' });
    return line;
  }

  #onLine(line: string): void {
    if (this.#question && !this.#isPasting && !this.#hasPasted) {
      if (this.#question.isReply(line)) this.#question.end(line);
      else this.#editor.prompt();
      return;
    }
    this.#options.onLine?.(line);
    this.#lines.push(line);
    if (this.#isPasting) {
      this.#editor.setPrompt(this.#options.continuation);
      this.#editor.prompt();
      return;
    }
    this.#flush?.stop();
    this.#flush = undefined;
    if (this.#hasPasted) this.#take();
    else this.#flush = this.#clock.after(FAST_INPUT_MS, () => this.#take());
  }

  #take(): void {
    this.#flush?.stop();
    this.#flush = undefined;
    const lines = this.#lines;
    const wasPasted = this.#hasPasted;
    this.#lines = [];
    this.#hasPasted = false;
    // Commands that arrive fast, such as from a script, remain separate lines. A bracketed paste is always one message.
    const isSeparate = !wasPasted && lines.some((line) => /^\s*(?:exit|quit|\/[a-z]+.*)\s*$/i.test(line));
    for (const message of isSeparate ? lines : [lines.join('\n')]) this.#messages.push(message);
    const waiter = this.#waiter;
    if (!waiter) return;
    this.#waiter = undefined;
    waiter(this.#messages.shift());
  }

  #onInterrupt(): void {
    // At a question Ctrl-C cancels the turn, whatever was typed.
    const isTyping =
      !this.#question && !this.#screen.isMuted && (this.#editor.line !== '' || this.#lines.length > 0);
    if (!isTyping) {
      this.onInterrupt?.();
      return;
    }
    this.#flush?.stop();
    this.#lines = [];
    this.#hasPasted = this.#isPasting = false;
    this.#takeLine();
    this.#options.output.write('\n');
    this.#editor.setPrompt(this.#options.prompt);
    this.#editor.prompt();
  }

  #onClose(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#options.input.removeListener('keypress', this.#onKey);
    if (this.#lines.length > 0) this.#take();
    this.#options.output.write(PASTE_OFF);
    const waiter = this.#waiter;
    this.#waiter = undefined;
    if (waiter || this.#question) this.#options.output.write('\n'); // end the line of the prompt
    waiter?.(undefined);
    this.#question?.end(undefined);
  }
}

// The output of the editor. It is muted while an answer is written, so that keys typed meanwhile do not appear in the answer.
class Screen extends Writable {
  isMuted = false;
  readonly #output: TerminalInputOptions['output'];

  constructor(output: TerminalInputOptions['output']) {
    super({ decodeStrings: false });
    this.#output = output;
    output.on('resize', () => this.emit('resize'));
  }

  get columns(): number {
    return this.#output.columns ?? 80;
  }

  get rows(): number {
    return this.#output.rows ?? 24;
  }

  override _write(chunk: string | Buffer, _encoding: BufferEncoding, done: () => void): void {
    if (!this.isMuted) this.#output.write(chunk);
    done();
  }
}
