// Prepares the text of an answer for a terminal while it streams: breaks lines between words, and with colours shows headings,
// bold text, code, lists and quotes of Markdown instead of their marks. Text is kept back only while it may still become a mark,
// and no longer than MAX_SPAN_CHARS or a line.
import { graphemes, graphemeWidth, type Style } from '@fame-fabric/shared/internal';

export interface AnswerTextOptions {
  /** Width of the terminal. */
  columns: () => number;
  style: Style;
  /** Column in which the answer begins, behind its prefix. */
  column: number;
}

const MAX_SPAN_CHARS = 400;
const FENCE = /^ {0,3}(?:```|~~~)/;
const MAYBE_FENCE = /^ {0,3}[`~]{0,2}$/;
const MAYBE_MARK = /^ *(?:#{1,6}|[-+*]|\d{1,3}[.)]?|>)?$/;
const HEADING = /^ {0,3}#{1,6} +/;
const ITEM = /^( {0,12})(?:[-+*]|(\d{1,3}[.)])) +/;
const QUOTE = /^ {0,3}> ?/;
/** Bold text and code. */
const SPAN = /^(?:\*\*([^*\s](?:[^*]*[^*\s])?)\*\*|`([^`]+)`)/;

type Paint = (text: string) => string;
const plain: Paint = (text) => text;

export class AnswerText {
  readonly #options: AnswerTextOptions;
  #column: number;
  /** Text of the current line that is not written yet. */
  #rest = '';
  /** True until the mark at the start of the line is written, or known to be missing. */
  #isLineStart = true;
  /** True between the fences of a code block. */
  #isCode = false;
  /** True if the line is written as it is: code and rows of tables. */
  #isRaw = false;
  /** Spaces before the further rows of a list item or a quote. */
  #indent = 0;
  #paint: Paint = plain;
  /** The word at the cursor, which moves to the next row if it does not fit. */
  #word = '';
  #wordWidth = 0;

  constructor(options: AnswerTextOptions) {
    this.#options = options;
    this.#column = options.column;
  }

  /** Column of the cursor. */
  get column(): number {
    return this.#column;
  }

  /** Takes a piece of escaped text. Returns the output. */
  add(piece: string): string {
    const [first, ...further] = piece.split('\n');
    this.#rest += first;
    let output = '';
    for (const line of further) {
      output += `${this.#writeRest(true)}\n`;
      this.#startLine();
      this.#rest = line;
    }
    return output + this.#writeRest(false);
  }

  /** Returns the output of the text that was kept back. */
  flush(): string {
    return this.#writeRest(true);
  }

  /** Continues on a new row after a note. */
  breakRow(): void {
    this.#column = 0;
    this.#endWord();
  }

  #startLine(): void {
    this.breakRow();
    this.#isLineStart = true;
    this.#isRaw = false;
    this.#indent = 0;
    this.#paint = plain;
  }

  #writeRest(isComplete: boolean): string {
    if (!this.#options.style.isOn) this.#isLineStart = false;
    if (this.#isLineStart) {
      const mark = this.#writeMark(isComplete);
      return mark === undefined ? '' : mark + this.#writeSpans(isComplete);
    }
    return this.#writeSpans(isComplete);
  }

  /** Writes the mark at the start of the line. Returns `undefined` if more text is needed to know it. */
  #writeMark(isComplete: boolean): string | undefined {
    const { style } = this.#options;
    const isFence = FENCE.test(this.#rest);
    if (!isComplete && (isFence || MAYBE_FENCE.test(this.#rest))) return undefined;
    if (!isComplete && !this.#isCode && MAYBE_MARK.test(this.#rest)) return undefined;
    if (this.#rest === '') return '';
    this.#isLineStart = false;
    if (isFence) this.#isCode = !this.#isCode;
    if (isFence || this.#isCode) {
      this.#isRaw = true;
      this.#paint = isFence ? style.dim : style.cyan;
      return '';
    }
    this.#isRaw = this.#rest.startsWith('|');
    const [heading] = HEADING.exec(this.#rest) ?? [];
    if (heading !== undefined) {
      this.#paint = style.bold;
      return this.#takeMark(heading, '', 0);
    }
    const [item, indent = '', number = '•'] = ITEM.exec(this.#rest) ?? [];
    if (item !== undefined)
      return this.#takeMark(item, `${indent}${number} `, indent.length + number.length + 1);
    const [quote] = QUOTE.exec(this.#rest) ?? [];
    return quote === undefined ? '' : this.#takeMark(quote, style.dim('│ '), 2);
  }

  #takeMark(mark: string, shown: string, width: number): string {
    this.#rest = this.#rest.slice(mark.length);
    this.#column += width;
    this.#indent = width;
    return shown;
  }

  #writeSpans(isComplete: boolean): string {
    const { style } = this.#options;
    let output = '';
    while (this.#rest !== '') {
      const at = style.isOn && !this.#isRaw ? this.#rest.search(/\*\*|\*$|`/) : -1;
      if (at < 0) return output + this.#write(this.#takeRest(this.#rest.length), this.#paint);
      output += this.#write(this.#takeRest(at), this.#paint);
      const [span, bold, code] = SPAN.exec(this.#rest) ?? [];
      if (span !== undefined) {
        this.#takeRest(span.length);
        output += bold === undefined ? this.#write(code!, style.cyan) : this.#write(bold, style.bold);
      } else if (isComplete || this.#rest.length > MAX_SPAN_CHARS || /^\*\*\s/.test(this.#rest)) {
        output += this.#write(this.#takeRest(this.#rest.startsWith('**') ? 2 : 1), this.#paint);
      } else return output;
    }
    return output;
  }

  #takeRest(chars: number): string {
    const taken = this.#rest.slice(0, chars);
    this.#rest = this.#rest.slice(chars);
    return taken;
  }

  #write(text: string, paint: Paint): string {
    const columns = this.#options.columns();
    const start = `\n${' '.repeat(this.#indent)}`;
    let output = '';
    let run = '';
    const endRun = (): void => {
      if (run === '') return;
      output += paint(run);
      this.#word += paint(run);
      run = '';
    };
    for (const grapheme of graphemes(text)) {
      const width = grapheme === '\t' ? 8 - (this.#column % 8) : graphemeWidth(grapheme);
      const isBlank = grapheme === ' ' || grapheme === '\t';
      // The last column stays empty: behind it terminals differ in where the cursor is.
      if (!this.#isRaw && this.#column + width >= columns) {
        endRun();
        const canMove = !isBlank && this.#wordWidth > 0 && this.#column - this.#wordWidth > this.#indent;
        output += canMove ? `\u001b[${this.#wordWidth}D\u001b[K${start}${this.#word}` : start;
        this.#column = this.#indent + (canMove ? this.#wordWidth : 0);
        if (!canMove) this.#endWord();
        if (isBlank) continue;
      }
      run += grapheme;
      this.#column += width;
      this.#wordWidth += width;
      if (isBlank || width > 1) {
        endRun();
        this.#endWord(); // a row may end here
      }
    }
    endRun();
    return output;
  }

  #endWord(): void {
    this.#word = '';
    this.#wordWidth = 0;
  }
}
