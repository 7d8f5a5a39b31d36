// Takes plain WebSocket frames out of what a socket delivers: whole, masked, binary messages, which is what nodes send all day.
// Everything else (control frames, fragments, text, and whatever is wrong) is left to `ws`, which gets the bytes of just
// these frames, in order, and answers or closes as RFC 6455 asks. Reading the plain ones here costs a third of what a
// `Receiver` of `ws` does: one view a message, no stream, no state machine.
import { giveBackHeldBuffer, takeHeldBuffer } from './buffer-pool.ts';
import { unmask } from './unmask.ts';

/** Who gets what was read. */
export interface FrameTaker {
  /** One whole message, unmasked; its bytes are the taker's until it returns. */
  takeMessage(bytes: Buffer): void;
  /** Bytes of frames that are for `ws`; the taker's until it returns. */
  takeOther(bytes: Buffer): void;
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
const LONGEST_HEADER = 14;

export class FrameReader {
  readonly #taker: FrameTaker;
  /** Largest message that is read here; a larger one is for `ws` to refuse. */
  maxBytes: number;
  /** The beginning of a frame whose rest has not come yet, in a buffer that may be longer. */
  #held: Buffer | undefined;
  #heldBytes = 0;
  /** Bytes of a frame of `ws` that are still to come. */
  #otherBytes = 0;
  /** `ws` is in the middle of a message in several fragments. */
  #isFragmented = false;
  /** A close frame or a fault came: what follows it is for `ws` to ignore. */
  #isClosing = false;
  #isStopped = false;
  /** Of the header read last: its bytes and those of the payload. */
  #headerBytes = 0;
  #payloadBytes = 0;

  constructor(taker: FrameTaker, maxBytes: number) {
    this.#taker = taker;
    this.maxBytes = maxBytes;
  }

  /** Takes what the socket delivered; nothing of it is kept but as a copy. */
  read(chunk: Buffer): void {
    if (this.#held === undefined) this.#readFrames(chunk, 0);
    else {
      const at = this.#complete(chunk);
      if (at < chunk.length) this.#readFrames(chunk, at);
    }
  }

  /** Takes nothing any more: `ws` found a fault, and what follows it has no meaning. */
  stop(): void {
    this.#isStopped = true;
    this.#held = undefined;
  }

  #readFrames(bytes: Buffer, from: number): void {
    const end = bytes.length;
    let at = from;
    while (at < end && !this.#isStopped) {
      if (this.#isClosing || this.#otherBytes > 0) {
        at += this.#passOn(bytes, at);
        continue;
      }
      if (!this.#readHeader(bytes, at, end)) {
        this.#hold(bytes, at, LONGEST_HEADER);
        return;
      }
      const payloadAt = at + this.#headerBytes;
      if (!this.#isPlain(bytes, at)) {
        this.#leaveToWs(bytes[at]!, bytes[at + 1]!);
        continue;
      }
      const next = payloadAt + this.#payloadBytes;
      if (next > end) {
        this.#hold(bytes, at, next - at);
        return;
      }
      const message = bytes.subarray(payloadAt, next);
      unmask(message, bytes, payloadAt - MASK_BYTES);
      at = next;
      this.#taker.takeMessage(message);
    }
  }

  // Finds how long header and payload are; `false` when the header is not all there.
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
      this.#payloadBytes <= this.maxBytes &&
      !this.#isFragmented
    );
  }

  // The frame whose header was read is for `ws`, and with a close frame or a fault all that follows it: `ws` tells of a fault
  // only when the chunk is through.
  #leaveToWs(first: number, second: number): void {
    const opcode = first & OPCODE;
    const isData = opcode <= OPCODE_BINARY;
    const isContinuation = opcode === 0;
    this.#isClosing =
      opcode === OPCODE_CLOSE ||
      (first & RESERVED) !== 0 ||
      (second & MASKED) === 0 ||
      this.#payloadBytes > this.maxBytes ||
      (isData ? isContinuation !== this.#isFragmented : opcode < OPCODE_CLOSE || opcode > OPCODE_PONG);
    if (isData) this.#isFragmented = (first & FIN) === 0;
    this.#otherBytes = this.#headerBytes + this.#payloadBytes;
  }

  #passOn(bytes: Buffer, at: number): number {
    const rest = bytes.length - at;
    const count = this.#isClosing ? rest : Math.min(rest, this.#otherBytes);
    this.#otherBytes -= count;
    this.#taker.takeOther(bytes.subarray(at, at + count));
    return count;
  }

  // Keeps the beginning of a frame of `size` bytes. Room grows with what came, never with what a header announces.
  #hold(bytes: Buffer, at: number, size: number): void {
    const count = bytes.length - at;
    const held = takeHeldBuffer(Math.max(LONGEST_HEADER, Math.min(size, 2 * count)));
    bytes.copy(held, 0, at);
    this.#held = held;
    this.#heldBytes = count;
  }

  // Adds to the held beginning as much as its frame needs; answers how many bytes of `chunk` were used.
  #complete(chunk: Buffer): number {
    let held = this.#held!;
    let used = 0;
    for (;;) {
      const isKnown = this.#readHeader(held, 0, this.#heldBytes);
      const size = isKnown ? this.#headerBytes + this.#payloadBytes : this.#heldBytes + 1;
      if (isKnown && (this.#heldBytes === size || !this.#isPlain(held, 0))) break;
      if (used === chunk.length) return used;
      const count = Math.min(size - this.#heldBytes, chunk.length - used);
      const needed = this.#heldBytes + count;
      if (needed > held.length) {
        const larger = takeHeldBuffer(Math.min(size, 2 * needed));
        held.copy(larger, 0, 0, this.#heldBytes);
        giveBackHeldBuffer(held);
        held = larger;
        this.#held = held;
      }
      chunk.copy(held, this.#heldBytes, used, used + count);
      this.#heldBytes = needed;
      used += count;
    }
    this.#held = undefined;
    this.#readFrames(held.subarray(0, this.#heldBytes), 0);
    giveBackHeldBuffer(held);
    return used;
  }
}
