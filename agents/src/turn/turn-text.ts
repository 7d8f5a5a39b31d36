// The text of a turn, assembled from the texts of models, tools and the runner, with line breaks between them. After a crash the
// runner emits everything again from the beginning. Text that the record already has is skipped here.
import { FabricError } from '@fame-fabric/shared';
import { charBoundary } from '@fame-fabric/shared/internal';
import type { Steps } from './steps.ts';
import type { TextSource } from './turn.ts';

/** A piece of text that was not written yet. */
export interface TextPiece {
  readonly text: string;
  /** Position in the text of the turn. */
  readonly offset: number;
  readonly source: TextSource;
}

interface EmittedText {
  readonly text: string;
  readonly source: TextSource;
}

export class TurnText {
  readonly #steps: Pick<Steps, 'isReplaying'>;
  readonly #maxChars: number;
  #text: string;
  #speaker: string | undefined;
  /** Ends of the unwritten pieces. */
  #pieces: { end: number; readonly source: TextSource }[] = [];
  #written: number;
  /** Texts skipped since the last replayed reply, because the record has them. */
  #skipped: EmittedText[] = [];
  #replyEnd: number;

  /** `recorded` is the text up to the last whole reply. */
  constructor(steps: Pick<Steps, 'isReplaying'>, recorded = '', maxChars = Number.POSITIVE_INFINITY) {
    this.#steps = steps;
    this.#maxChars = maxChars;
    this.#text = recorded;
    this.#written = recorded.length;
    this.#replyEnd = recorded.length;
  }

  get value(): string {
    return this.#text;
  }

  get length(): number {
    return this.#text.length;
  }

  /** End of the last whole reply. Later text belongs to a reply that is incomplete or has failed. */
  get replyEnd(): number {
    return this.#replyEnd;
  }

  get unwrittenChars(): number {
    return this.#text.length - this.#written;
  }

  /** Adds a text. Returns false if the record already has it. @throws {BUFFER_OVERFLOW} when the text of the turn grows too long */
  add(text: string, source: TextSource): boolean {
    if (text === '') return false;
    if (this.#steps.isReplaying) {
      this.#skipped.push({ text, source });
      return false;
    }
    if (this.#text.length + text.length > this.#maxChars) {
      throw new FabricError(
        'BUFFER_OVERFLOW',
        `The text of the turn exceeds its limit of ${this.#maxChars} characters.`,
      );
    }
    const { speaker } = source;
    if (speaker !== undefined && speaker !== this.#speaker) {
      this.#speaker = speaker;
      if (this.#text !== '' && !this.#text.endsWith('\n')) {
        // The break is not part of the tool's text, which a resumed turn may repeat at another position.
        this.#append('\n', source.from === 'tool' ? { from: 'runner' } : source);
      }
    }
    this.#append(text, source);
    return true;
  }

  #append(text: string, source: TextSource): void {
    this.#text += text;
    const last = this.#pieces.at(-1);
    if (last && isSame(last.source, source)) last.end = this.#text.length;
    else this.#pieces.push({ end: this.#text.length, source });
  }

  /** Marks the end of a whole reply. */
  endReply(): void {
    this.#replyEnd = this.#text.length;
  }

  /** Call it when a recorded reply was replayed: the record has the texts before it. */
  confirm(): void {
    this.#skipped = [];
  }

  /** Cuts the text back to `keep` characters. Returns the skipped texts after them, which must be emitted again. */
  restart(keep: number): readonly EmittedText[] {
    this.#text = this.#text.slice(0, keep);
    this.#written = Math.min(this.#written, keep);
    this.#replyEnd = Math.min(this.#replyEnd, keep);
    this.#speaker = undefined;
    const skipped = this.#skipped;
    this.#skipped = [];
    return skipped;
  }

  /** The pieces that were not written yet, each at most `maxChars` long; they count as written from now on. */
  takeUnwritten(maxChars: number): TextPiece[] {
    const pieces: TextPiece[] = [];
    let from = this.#written;
    for (const { end, source } of this.#pieces) {
      while (from < end) {
        // A source may end in half a surrogate pair, so only a cut looks for a boundary.
        const to = end - from > maxChars ? charBoundary(this.#text, from + maxChars) : end;
        const text = this.#text.slice(from, to);
        pieces.push({ text, offset: from, source });
        from += text.length;
      }
    }
    this.#pieces = [];
    this.#written = from;
    return pieces;
  }
}

const isSame = (a: TextSource, b: TextSource): boolean =>
  a === b ||
  (a.from === 'tool' ? b.from === 'tool' && a.step === b.step && a.index === b.index : a.from === b.from);
