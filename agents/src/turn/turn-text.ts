// The text of a turn, assembled from the texts of models, tools and the runner, with line breaks between them. After a crash the
// runner emits everything again from the beginning. Text that the record already has is skipped here.
import { cutText } from '@fame-fabric/shared/internal';
import type { Steps } from './steps.ts';
import type { TextSource } from './turn.ts';

/** A piece of the text of a turn. */
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
  /** Texts skipped since the last replayed reply, because the record has them. */
  #skipped: EmittedText[] = [];
  #replyEnd: number;
  #isCut = false;

  /** `recorded` is the text up to the last whole reply. */
  constructor(steps: Pick<Steps, 'isReplaying'>, recorded = '', maxChars = Number.POSITIVE_INFINITY) {
    this.#steps = steps;
    this.#maxChars = maxChars;
    this.#text = recorded;
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

  /** Characters that a reply may add, with room for a line break before it. */
  get room(): number {
    return Math.max(0, this.#maxChars - this.#text.length - 1);
  }

  /** True if text was cut off because the turn has reached its longest text. */
  get isCut(): boolean {
    return this.#isCut;
  }

  /** Adds a text. Returns its pieces, or none if the record already has it. Text beyond the limit of the turn is cut off. */
  add(text: string, source: TextSource): readonly TextPiece[] {
    if (text === '') return [];
    if (this.#steps.isReplaying) {
      this.#skipped.push({ text, source });
      return [];
    }
    const pieces: TextPiece[] = [];
    const { speaker } = source;
    if (speaker !== undefined && speaker !== this.#speaker) {
      this.#speaker = speaker;
      if (this.#text !== '' && !this.#text.endsWith('\n')) {
        // The break is not part of the tool's text, which a resumed turn may repeat at another position.
        this.#append(pieces, '\n', source.from === 'tool' ? { from: 'runner' } : source);
      }
    }
    this.#append(pieces, text, source);
    return pieces;
  }

  #append(pieces: TextPiece[], given: string, source: TextSource): void {
    const offset = this.#text.length;
    const text = cutText(given, this.#maxChars - offset, '');
    if (text.length < given.length) this.#isCut = true;
    if (text === '') return;
    this.#text += text;
    pieces.push({ text, offset, source });
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
    this.#isCut = false;
    this.#replyEnd = Math.min(this.#replyEnd, keep);
    this.#speaker = undefined;
    const skipped = this.#skipped;
    this.#skipped = [];
    return skipped;
  }
}

/** True if texts of both sources may share a row of the journal. */
export const isSameSource = (a: TextSource, b: TextSource): boolean =>
  a === b ||
  (a.from === 'tool' ? b.from === 'tool' && a.step === b.step && a.index === b.index : a.from === b.from);
