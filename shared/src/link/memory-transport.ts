// Transports without a network: a pair whose ends talk to each other, and a loop that talks to itself. Messages arrive in
// order, always after the sender's own code has run (one microtask a message), as they would from a socket.
import { FabricError } from '../errors.ts';
import { Fifo } from './fifo.ts';
import type { Dial, Transport } from './transport.ts';

/** Bytes that may be on the way to one end; an end that is above it is closed, as a socket would be. */
const MAX_QUEUED_BYTES = 16 * 1_048_576;

class MemoryTransport implements Transport {
  onMessage: ((bytes: Uint8Array) => void) | undefined;
  onClose: ((code: number, reason: string) => void) | undefined;
  peer: MemoryTransport = this;
  isClosed = false;
  /** Bytes on their way to this end. */
  readonly #incoming = new Fifo<Uint8Array>();
  #incomingBytes = 0;
  #delivering = false;

  get bufferedBytes(): number {
    return this.peer.#incomingBytes;
  }

  send(bytes: Uint8Array): boolean {
    if (this.isClosed) return false;
    return this.peer.#take(bytes);
  }

  close(code = 1000, reason = ''): void {
    if (this.isClosed) return;
    this.isClosed = true;
    const { peer } = this;
    queueMicrotask(() => {
      peer.isClosed = true;
      peer.#closed(code, reason);
      if (peer !== this) this.#closed(code, reason);
    });
  }

  terminate(): void {
    this.close(1006, '');
  }

  #take(bytes: Uint8Array): boolean {
    if (this.#incomingBytes + bytes.byteLength > MAX_QUEUED_BYTES) {
      this.close(1013, 'too much is on its way');
      return false;
    }
    this.#incoming.push(bytes);
    this.#incomingBytes += bytes.byteLength;
    if (!this.#delivering) {
      this.#delivering = true;
      queueMicrotask(this.#deliver);
    }
    return true;
  }

  readonly #deliver = (): void => {
    const bytes = this.#incoming.shift();
    if (bytes === undefined) {
      this.#delivering = false;
      return;
    }
    this.#incomingBytes -= bytes.byteLength;
    queueMicrotask(this.#deliver);
    this.onMessage?.(bytes);
  };

  #closed(code: number, reason: string): void {
    const { onClose } = this;
    this.onClose = undefined;
    this.onMessage = undefined;
    this.#incoming.clear();
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
