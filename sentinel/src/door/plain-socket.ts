// The WebSocket of a node through the public interface of `ws` alone: the fallback if `ws-check.ts` finds that the installed
// `ws` does not fit `node-socket.ts`. Slower, because every message passes through the streams of `ws`.
import type { Socket } from 'node:net';
import { WebSocket } from 'ws';
import { CLOSE, closeReason } from '../close-codes.ts';
import type { NodeTransport } from '../session/node-transport.ts';
import type { QueueBudget } from '../session/queue-budget.ts';
import {
  MAX_BYTES_BEFORE_PONG,
  MAX_UNATTACHED_BYTES,
  type NodeSocketOptions,
  remoteOf,
} from './node-socket.ts';
import { Pings } from './pings.ts';

const BINARY = Object.freeze({ binary: true });

export type PlainSocketOptions = Omit<NodeSocketOptions, 'hasHead'>;

export class PlainSocket implements NodeTransport {
  onMessage: ((bytes: Uint8Array) => void) | undefined;
  onClose: ((code: number, reason: string) => void) | undefined;
  onDrain: (() => void) | undefined;
  onPing: ((size: number) => boolean) | undefined;
  onPong: ((size: number) => void) | undefined;
  readonly #ws: WebSocket;
  readonly #socket: Socket;
  readonly #remote: string | undefined;
  readonly #pings: Pings;
  #maxBytes = MAX_UNATTACHED_BYTES;
  readonly #budget: QueueBudget;
  /** Bytes that the system has not accepted, as counted in the budget. */
  #heldBytes = 0;

  constructor(ws: WebSocket, socket: Socket, { budget, clock, remote }: PlainSocketOptions) {
    this.#remote = remote;
    this.#pings = new Pings(clock);
    this.#ws = ws;
    this.#socket = socket;
    this.#budget = budget;
    ws.on('message', (data) => this.#receive(data as Buffer));
    ws.on('ping', (data) => {
      this.#countEarly(data.length);
      const mayAnswer = this.onPing?.(data.length) ?? true;
      if (!mayAnswer || ws.readyState !== WebSocket.OPEN) return;
      if (this.bufferedBytes < MAX_BYTES_BEFORE_PONG) ws.pong(data);
    });
    ws.on('pong', (data) => {
      this.#countEarly(data.length);
      this.#pings.pong();
      this.onPong?.(data.length);
    });
    // `ws` closes the connection after an error by itself, and 'close' follows.
    ws.on('error', () => {});
    ws.on('close', (code, reason) => {
      const { onClose } = this;
      this.onMessage = undefined;
      this.onClose = undefined;
      this.#countHeld(0);
      onClose?.(code, reason.toString());
    });
  }

  #countHeld(bytes: number): void {
    this.#budget.countHeld(bytes - this.#heldBytes);
    this.#heldBytes = bytes;
  }

  #receive(bytes: Buffer): void {
    if (bytes.length > this.#maxBytes) this.close(CLOSE.tooLarge, 'too many bytes before the attach');
    else this.onMessage?.(bytes);
  }

  #countEarly(bytes: number): void {
    this.#maxBytes -= bytes;
    if (this.#maxBytes < 0) this.close(CLOSE.tooLarge, 'too many bytes before the attach');
  }

  // `ws` itself enforces the limit of an attached node, `maxPayload` of the server.
  raiseLimits(_maxBytes?: number): void {
    this.#maxBytes = Number.POSITIVE_INFINITY;
  }

  send(bytes: Uint8Array): boolean {
    if (this.#ws.readyState !== WebSocket.OPEN) return false;
    // `ws` keeps the bytes until the system takes them.
    this.#ws.send(Buffer.from(bytes), BINARY, () => {
      if (this.#socket.destroyed) return;
      this.#countHeld(this.bufferedBytes);
      this.onDrain?.();
    });
    this.#countHeld(this.bufferedBytes);
    return true;
  }

  close(code: number = CLOSE.normal, reason = ''): void {
    this.#ws.close(code, closeReason(reason));
  }

  terminate(): void {
    this.#ws.terminate();
  }

  get bufferedBytes(): number {
    return this.#ws.bufferedAmount;
  }

  get remote(): string {
    return this.#remote ?? remoteOf(this.#socket);
  }

  pause(): void {
    // The answer to a close frame must still arrive.
    if (this.#ws.readyState === WebSocket.OPEN) this.#ws.pause();
  }

  resume(): void {
    this.#ws.resume();
  }

  ping(timeoutMs: number): Promise<boolean> {
    if (this.#ws.readyState !== WebSocket.OPEN) return Promise.resolve(false);
    const pong = this.#pings.wait(timeoutMs);
    this.#ws.ping();
    return pong;
  }
}
