// Transports within one process: a pair of connected ends, and a loop that is connected to itself. Messages arrive in order and
// asynchronously (one per microtask), as from a socket.
import { Fifo } from '../async/fifo.ts';
import { FabricError } from '../errors/error.ts';
import type { Dial, Transport } from './transport.ts';

/** Limit of the bytes in flight to one end. Exceeding it closes the connection, as it would close a socket. */
const MAX_QUEUED_BYTES = 16 * 1_048_576;

class MemoryTransport implements Transport {
  onMessage: ((bytes: Uint8Array) => void) | undefined;
  onClose: ((code: number, reason: string) => void) | undefined;
  onDrain: (() => void) | undefined;
  /** The other end, or itself. */
  peer: MemoryTransport = this;
  /** True once this end can no longer send. */
  #isClosed = false;
  /** Messages in flight to this end; `#pendingClose` follows the last of them. */
  readonly #incoming = new Fifo<Uint8Array>();
  #incomingBytes = 0;
  #pendingClose: { code: number; reason: string } | undefined;
  #isDelivering = false;
  readonly #schedule: (deliver: () => void) => void;

  constructor(schedule: (deliver: () => void) => void = queueMicrotask) {
    this.#schedule = schedule;
  }

  get bufferedBytes(): number {
    return this.peer.#incomingBytes;
  }

  send(bytes: Uint8Array): boolean {
    const { peer } = this;
    if (this.#isClosed) return false;
    if (peer.#incomingBytes + bytes.byteLength > MAX_QUEUED_BYTES) {
      this.close(1013, 'too many bytes in flight');
      return false;
    }
    peer.#incoming.push(bytes);
    peer.#incomingBytes += bytes.byteLength;
    peer.#scheduleDelivery();
    return true;
  }

  /** Closes after the messages in flight have arrived. */
  close(code = 1000, reason = ''): void {
    if (this.#isClosed) return;
    const { peer } = this;
    this.#isClosed = peer.#isClosed = true;
    peer.#pendingClose = { code, reason };
    peer.#scheduleDelivery();
  }

  /** Closes at once and drops the messages in flight, in both directions. */
  terminate(): void {
    const { peer } = this;
    if (peer.#pendingClose || !this.#isClosed) {
      peer.#incoming.clear();
      this.#incoming.clear();
    }
    this.close(1006, '');
  }

  #scheduleDelivery(): void {
    if (this.#isDelivering) return;
    this.#isDelivering = true;
    this.#schedule(this.#deliver);
  }

  readonly #deliver = (): void => {
    const bytes = this.#incoming.shift();
    if (bytes !== undefined) {
      this.#incomingBytes -= bytes.byteLength;
      this.#schedule(this.#deliver);
      this.onMessage?.(bytes);
      return;
    }
    this.#isDelivering = false;
    if (!this.#pendingClose) {
      this.peer.onDrain?.();
      return;
    }
    const { code, reason } = this.#pendingClose;
    this.#pendingClose = undefined;
    this.#end(code, reason);
    if (this.peer !== this) this.peer.#end(code, reason);
  };

  #end(code: number, reason: string): void {
    const { onClose } = this;
    this.onClose = undefined;
    this.onMessage = undefined;
    this.onDrain = undefined;
    onClose?.(code, reason);
  }
}

/**
 * Creates the two ends of one connection. `schedule` runs the delivery of each message to the first end, and must keep their order.
 * @default a microtask
 */
export function memoryPair(schedule?: (deliver: () => void) => void): [Transport, Transport] {
  const [left, right] = [new MemoryTransport(schedule), new MemoryTransport()];
  left.peer = right;
  right.peer = left;
  return [left, right];
}

/** Creates a transport that receives its own messages. */
export const loopTransport = (): Transport => new MemoryTransport();

/**
 * Creates a dial function that passes the far end of each connection to `accept`, such as that of a sentinel in this process.
 * `accept` throws LINK_TIMEOUT or LINK_REFUSED to reject the connection. `schedule` runs the delivery of each message to the end that was
 * dialed, and must keep their order.
 * @default a microtask
 */
export function memoryDial(
  accept: (transport: Transport, url: string, token: string | undefined) => void,
  schedule?: (deliver: () => void) => void,
): Dial {
  return async (url, { token, signal }) => {
    if (signal?.aborted) throw new FabricError('LINK_CLOSED', 'The dial was aborted');
    const [near, far] = memoryPair(schedule);
    accept(far, url, token);
    return near;
  };
}
