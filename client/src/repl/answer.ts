// Writes one answer as it streams: a prefix such as `A> `, then the text with control characters escaped. On a terminal an
// indicator moves while no text arrives. Surrogate pairs that the stream split are joined before they are written.
import type { Clock, Timer } from '@fame-fabric/shared';
import { escapeControls, isHighSurrogate, type Style } from '@fame-fabric/shared/internal';
import { AnswerText } from './answer-text.ts';

export interface AnswerOptions {
  /** Receives the answer: stdout. */
  write: (text: string) => void;
  /** Output of the waiting indicator; `undefined` if the prompt is not interactive. */
  indicator?: { write: (text: string) => void; clock: Clock } | undefined;
  style: Style;
  /** Written before the answer. */
  prefix: string;
  /** Width of the terminal that the answer is written to; `undefined` for a file or a program, which gets the text as it is. */
  columns?: (() => number) | undefined;
  /** True if the text is held until the end, because other output is written meanwhile. */
  isHeld: boolean;
}

const FRAMES = ['·  ', '·· ', '···', ' ··', '  ·', '   '];
const FRAME_MS = 160;
/** Wait after which the indicator shows the time. */
const PATIENCE_MS = 3_000;

/** The output of one answer. */
export class Answer {
  readonly #options: AnswerOptions;
  #text = '';
  #written = 0;
  #hasBegun = false;
  /** Text on the screen from before a restart, until the new text differs from it or goes beyond it. */
  #earlier: string | undefined;
  /** True after the line of the answer was ended for a note. The next piece begins a new line. */
  #isInterrupted = false;
  /** True while a question is shown: nothing is written then. */
  #isPaused = false;
  #isOver = false;
  #ticker: Timer | undefined;
  #layout: AnswerText | undefined;
  /** Width of the indicator that stands behind the text. */
  #stallWidth = 0;
  readonly #startedAt: number;

  constructor(options: AnswerOptions) {
    this.#options = options;
    this.#startedAt = options.indicator?.clock.monotonic() ?? 0;
    this.#startIndicator();
  }

  /** Appends a piece of text. */
  add(piece: string): void {
    this.#text += piece;
    this.#writeStreamed();
  }

  /** Keeps further text back until `resume`, and ends the current line. */
  pause(): void {
    this.interrupt(() => {
      this.#isPaused = true;
    });
  }

  /** Continues after `pause`. Has no effect once the answer has ended. */
  resume(): void {
    if (this.#isOver) return;
    this.#isPaused = false;
    this.#startIndicator();
    this.#writeStreamed();
  }

  /** Ends the current line and calls `writeNote`, so that the note is on a separate line. */
  interrupt(writeNote: () => void): void {
    this.#stopIndicator();
    this.#endLine();
    this.#layout?.breakRow();
    this.#isInterrupted = this.#hasBegun;
    writeNote();
    this.#startIndicator();
  }

  /**
   * Discards the text after its first `keep` characters. What is on the screen stays there as long as the new text repeats it, so
   * that a repeated answer continues where it stopped. A text that differs is written again from its beginning.
   */
  restart(keep: number): void {
    const onScreen = this.#earlier ?? this.#text.slice(0, this.#written);
    this.#text = this.#text.slice(0, keep);
    if (onScreen.length > keep) this.#earlier = onScreen;
  }

  /** Ends the answer. `whole` is its text if no piece was streamed. */
  end(whole: string): void {
    this.#isOver = true;
    if (this.#text === '') this.#text = whole;
    this.#stopIndicator();
    this.#writeUpTo(this.#text.length);
    if (this.#earlier !== undefined) {
      this.#beginAgain(); // the new text is shorter
      this.#writeUpTo(this.#text.length);
    }
    this.#endLine();
  }

  /** Ends an incomplete answer. */
  abandon(): void {
    this.#isOver = true;
    this.#stopIndicator();
    this.#writeUpTo(this.#text.length);
    this.#endLine();
  }

  #writeStreamed(): void {
    if (!this.#options.isHeld && !this.#isPaused) this.#writeUpTo(this.#safeEnd());
  }

  #endLine(): void {
    const rest = this.#layout?.flush() ?? '';
    if (rest !== '') this.#options.write(rest);
    if (this.#hasBegun && !this.#isInterrupted) this.#options.write('\n');
  }

  // A high surrogate at the end waits for its other half.
  #safeEnd(): number {
    const { length } = this.#text;
    return isHighSurrogate(this.#text.charCodeAt(length - 1)) ? length - 1 : length;
  }

  #compareWithEarlier(end: number): void {
    const earlier = this.#earlier!;
    const shared = Math.min(end, earlier.length);
    if (this.#text.slice(0, shared) !== earlier.slice(0, shared)) this.#beginAgain();
    else if (shared === earlier.length) this.#earlier = undefined;
  }

  #beginAgain(): void {
    this.#stopIndicator();
    this.#endLine();
    this.#earlier = undefined;
    this.#hasBegun = this.#isInterrupted = false;
    this.#written = 0;
  }

  #writeUpTo(end: number): void {
    if (this.#earlier !== undefined) this.#compareWithEarlier(end);
    if (end <= this.#written) return;
    this.#begin();
    let text = this.#text.slice(this.#written, end);
    // After a note the text is on a new line already.
    if (this.#isInterrupted) text = text.replace(/^[\n ]/, '');
    this.#isInterrupted = false;
    const output = escapeControls(text);
    this.#options.write(this.#layout ? this.#layout.add(output) : output);
    this.#written = end;
    this.#startIndicator();
  }

  #begin(): void {
    this.#stopIndicator();
    if (this.#hasBegun) return;
    this.#hasBegun = true;
    const { write, style, prefix, columns } = this.#options;
    if (columns) this.#layout = new AnswerText({ columns, style, column: prefix.length });
    if (prefix !== '') write(style.green(prefix));
  }

  // Before the text: moving dots, soon with the time. In the text: the time, once nothing has arrived for a while.
  #startIndicator(): void {
    const { indicator } = this.#options;
    if (!indicator || this.#isPaused || this.#isOver || this.#ticker) return;
    if (this.#hasBegun && !this.#layout) return;
    const { clock } = indicator;
    const since = this.#hasBegun ? clock.monotonic() : this.#startedAt;
    let turn = 0;
    this.#ticker = clock.every(FRAME_MS, () => {
      const frame = FRAMES[turn++ % FRAMES.length]!;
      const waitedMs = clock.monotonic() - since;
      const time = waitedMs < PATIENCE_MS ? '' : ` ${Math.floor(waitedMs / 1_000)} s (Ctrl-C stops)`;
      if (!this.#hasBegun) this.#writeIndicator(`\r`, `${frame}${time}`);
      else if (time !== '') this.#writeStall(` ${frame}${time}`);
    });
  }

  #writeIndicator(before: string, text: string): void {
    const { indicator, style } = this.#options;
    indicator?.write(`${before}${style.dim(text)}`);
  }

  // Behind the text, if the row has room for it.
  #writeStall(text: string): void {
    const { columns } = this.#options;
    if (!columns || !this.#layout || this.#layout.column + text.length >= columns()) return;
    this.#writeIndicator(this.#stallEraser(), text);
    this.#stallWidth = text.length;
  }

  #stallEraser(): string {
    const width = this.#stallWidth;
    this.#stallWidth = 0;
    return width > 0 ? `\u001b[${width}D\u001b[K` : '';
  }

  #stopIndicator(): void {
    if (!this.#ticker) return;
    this.#ticker.stop();
    this.#ticker = undefined;
    const eraser = this.#hasBegun ? this.#stallEraser() : '\r\u001b[K';
    if (eraser !== '') this.#options.indicator?.write(eraser);
  }
}
