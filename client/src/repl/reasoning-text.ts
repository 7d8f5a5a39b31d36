// The reasoning of the model on a terminal: dimmed, in rows of its own, without the blanks around it. Surrogate pairs that the stream
// split are joined.
import { createStyle, escapeControls, isHighSurrogate, type Style } from '@fame-fabric/shared/internal';
import { AnswerText } from './answer-text.ts';

/** Maximum blanks that are kept back until more text follows. */
const MAX_HELD = 100;

export class ReasoningText {
  readonly #style: Style;
  readonly #layout: AnswerText;
  #held = '';
  #isEmpty = true;

  constructor(columns: () => number, style: Style) {
    this.#style = style;
    // Marks of Markdown are written as they are.
    this.#layout = new AnswerText({ columns, style: createStyle(false), column: 0 });
  }

  /** True if no output was returned yet. */
  get isEmpty(): boolean {
    return this.#isEmpty;
  }

  /** Column of the cursor. */
  get column(): number {
    return this.#layout.column;
  }

  /** Takes a piece of reasoning. Returns the output. */
  add(piece: string): string {
    const given = this.#held + piece;
    const text = this.#isEmpty ? given.trimStart() : given;
    const length = text.trimEnd().length;
    const end = isHighSurrogate(text.charCodeAt(length - 1)) ? length - 1 : length;
    this.#held = text.slice(end, end + MAX_HELD);
    if (end === 0) return '';
    this.#isEmpty = false;
    return this.#style.dim(this.#layout.add(escapeControls(text.slice(0, end))));
  }

  /** Returns the output that ends the reasoning. */
  end(): string {
    return this.#isEmpty ? '' : `${this.#layout.flush()}\n`;
  }
}
