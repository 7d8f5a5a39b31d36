// Reads plain WebSocket frames from the bytes of a socket: whole, masked, binary messages, which is what nodes send all day.
// All other frames (control, fragments, text, and every fault) are left to `ws`. It gets the bytes of these frames only, in
// order, and answers or closes as RFC 6455 requires. Reading a plain frame here costs a third of what a `Receiver` of `ws`
// does: one view for a message, no stream, no state machine.
import { acquireBuffer, releaseBuffer } from './buffer-pool.ts';
import { unmask } from './unmask.ts';

export interface FrameConsumer {
  /** Receives one whole message, unmasked; the bytes are valid until it returns. */
  readonly onMessage: ((bytes: Buffer) => void) | undefined;
  /** Receives the bytes of frames that are for `ws`, valid until it returns. */
  passToWs(bytes: Buffer): void;
}

/** FIN, no reserved bit, opcode 2. */
const WHOLE_BINARY = 0x82;
const FIN = 0x80;
const MASKED = 0x80;
const OPCODE = 0x0f;
const RESERVED = 0x70;
const OPCODE_BINARY = 2;
const OPCODE_CLOSE = 8;
const OPCODE_PONG = 10;
const MASK_BYTES = 4;
const MAX_HEADER_BYTES = 14;

export class FrameReader {
  readonly #consumer: FrameConsumer;
  #maxBytes: number;
  /** First bytes of a partially received frame, in a buffer that may be longer. */
  #partial: Buffer | undefined;
  #partialBytes = 0;
  /** Bytes of a frame for `ws` that have not arrived yet. */
  #wsBytes = 0;
  /** `ws` is in the middle of a message in several fragments. */
  #isFragmented = false;
  /** A close frame or a fault arrived: everything after it is for `ws` to ignore. */
  #isClosing = false;
  #isStopped = false;
  #isPaused = false;
  /** Bytes that arrived in one chunk with the frame after which the reader was paused. */
  #rest: Buffer | undefined;
  /** The rest that is being read. It belongs to the reader. */
  #own: Buffer | undefined;
  /** Messages that are read before the reader pauses itself. */
  #sliceSize = Number.POSITIVE_INFINITY;
  #leftOfSlice = Number.POSITIVE_INFINITY;
  /** Lengths in the header that was read last. */
  #headerBytes = 0;
  #payloadBytes = 0;

  /** @param maxBytes largest message that is read here; `ws` refuses a larger one */
  constructor(consumer: FrameConsumer, maxBytes: number) {
    this.#consumer = consumer;
    this.#maxBytes = maxBytes;
  }

  /** Raises the size of the largest message that is read here. */
  raiseLimit(maxBytes: number): void {
    this.#maxBytes = maxBytes;
  }

  /** Makes the reader pause itself after each `size` messages. */
  limitSlice(size: number): void {
    this.#sliceSize = size;
    this.#leftOfSlice = Math.min(this.#leftOfSlice, size);
  }

  /** True from `pause`, or the end of a slice, to `resume`. */
  get isPaused(): boolean {
    return this.#isPaused;
  }

  /** Reads a chunk of the socket; keeps copies only. */
  read(chunk: Buffer): void {
    if (this.#isPaused) this.#keepRest(chunk, 0);
    else if (this.#partial === undefined) this.#readFrames(chunk, 0);
    else {
      const at = this.#completePartial(chunk);
      if (at < chunk.length) this.#readFrames(chunk, at);
    }
  }

  /** Ignores everything from now on: `ws` found a fault, and bytes after it have no meaning. */
  stop(): void {
    this.#isStopped = true;
    this.#partial = undefined;
    this.#rest = undefined;
  }

  /** Stops reading until `resume`, also within the current chunk, which may have hundreds of messages. */
  pause(): void {
    this.#isPaused = true;
  }

  /** Reads the frames that were left by `pause`. Returns `false` if one of them led to another pause. */
  resume(): boolean {
    this.#isPaused = false;
    this.#leftOfSlice = this.#sliceSize;
    const rest = this.#rest;
    this.#rest = undefined;
    if (rest !== undefined) {
      this.#own = rest;
      this.read(rest);
      this.#own = undefined;
    }
    return !this.#isPaused;
  }

  #keepRest(bytes: Buffer, at: number): void {
    if (this.#isStopped || at === bytes.length) return;
    const rest = bytes.subarray(at);
    if (this.#rest !== undefined) this.#rest = Buffer.concat([this.#rest, rest]);
    else this.#rest = bytes === this.#own ? rest : Buffer.from(rest);
  }

  #readFrames(bytes: Buffer, from: number): void {
    const end = bytes.length;
    let at = from;
    while (at < end && !this.#isStopped) {
      if (this.#isPaused) {
        this.#keepRest(bytes, at);
        return;
      }
      if (this.#isClosing || this.#wsBytes > 0) {
        at += this.#passToWs(bytes, at);
        continue;
      }
      if (!this.#readHeader(bytes, at, end)) {
        this.#keepPartial(bytes, at, MAX_HEADER_BYTES);
        return;
      }
      const payloadAt = at + this.#headerBytes;
      if (!this.#isPlain(bytes, at)) {
        this.#leaveToWs(bytes[at]!, bytes[at + 1]!);
        continue;
      }
      const next = payloadAt + this.#payloadBytes;
      if (next > end) {
        this.#keepPartial(bytes, at, next - at);
        return;
      }
      at = next;
      if (this.#consumer.onMessage === undefined) continue;
      const message = bytes.subarray(payloadAt, next);
      unmask(message, bytes, payloadAt - MASK_BYTES);
      if (--this.#leftOfSlice <= 0) this.#isPaused = true;
      this.#consumer.onMessage(message);
    }
  }

  // Reads the lengths of header and payload; `false` when the header is incomplete.
  #readHeader(bytes: Buffer, at: number, end: number): boolean {
    if (end - at < 2) return false;
    const second = bytes[at + 1]!;
    const maskBytes = (second & MASKED) === 0 ? 0 : MASK_BYTES;
    const length = second & 127;
    if (length < 126) {
      this.#headerBytes = 2 + maskBytes;
      this.#payloadBytes = length;
    } else if (length === 126) {
      this.#headerBytes = 4 + maskBytes;
      if (end - at < 4) return false;
      this.#payloadBytes = (bytes[at + 2]! << 8) | bytes[at + 3]!;
    } else {
      this.#headerBytes = 10 + maskBytes;
      if (end - at < 10) return false;
      this.#payloadBytes = bytes.readUInt32BE(at + 2) * 2 ** 32 + bytes.readUInt32BE(at + 6);
    }
    return end - at >= this.#headerBytes;
  }

  #isPlain(bytes: Buffer, at: number): boolean {
    return (
      bytes[at] === WHOLE_BINARY &&
      (bytes[at + 1]! & MASKED) !== 0 &&
      this.#payloadBytes <= this.#maxBytes &&
      !this.#isFragmented
    );
  }

  // Leaves the frame whose header was read to `ws`, and after a close frame or a fault everything that follows: `ws` reports a
  // fault only at the end of the chunk.
  #leaveToWs(first: number, second: number): void {
    const opcode = first & OPCODE;
    const isData = opcode <= OPCODE_BINARY;
    const isContinuation = opcode === 0;
    this.#isClosing =
      opcode === OPCODE_CLOSE ||
      (first & RESERVED) !== 0 ||
      (second & MASKED) === 0 ||
      this.#payloadBytes > this.#maxBytes ||
      (isData ? isContinuation !== this.#isFragmented : opcode < OPCODE_CLOSE || opcode > OPCODE_PONG);
    if (isData) this.#isFragmented = (first & FIN) === 0;
    this.#wsBytes = this.#headerBytes + this.#payloadBytes;
  }

  #passToWs(bytes: Buffer, at: number): number {
    const rest = bytes.length - at;
    const count = this.#isClosing ? rest : Math.min(rest, this.#wsBytes);
    this.#wsBytes -= count;
    this.#consumer.passToWs(bytes.subarray(at, at + count));
    return count;
  }

  // Keeps the first bytes of a frame of `size` bytes. The buffer grows with what arrived, never with what a header announces.
  #keepPartial(bytes: Buffer, at: number, size: number): void {
    const count = bytes.length - at;
    const partial = acquireBuffer(Math.max(MAX_HEADER_BYTES, Math.min(size, 2 * count)));
    bytes.copy(partial, 0, at);
    this.#partial = partial;
    this.#partialBytes = count;
  }

  // Adds to the partial frame what it needs of `chunk`; returns how many bytes were used.
  #completePartial(chunk: Buffer): number {
    let partial = this.#partial!;
    let used = 0;
    for (;;) {
      const isKnown = this.#readHeader(partial, 0, this.#partialBytes);
      const size = isKnown ? this.#headerBytes + this.#payloadBytes : this.#partialBytes + 1;
      if (isKnown && (this.#partialBytes === size || !this.#isPlain(partial, 0))) break;
      if (used === chunk.length) return used;
      const count = Math.min(size - this.#partialBytes, chunk.length - used);
      const needed = this.#partialBytes + count;
      if (needed > partial.length) {
        const larger = acquireBuffer(Math.min(size, 2 * needed));
        partial.copy(larger, 0, 0, this.#partialBytes);
        releaseBuffer(partial);
        partial = larger;
        this.#partial = partial;
      }
      chunk.copy(partial, this.#partialBytes, used, used + count);
      this.#partialBytes = needed;
      used += count;
    }
    this.#partial = undefined;
    this.#readFrames(partial.subarray(0, this.#partialBytes), 0);
    releaseBuffer(partial);
    return used;
  }
}
