// Draws the prompt with the text that is being edited, and removes it again: nothing is drawn while an answer is written.
import { type Layout, layOut, widthOf } from './editor-layout.ts';
import type { LineEditor } from './line-editor.ts';

export type TerminalOutput = NodeJS.WritableStream & { columns?: number; rows?: number };

/** Rows of an entered message that stay on the screen if it has more rows than the terminal. */
const MAX_MESSAGE_ROWS = 10;

export class EditorScreen {
  /** True while another program has the terminal. */
  isPaused = false;
  readonly #output: TerminalOutput;
  readonly #editor: LineEditor;
  readonly #continuation: string;
  /** `undefined` while hidden. */
  #prompt: string | undefined;
  #drawn: Layout | undefined;
  #isDue = false;

  constructor(output: TerminalOutput, editor: LineEditor, continuation: string) {
    this.#output = output;
    this.#editor = editor;
    this.#continuation = continuation;
  }

  /** Shows this prompt and the text behind it. */
  show(prompt: string): void {
    this.#prompt = prompt;
    this.draw();
  }

  /** Removes prompt and text from the screen. */
  hide(): void {
    this.#erase();
    this.#prompt = undefined;
  }

  /** Draws once after all keys of a chunk of input. */
  drawSoon(): void {
    if (this.#isDue) return;
    this.#isDue = true;
    queueMicrotask(() => {
      this.#isDue = false;
      this.draw();
    });
  }

  draw(): void {
    if (this.#prompt === undefined || this.isPaused) return;
    const { text, cursor, label } = this.#editor.view;
    const layout = this.#layOut(label ?? this.#prompt, text, cursor, this.#rows - 1);
    const { rows, row, column } = layout;
    const up = rows.length - 1 - row;
    this.#output.write(
      `${this.#eraser()}${rows.join('\n')}${up > 0 ? `\u001b[${up}A` : ''}\r${column > 0 ? `\u001b[${column}C` : ''}`,
    );
    this.#drawn = layout;
  }

  /** Draws on a new line, because other programs may have written to the terminal. */
  drawAnew(): void {
    this.#drawn = undefined;
    this.draw();
  }

  clear(): void {
    this.#output.write('\u001b[H\u001b[2J');
    this.drawAnew();
  }

  /** Moves to a new line below the text, which remains on the screen. */
  leaveLine(): void {
    if (this.#prompt === undefined) return;
    this.draw();
    const { rows, row } = this.#drawn!;
    this.#output.write('\n'.repeat(rows.length - row));
    this.#drawn = undefined;
  }

  /** Writes text that ends with a line feed above the prompt. */
  writeAbove(text: string): void {
    this.#output.write(`${this.#eraser()}${text}`);
    this.#drawn = undefined;
    this.draw();
  }

  /** Writes an entered message in place of the editor. */
  writeMessage(prompt: string, message: string): void {
    const { rows } = this.#layOut(prompt, message, 0, Number.POSITIVE_INFINITY);
    const isLong = rows.length >= this.#rows;
    const shown = isLong ? rows.slice(0, MAX_MESSAGE_ROWS) : rows;
    if (isLong) shown.push(`${this.#continuation}(${rows.length - MAX_MESSAGE_ROWS} more lines)`);
    this.#output.write(`${this.#eraser()}${shown.join('\n')}\n`);
    this.#drawn = undefined;
  }

  get #rows(): number {
    return this.#output.rows || 24;
  }

  get #columns(): number {
    return this.#output.columns || 80;
  }

  #layOut(prompt: string, text: string, cursor: number, maxRows: number): Layout {
    const continuation = this.#continuation;
    return layOut({
      prompt,
      continuation,
      text,
      cursor,
      columns: this.#columns,
      maxRows: Math.max(1, maxRows),
    });
  }

  #erase(): void {
    const eraser = this.#eraser();
    if (eraser !== '') this.#output.write(eraser);
    this.#drawn = undefined;
  }

  // A terminal that became narrower breaks the rows that were drawn before.
  #eraser(): string {
    if (!this.#drawn) return '';
    const { rows, row, column } = this.#drawn;
    const columns = this.#columns;
    let up = Math.floor(column / columns);
    for (const above of rows.slice(0, row)) up += Math.max(1, Math.ceil(widthOf(above) / columns));
    return `${up > 0 ? `\u001b[${up}A` : ''}\r\u001b[J`;
  }
}
