// Writes one answer as it streams: `A> `, then the text, made inert. On a terminal a small sign moves until the first piece
// is there. Surrogate pairs that the stream cut in two are put together again before they are written.
import type { Clock, Timer } from '@fame-fabric/shared';
import { inert } from '../inert-text.ts';
import type { Style } from '../style.ts';

export interface AnswerOptions {
  /** Where answers go: stdout. */
  write: (text: string) => void;
  /** Shows that something is under way; absent where nobody watches. */
  indicator?: { write: (text: string) => void; clock: Clock };
  style: Style;
  /** Keeps the text back until the end, since other output comes in between. */
  isHeld: boolean;
}

const FRAMES = ['·  ', '·· ', '···', ' ··', '  ·', '   '];
const FRAME_MS = 160;

export class Answer {
  readonly #options: AnswerOptions;
  #text = '';
  #written = 0;
  #hasBegun = false;
  /** A note came in between: the answer goes on in a line of its own. */
  #isInterrupted = false;
  #ticker: Timer | undefined;

  constructor(options: AnswerOptions) {
    this.#options = options;
    this.#startIndicator();
  }

  add(piece: string): void {
    this.#text += piece;
    if (!this.#options.isHeld) this.#writeUpTo(this.#safeEnd());
  }

  /** Makes room for a line between two pieces of the answer, which is written by `write`. */
  aside(write: () => void): void {
    this.#stopIndicator();
    this.#endLine();
    this.#isInterrupted = this.#hasBegun;
    write();
    this.#startIndicator();
  }

  /** The agent began anew and stands by the first `keep` characters only: what still holds is written again. */
  restart(keep: number): void {
    this.#text = this.#text.slice(0, keep);
    if (this.#written <= keep) return;
    this.#endLine();
    this.#hasBegun = this.#isInterrupted = false;
    this.#written = 0;
    if (!this.#options.isHeld) this.#writeUpTo(this.#safeEnd());
  }

  /** Ends the answer; `whole` is its text where nothing was streamed. */
  end(whole: string): void {
    if (this.#text === '') this.#text = whole;
    this.#begin();
    this.#writeUpTo(this.#text.length);
    this.#endLine();
  }

  /** Ends an answer that will not be whole. */
  abandon(): void {
    this.#stopIndicator();
    this.#writeUpTo(this.#text.length);
    this.#endLine();
  }

  #endLine(): void {
    if (this.#hasBegun && !this.#isInterrupted) this.#options.write('\n');
  }

  // A high surrogate at the very end waits for its other half.
  #safeEnd(): number {
    const last = this.#text.charCodeAt(this.#text.length - 1);
    return last >= 0xd800 && last <= 0xdbff ? this.#text.length - 1 : this.#text.length;
  }

  #writeUpTo(end: number): void {
    if (end <= this.#written) return;
    this.#begin();
    let text = this.#text.slice(this.#written, end);
    // The line has been ended already.
    if (this.#isInterrupted && text.startsWith('\n')) text = text.slice(1);
    this.#isInterrupted = false;
    this.#options.write(inert(text));
    this.#written = end;
  }

  #begin(): void {
    this.#stopIndicator();
    if (this.#hasBegun) return;
    this.#hasBegun = true;
    this.#options.write(this.#options.style.green('A> '));
  }

  #startIndicator(): void {
    const { indicator, style } = this.#options;
    if (!indicator) return;
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
