// Credits of one flow on one connection. `out` is what we may still send, `received` what we took and have not paid for.
// A flow that is out of credit keeps its messages here, in order; the session counts their bytes.

import type { Session } from './session.ts';

export class Flow {
  readonly id: string;
  out: number;
  received = 0;
  /** Credit is due, but a full queue somewhere holds it back. */
  owed = false;
  /** The stream that this flow belonged to has ended. */
  ended = false;
  /** Bytes that wait here. */
  queuedBytes = 0;
  /** Senders whose credit for this flow waits until it is half empty. */
  debts: { session: Session; flow: Flow }[] | undefined;
  #queue: Uint8Array[] = [];
  #head = 0;

  constructor(id: string, window: number) {
    this.id = id;
    this.out = window;
  }

  get queued(): number {
    return this.#queue.length - this.#head;
  }

  push(bytes: Uint8Array): void {
    this.queuedBytes += bytes.byteLength;
    this.#queue.push(bytes);
  }

  shift(): Uint8Array | undefined {
    const bytes = this.#queue[this.#head];
    if (bytes === undefined) return undefined;
    this.queuedBytes -= bytes.byteLength;
    this.#queue[this.#head++] = undefined as unknown as Uint8Array;
    if (this.#head === this.#queue.length) {
      this.#queue = [];
      this.#head = 0;
    } else if (this.#head > 1024 && this.#head * 2 > this.#queue.length) {
      this.#queue = this.#queue.slice(this.#head);
      this.#head = 0;
    }
    return bytes;
  }
}
