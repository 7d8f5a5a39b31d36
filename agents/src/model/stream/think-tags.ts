// Separates reasoning in tags from the answer. Models whose server does not separate it begin their text with `<think>`. Tags
// count only at the beginning of a reply: later ones are text. A closing tag without an opening one is removed there.

const TAGS = ['<think>', '<thinking>', '<thought>'];
export const CLOSING_TAGS: readonly string[] = TAGS.map((tag) => `</${tag.slice(1)}`);
const ALL_TAGS = [...TAGS, ...CLOSING_TAGS];

export interface ThinkSink {
  text(text: string): void;
  reasoning(text: string): void;
}

export class ThinkTags {
  /** True once the answer has begun: all further text is part of it. */
  isOver = false;
  /** Blanks before a tag or before the answer. Kept apart from `#held`, so that a long run of them is scanned once. */
  #blanks = '';
  /** Text that may be the beginning of a tag. */
  #held = '';
  /** The closing tag, inside reasoning. */
  #closing: string | undefined;
  #reasoning: string[] = [];
  /** True after the first tag. Blanks before the answer are left out then. */
  #hasTag = false;
  readonly #sink: ThinkSink;

  constructor(sink: ThinkSink) {
    this.#sink = sink;
  }

  add(text: string): void {
    let rest = this.#held + text;
    this.#held = '';
    while (rest !== '') {
      if (this.#closing === undefined) {
        const start = rest.trimStart();
        this.#blanks += rest.slice(0, rest.length - start.length);
        const tag = ALL_TAGS.find((one) => start.startsWith(one));
        if (tag === undefined) {
          if (ALL_TAGS.some((one) => one.startsWith(start))) this.#held = start;
          else this.#begin(this.#hasTag ? start : this.#blanks + start);
          return;
        }
        this.#blanks = '';
        this.#hasTag = true;
        if (!CLOSING_TAGS.includes(tag)) this.#closing = `</${tag.slice(1)}`;
        rest = start.slice(tag.length);
      } else {
        const end = rest.indexOf(this.#closing);
        const until = end < 0 ? safeEnd(rest, this.#closing) : end;
        if (until > 0) this.#reason(rest.slice(0, until));
        if (end < 0) {
          this.#held = rest.slice(until);
          return;
        }
        rest = rest.slice(end + this.#closing.length);
        this.#closing = undefined;
      }
    }
  }

  /** Ends the text. With `isAnswer`, reasoning that was never closed is the answer, because nothing else is. */
  end(isAnswer: boolean): void {
    if (this.isOver) return;
    this.isOver = true;
    if (this.#closing === undefined) {
      const isBlank = this.#hasTag && this.#held === '';
      const text = this.#blanks + this.#held;
      if (text !== '' && !isBlank) this.#sink.text(text);
    } else if (isAnswer) {
      this.#sink.text(this.#reasoning.join('') + this.#held);
    } else if (this.#held !== '') {
      this.#sink.reasoning(this.#held);
    }
    this.#held = '';
    this.#reasoning = [];
  }

  #begin(text: string): void {
    this.isOver = true;
    this.#reasoning = [];
    this.#sink.text(text);
  }

  #reason(text: string): void {
    this.#reasoning.push(text);
    this.#sink.reasoning(text);
  }
}

/** Offset of the longest end of `text` that may begin `tag`, or of half a surrogate pair. */
function safeEnd(text: string, tag: string): number {
  for (let length = Math.min(tag.length - 1, text.length); length > 0; length -= 1) {
    if (text.endsWith(tag.slice(0, length))) return text.length - length;
  }
  const last = text.charCodeAt(text.length - 1);
  return last >= 0xd800 && last < 0xdc00 ? text.length - 1 : text.length;
}
