// The text that the user is typing, and the cursor in it. Positions are indices of UTF-16 units; the cursor moves by graphemes.
// A message of several lines is one text with line feeds.
import { graphemes } from '@fame-fabric/shared/internal';

const WORD = /[\p{L}\p{N}_]/u;

export class EditBuffer {
  #text = '';
  #cursor = 0;
  /** The text that was last cut, for `yank`. */
  #cut = '';

  get text(): string {
    return this.#text;
  }

  get cursor(): number {
    return this.#cursor;
  }

  /** Replaces the text, and moves the cursor to its end. */
  set(text: string): void {
    this.#text = text;
    this.#cursor = text.length;
  }

  /** Empties the buffer. Returns the text that it had. */
  take(): string {
    const text = this.#text;
    this.set('');
    return text;
  }

  insert(text: string): void {
    this.#text = this.#text.slice(0, this.#cursor) + text + this.#text.slice(this.#cursor);
    this.#cursor += text.length;
  }

  left(): void {
    this.#cursor = this.#before();
  }

  right(): void {
    this.#cursor = this.#after();
  }

  wordLeft(): void {
    this.#cursor = this.#wordStart();
  }

  wordRight(): void {
    this.#cursor = this.#wordEnd();
  }

  lineStart(): void {
    this.#cursor = this.#lineStart();
  }

  lineEnd(): void {
    this.#cursor = this.#lineEnd();
  }

  /** Moves to the line above. Returns false in the first line. */
  up(): boolean {
    const start = this.#lineStart();
    if (start === 0) return false;
    const above = this.#lineStart(start - 1);
    this.#cursor = this.#snap(Math.min(above + this.#cursor - start, start - 1));
    return true;
  }

  /** Moves to the line below. Returns false in the last line. */
  down(): boolean {
    const end = this.#lineEnd();
    if (end === this.#text.length) return false;
    const below = end + 1;
    this.#cursor = this.#snap(Math.min(below + this.#cursor - this.#lineStart(), this.#lineEnd(below)));
    return true;
  }

  deleteLeft(): void {
    this.#delete(this.#before(), this.#cursor);
  }

  deleteRight(): void {
    this.#delete(this.#cursor, this.#after());
  }

  cutWordLeft(): void {
    this.#cutOut(this.#wordStart(), this.#cursor);
  }

  cutWordRight(): void {
    this.#cutOut(this.#cursor, this.#wordEnd());
  }

  cutToLineStart(): void {
    this.#cutOut(this.#lineStart(), this.#cursor);
  }

  cutToLineEnd(): void {
    this.#cutOut(this.#cursor, this.#lineEnd());
  }

  /** Inserts the text that was last cut. */
  yank(): void {
    this.insert(this.#cut);
  }

  #cutOut(start: number, end: number): void {
    if (start < end) this.#cut = this.#text.slice(start, end);
    this.#delete(start, end);
  }

  #delete(start: number, end: number): void {
    this.#text = this.#text.slice(0, start) + this.#text.slice(end);
    this.#cursor = start;
  }

  /** Start of the line of `position`. */
  #lineStart(position = this.#cursor): number {
    return position === 0 ? 0 : this.#text.lastIndexOf('\n', position - 1) + 1;
  }

  #lineEnd(position = this.#cursor): number {
    const end = this.#text.indexOf('\n', position);
    return end < 0 ? this.#text.length : end;
  }

  #before(): number {
    const start = this.#lineStart();
    if (start === this.#cursor) return Math.max(0, start - 1);
    return this.#cursor - graphemes(this.#text.slice(start, this.#cursor)).at(-1)!.length;
  }

  #after(): number {
    const end = this.#lineEnd();
    if (end === this.#cursor) return Math.min(end + 1, this.#text.length);
    return this.#cursor + graphemes(this.#text.slice(this.#cursor, end))[0]!.length;
  }

  #wordStart(): number {
    let at = this.#cursor;
    while (at > 0 && !WORD.test(this.#text[at - 1]!)) at--;
    while (at > 0 && WORD.test(this.#text[at - 1]!)) at--;
    return at;
  }

  #wordEnd(): number {
    let at = this.#cursor;
    while (at < this.#text.length && !WORD.test(this.#text[at]!)) at++;
    while (at < this.#text.length && WORD.test(this.#text[at]!)) at++;
    return at;
  }

  // The nearest start of a grapheme at or before `position`.
  #snap(position: number): number {
    let at = this.#lineStart(position);
    for (const grapheme of graphemes(this.#text.slice(at, this.#lineEnd(position)))) {
      if (at + grapheme.length > position) break;
      at += grapheme.length;
    }
    return at;
  }
}
