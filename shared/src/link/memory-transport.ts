// Transports without a network: a pair whose ends talk to each other, and a loop that talks to itself. Messages arrive in
// order, always after the sender's own code has run (one microtask a message), as they would from a socket.

import { Fifo } from '../async/fifo.ts';
import { FabricError } from '../errors/error.ts';
import type { Dial, Transport } from './transport.ts';

/** Bytes that may be on the way to one end; an end that is above it is closed, as a socket would be. */
const MAX_QUEUED_BYTES = 16 * 1_048_576;

class MemoryTransport implements Transport {
  onMessage: ((bytes: Uint8Array) => void) | undefined;
  onClose: ((code: number, reason: string) => void) | undefined;
  /** The other end, or itself. */
  peer: MemoryTransport = this;
  /** This end sends no more. */
  #isClosed = false;
  /** Messages on their way to this end, and what follows the last of them. */
  readonly #incoming = new Fifo<Uint8Array>();
  #incomingBytes = 0;
  #farewell: { code: number; reason: string } | undefined;
  #isDelivering = false;

  get bufferedBytes(): number {
    return this.peer.#incomingBytes;
  }

  send(bytes: Uint8Array): boolean {
    const { peer } = this;
    if (this.#isClosed) return false;
    if (peer.#incomingBytes + bytes.byteLength > MAX_QUEUED_BYTES) {
      this.close(1013, 'too much is on its way');
      return false;
    }
    peer.#incoming.push(bytes);
    peer.#incomingBytes += bytes.byteLength;
    peer.#wake();
    return true;
  }

  /** What was sent before arrives first. */
  close(code = 1000, reason = ''): void {
    if (this.#isClosed) return;
    const { peer } = this;
    this.#isClosed = peer.#isClosed = true;
    peer.#farewell = { code, reason };
    peer.#wake();
  }

  /** What is on its way in either direction is lost. */
  terminate(): void {
    const { peer } = this;
    if (peer.#farewell || !this.#isClosed) {
      peer.#incoming.clear();
      this.#incoming.clear();
    }
    this.close(1006, '');
  }

  #wake(): void {
    if (this.#isDelivering) return;
    this.#isDelivering = true;
    queueMicrotask(this.#deliver);
  }

  readonly #deliver = (): void => {
    const bytes = this.#incoming.shift();
    if (bytes !== undefined) {
      this.#incomingBytes -= bytes.byteLength;
      queueMicrotask(this.#deliver);
      this.onMessage?.(bytes);
      return;
    }
    this.#isDelivering = false;
    if (!this.#farewell) return;
    const { code, reason } = this.#farewell;
    this.#farewell = undefined;
    this.#end(code, reason);
    if (this.peer !== this) this.peer.#end(code, reason);
  };

  #end(code: number, reason: string): void {
    const { onClose } = this;
    this.onClose = undefined;
    this.onMessage = undefined;
    onClose?.(code, reason);
  }
}

/** Two ends of one connection in this process. */
export function memoryPair(): [Transport, Transport] {
  const [left, right] = [new MemoryTransport(), new MemoryTransport()];
  left.peer = right;
  right.peer = left;
  return [left, right];
}

/** A transport whose messages come back to itself. */
export const loopTransport = (): Transport => new MemoryTransport();

/**
 * A dial that hands the far end of each connection to `accept`, such as a sentinel in the same process. `accept` throws
 * LINK_TIMEOUT or LINK_REFUSED to turn the connection down.
 */
export function memoryDial(
  accept: (transport: Transport, url: string, token: string | undefined) => void,
): Dial {
  return async (url, { token, signal }) => {
    if (signal?.aborted) throw new FabricError('LINK_CLOSED', 'The dial was given up');
    const [near, far] = memoryPair();
    accept(far, url, token);
    return near;
  };
}
