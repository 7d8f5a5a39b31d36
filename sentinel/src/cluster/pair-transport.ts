// The connection of a session to a sentinel of the cluster: it gathers envelopes into data frames, and bounds the bytes in flight. It
// reports the bytes above the window as buffered, so the outbound queue of the session waits as it does for a full socket.
import type { NodeTransport } from '../session/node-transport.ts';
import type { Bus } from './bus.ts';
import { HEADER_BYTES, LENGTH_BYTES } from './pair-frame.ts';

/** Bytes in flight that do not count as buffered. */
const WINDOW_BYTES = 1_048_576;
/** Size at which a data frame is sent at once. */
const BATCH_BYTES = 32_768;
/** Buffered bytes that are reported while the bus is not connected, so that messages of nodes wait in their queue. */
const AWAY_BYTES = 131_072;

export interface PairTransportDeps {
  /** Sends a data frame, whose header is not written yet. */
  readonly send: (frame: Buffer) => void;
  readonly close: (reason: string) => void;
  readonly isAlive: () => boolean;
}

export class PairTransport implements NodeTransport {
  onMessage: ((bytes: Uint8Array) => void) | undefined;
  onClose: ((code: number, reason: string) => void) | undefined;
  onDrain: (() => void) | undefined;
  readonly remote: string;
  readonly #bus: Bus;
  readonly #deps: PairTransportDeps;
  /** Buffer of the frame that is being filled. Sent frames are parts of it, too. */
  #slab = Buffer.alloc(0);
  /** Start and end of the frame that is being filled. */
  #start = 0;
  #end = 0;
  /** Frames that wait for the bus. */
  #waiting: Buffer[] = [];
  #waitingBytes = 0;
  #sentBytes = 0;
  #receivedBytes = 0;
  #isScheduled = false;
  #hasEnded = false;

  constructor(id: string, bus: Bus, deps: PairTransportDeps) {
    this.remote = `sentinel ${id}`;
    this.#bus = bus;
    this.#deps = deps;
  }

  send(bytes: Uint8Array): boolean {
    if (this.#hasEnded) return false;
    const needed = LENGTH_BYTES + bytes.byteLength;
    if (this.#end > this.#start && this.#end - this.#start + needed > BATCH_BYTES) this.#finish();
    if (this.#end === this.#start) this.#beginFrame(needed);
    this.#slab.writeUInt32BE(bytes.byteLength, this.#end);
    this.#slab.set(bytes, this.#end + LENGTH_BYTES);
    this.#end += needed;
    if (!this.#isScheduled) {
      this.#isScheduled = true;
      setImmediate(() => {
        this.#isScheduled = false;
        this.flush();
      });
    }
    return true;
  }

  // Leaves room for a whole batch, or for the one message that is larger.
  #beginFrame(needed: number): void {
    const size = HEADER_BYTES + Math.max(needed, BATCH_BYTES);
    if (this.#slab.length - this.#end < size) {
      this.#slab = Buffer.allocUnsafeSlow(size <= 2 * BATCH_BYTES ? 4 * BATCH_BYTES : size);
      this.#end = 0;
    }
    this.#start = this.#end;
    this.#end += HEADER_BYTES;
  }

  #finish(): void {
    const frame = this.#slab.subarray(this.#start, this.#end);
    this.#start = this.#end;
    this.#waiting.push(frame);
    this.#waitingBytes += frame.length;
    this.#sendWaiting();
  }

  #sendWaiting(): void {
    if (!this.#bus.isConnected || this.#waiting.length === 0) return;
    const frames = this.#waiting;
    this.#waiting = [];
    this.#waitingBytes = 0;
    for (const frame of frames) {
      this.#sentBytes = (this.#sentBytes + frame.length) >>> 0;
      this.#deps.send(frame);
    }
  }

  /** Sends the gathered messages, unless the bus is not connected, and takes more from the queue of the session. */
  flush(): void {
    if (this.#hasEnded) return;
    if (this.#end > this.#start) this.#finish();
    else this.#sendWaiting();
    this.onDrain?.();
  }

  /** The other side has received data frames of this size in sum, modulo 2^32. */
  received(bytes: number): void {
    if (bytes === this.#receivedBytes) return;
    const wasFull = this.#excess > 0;
    this.#receivedBytes = bytes;
    if (wasFull) this.onDrain?.();
  }

  /** Bytes in flight above the window. */
  get #excess(): number {
    return Math.max(0, ((this.#sentBytes - this.#receivedBytes) >>> 0) - WINDOW_BYTES);
  }

  get bufferedBytes(): number {
    const bytes = this.#end - this.#start + this.#waitingBytes + this.#excess;
    return this.#bus.isConnected ? bytes : Math.max(AWAY_BYTES, bytes);
  }

  close(_code?: number, reason = 'the session ended'): void {
    if (!this.#hasEnded) this.#deps.close(reason);
  }

  terminate(): void {
    this.close();
  }

  /** Resolves at once: heartbeats show whether the other side is alive. */
  ping(): Promise<boolean> {
    return Promise.resolve(!this.#hasEnded && this.#deps.isAlive());
  }

  /** Drops the waiting messages and all later ones. */
  end(): void {
    this.#hasEnded = true;
    this.#waiting = [];
    this.#waitingBytes = 0;
    this.#start = this.#end;
    this.onMessage = undefined;
  }
}
