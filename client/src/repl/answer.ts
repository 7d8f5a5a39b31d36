// Writes one answer as it streams: a prefix such as `A> `, then the text with control characters escaped. On a terminal an
// indicator moves while no text arrives, and the reasoning of the model is shown dimmed if the user wants that. Surrogate pairs
// that the stream split are joined before they are written.
import type { Clock } from '@fame-fabric/shared';
import { escapeControls, isHighSurrogate, type Style } from '@fame-fabric/shared/internal';
import type { WaitingEvent } from '../turn-event.ts';
import { AnswerText } from './answer-text.ts';
import { ReasoningText } from './reasoning-text.ts';
import { WaitIndicator } from './wait-indicator.ts';

export interface AnswerOptions {
  /** Receives the answer: stdout. */
  write: (text: string) => void;
  /** Output of the waiting indicator and of reasoning; `undefined` if the prompt is not interactive. */
  indicator?: { write: (text: string) => void; clock: Clock } | undefined;
  style: Style;
  /** Written before the answer. */
  prefix: string;
  /** Width of the terminal that the answer is written to; `undefined` for a file or a program, which gets the text as it is. */
  columns?: (() => number) | undefined;
  /** True if the text is held until the end, because other output is written meanwhile. */
  isHeld: boolean;
  /** True to write the reasoning, false to show only that the model thinks. @default false */
  showsReasoning?: boolean | undefined;
}

const DEFAULT_COLUMNS = (): number => 80;

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
  #layout: AnswerText | undefined;
  /** The reasoning since the last text. */
  #reasoning: ReasoningText | undefined;
  readonly #indicator: WaitIndicator | undefined;
  readonly #startedAt: number;

  constructor(options: AnswerOptions) {
    this.#options = options;
    const { indicator, style, columns = DEFAULT_COLUMNS } = options;
    this.#indicator = indicator && new WaitIndicator({ ...indicator, style, columns });
    this.#startedAt = indicator?.clock.monotonic() ?? 0;
    this.#startIndicator();
  }

  /** Appends a piece of text. */
  add(piece: string): void {
    this.#text += piece;
    this.#writeStreamed();
  }

  /** True if reasoning and waits have an output. */
  get showsProgress(): boolean {
    return this.#indicator !== undefined;
  }

  /** Takes a piece of the model's reasoning. */
  reason(piece: string): void {
    if (this.#isPaused || this.#isOver) return;
    if (this.#options.showsReasoning) this.#writeReasoning(piece);
    else this.#indicator?.think();
  }

  /** Shows when the request to the model server is repeated. */
  wait(event: WaitingEvent): void {
    this.#indicator?.wait(event);
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
    this.#indicator?.reset();
    this.#endReasoning();
    this.#leaveLine();
    writeNote();
    this.#startIndicator();
  }

  /**
   * Discards the text after its first `keep` characters. The text on the screen stays as long as the new text repeats it, so that
   * a repeated answer continues where it stopped. A text that differs is written again from its beginning.
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
    this.#finish();
  }

  /** Ends an incomplete answer. */
  abandon(): void {
    this.#isOver = true;
    this.#finish();
  }

  #finish(): void {
    this.#stopIndicator();
    this.#writeUpTo(this.#text.length);
    this.#endReasoning();
    this.#endLine();
  }

  // Reasoning has rows of its own, which begin with its first visible character.
  #writeReasoning(piece: string): void {
    const { indicator, style, columns } = this.#options;
    if (!indicator) return;
    this.#reasoning ??= new ReasoningText(columns ?? DEFAULT_COLUMNS, style);
    const { isEmpty } = this.#reasoning;
    const output = this.#reasoning.add(piece);
    if (output === '') return;
    this.#stopIndicator();
    this.#indicator?.reset();
    // A file with the answer gets no line break for reasoning on another output.
    if (isEmpty && columns) this.#leaveLine();
    indicator.write(output);
    this.#startIndicator();
  }

  #endReasoning(): void {
    const output = this.#reasoning?.end() ?? '';
    this.#reasoning = undefined;
    if (output !== '') this.#options.indicator?.write(output);
  }

  #writeStreamed(): void {
    if (!this.#options.isHeld && !this.#isPaused) this.#writeUpTo(this.#safeEnd());
  }

  /** Ends the current line. Further text begins on a new one. */
  #leaveLine(): void {
    this.#endLine();
    this.#layout?.breakRow();
    this.#isInterrupted = this.#hasBegun;
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
    this.#endReasoning();
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
    this.#indicator?.reset();
    this.#endReasoning();
    if (this.#hasBegun) return;
    this.#hasBegun = true;
    const { write, style, prefix, columns } = this.#options;
    if (columns) this.#layout = new AnswerText({ columns, style, column: prefix.length });
    if (prefix !== '') write(style.green(prefix));
  }

  // Before the text the status has a row of its own, in the text it stands behind it.
  #startIndicator(): void {
    const { indicator } = this.#options;
    if (!indicator || this.#isPaused || this.#isOver) return;
    const text = this.#hasBegun ? this.#layout : undefined;
    const behind = this.#reasoning?.isEmpty === false ? this.#reasoning : text;
    if (behind) this.#indicator?.start(indicator.clock.monotonic(), behind);
    else if (!this.#hasBegun) this.#indicator?.start(this.#startedAt);
  }

  #stopIndicator(): void {
    this.#indicator?.stop();
  }
}
