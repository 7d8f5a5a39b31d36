// Writes one answer as it streams: a prefix such as `A> `, then the text with control characters escaped. On a terminal an indicator moves
// until the first piece arrives. Surrogate pairs that the stream split are joined before they are written.
import type { Clock, Timer } from '@fame-fabric/shared';
import { escapeControls, isHighSurrogate, type Style } from '@fame-fabric/shared/internal';

export interface AnswerOptions {
  /** Receives the answer: stdout. */
  write: (text: string) => void;
  /** Output of the waiting indicator; `undefined` if the prompt is not interactive. */
  indicator?: { write: (text: string) => void; clock: Clock } | undefined;
  style: Style;
  /** Written before the answer. */
  prefix: string;
  /** True if the text is held until the end, because other output is written meanwhile. */
  isHeld: boolean;
}

const FRAMES = ['·  ', '·· ', '···', ' ··', '  ·', '   '];
const FRAME_MS = 160;

/** The output of one answer. */
export class Answer {
  readonly #options: AnswerOptions;
  #text = '';
  #written = 0;
  #hasBegun = false;
  /** True after the line of the answer was ended for a note. The next piece begins a new line. */
  #isInterrupted = false;
  /** True while a question is shown: nothing is written then. */
  #isPaused = false;
  #isOver = false;
  #ticker: Timer | undefined;

  constructor(options: AnswerOptions) {
    this.#options = options;
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
    this.#isInterrupted = this.#hasBegun;
    writeNote();
    this.#startIndicator();
  }

  /** Discards the text after its first `keep` characters. If discarded text was written, writes the kept text again. */
  restart(keep: number): void {
    this.#text = this.#text.slice(0, keep);
    if (this.#written <= keep) return;
    this.#endLine();
    this.#hasBegun = this.#isInterrupted = false;
    this.#written = 0;
    this.#writeStreamed();
  }

  /** Ends the answer. `whole` is its text if no piece was streamed. */
  end(whole: string): void {
    this.#isOver = true;
    if (this.#text === '') this.#text = whole;
    this.#stopIndicator();
    this.#writeUpTo(this.#text.length);
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
    if (this.#hasBegun && !this.#isInterrupted) this.#options.write('\n');
  }

  // A high surrogate at the end waits for its other half.
  #safeEnd(): number {
    const { length } = this.#text;
    return isHighSurrogate(this.#text.charCodeAt(length - 1)) ? length - 1 : length;
  }

  #writeUpTo(end: number): void {
    if (end <= this.#written) return;
    this.#begin();
    let text = this.#text.slice(this.#written, end);
    // The line break at the start of the piece has already been written.
    if (this.#isInterrupted && text.startsWith('\n')) text = text.slice(1);
    this.#isInterrupted = false;
    this.#options.write(escapeControls(text));
    this.#written = end;
  }

  #begin(): void {
    this.#stopIndicator();
    if (this.#hasBegun) return;
    this.#hasBegun = true;
    const { write, style, prefix } = this.#options;
    if (prefix !== '') write(style.green(prefix));
  }

  #startIndicator(): void {
    const { indicator, style } = this.#options;
    if (!indicator || this.#isPaused || this.#ticker) return;
    let turn = 0;
    this.#ticker = indicator.clock.every(FRAME_MS, () => {
      indicator.write(`\r${style.dim(FRAMES[turn++ % FRAMES.length]!)}`);
    });
  }

  #stopIndicator(): void {
    if (!this.#ticker) return;
    this.#ticker.stop();
    this.#ticker = undefined;
    this.#options.indicator?.write('\r\u001b[K');
  }
}
