// Reads the chunks of an answer of the model server, and checks that none of them is missing, doubled or of another answer.

/** A chunk is `TIME:INDEX:TAG `: the time at which it was sent in us, its index in the answer, and the tag of the order. */
export class AnswerReader {
  /** The text so far. */
  text = '';
  /** Number of complete chunks so far. */
  chunks = 0;
  readonly #tag: string;
  readonly #onChunk: (sentAtUs: number) => void;
  #partial = '';

  constructor(tag: string, onChunk: (sentAtUs: number) => void) {
    this.#tag = tag;
    this.#onChunk = onChunk;
  }

  /** @throws {Error} if a chunk is not the next one of this answer */
  add(text: string): void {
    this.text += text;
    const chunks = (this.#partial + text).split(' ');
    this.#partial = chunks.pop()!;
    for (const chunk of chunks) {
      const [sentAt, index, tag] = chunk.split(':');
      if (Number(index) !== this.chunks || tag !== this.#tag) {
        throw new Error(`Expected chunk ${this.chunks} of answer "${this.#tag}", received "${chunk}".`);
      }
      this.chunks += 1;
      this.#onChunk(Number(sentAt));
    }
  }

  /** @throws {Error} unless `answer`, the whole answer of the server, is the text that was streamed, with `chunks` chunks */
  end(answer: string, chunks: number): void {
    if (answer !== this.text) throw new Error('The streamed text and the whole answer differ.');
    if (this.chunks !== chunks) throw new Error(`The answer has ${this.chunks} of ${chunks} chunks.`);
  }
}
