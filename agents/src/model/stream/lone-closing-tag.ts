// Removes a closing tag of reasoning that has no opening tag. The templates of some local models put the opening tag into the prompt, so
// the reply begins with reasoning. That reasoning was already emitted as text when the closing tag arrives, and it stays text. Only the
// first closing tag at the start of a line is removed.
import { CLOSING_TAGS } from './think-tags.ts';

export class LoneClosingTag {
  readonly #emit: (text: string) => void;
  /** Text at the start of a line that may be the beginning of a tag. */
  #held = '';
  #isLineStart = false;
  #isOver = false;

  constructor(emit: (text: string) => void) {
    this.#emit = emit;
  }

  add(text: string): void {
    if (this.#isOver) {
      this.#emit(text);
      return;
    }
    const all = this.#held + text;
    this.#held = '';
    for (let at = all.indexOf('<'); at >= 0; at = all.indexOf('<', at + 1)) {
      if (!(at === 0 ? this.#isLineStart : all[at - 1] === '\n')) continue;
      const rest = all.slice(at);
      const tag = CLOSING_TAGS.find((one) => rest.startsWith(one));
      if (tag) {
        this.#isOver = true;
        this.#pass(all.slice(0, at));
        this.#pass(rest.slice(tag.length));
        return;
      }
      if (CLOSING_TAGS.some((one) => one.startsWith(rest))) {
        this.#pass(all.slice(0, at));
        this.#held = rest;
        return;
      }
    }
    this.#pass(all);
  }

  end(): void {
    this.#isOver = true;
    this.#pass(this.#held);
    this.#held = '';
  }

  #pass(text: string): void {
    if (text === '') return;
    this.#isLineStart = text.endsWith('\n');
    this.#emit(text);
  }
}
