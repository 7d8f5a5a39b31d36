// Adapts an outgoing connection to the port of a session.
import type { Transport } from '@fame-fabric/shared';
import type { NodeTransport } from '../session/node-transport.ts';

export class UplinkTransport implements NodeTransport {
  onMessage: ((bytes: Uint8Array) => void) | undefined;
  onClose: ((code: number, reason: string) => void) | undefined;
  onDrain: (() => void) | undefined;
  readonly remote: string;
  readonly #transport: Transport;

  constructor(transport: Transport, url: string) {
    this.#transport = transport;
    this.remote = url;
    transport.onMessage = (bytes) => this.onMessage?.(asBuffer(bytes));
    transport.onDrain = () => this.onDrain?.();
    transport.onClose = (code, reason) => this.onClose?.(code, reason);
  }

  send(bytes: Uint8Array): boolean {
    // A transport may keep what it sends, and these bytes are a view of a buffer that the next read overwrites.
    return this.#transport.send(Buffer.from(bytes));
  }

  close(code?: number, reason?: string): void {
    this.#transport.close(code, reason);
  }

  terminate(): void {
    this.#transport.terminate();
  }

  get bufferedBytes(): number {
    return this.#transport.bufferedBytes;
  }

  /** Resolves `false`: an uplink has no ping. Its heartbeats and their acks keep it from being silent. */
  ping(): Promise<boolean> {
    return Promise.resolve(false);
  }
}

const asBuffer = (bytes: Uint8Array): Buffer =>
  bytes instanceof Buffer ? bytes : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
