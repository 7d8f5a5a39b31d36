// The WebSocket of a node, which forwards messages without allocating. Reads go into one buffer that all sockets share.
// Writes are copied behind their frame headers into a buffer that is reused once the system has accepted it. All messages to
// one node in a turn of the event loop leave by one write, below the stream of the socket: the write is more than half of a
// router's time.
// Handshake, pings and closing are left to `ws`; `ws-check.ts` lists the internals of `ws` that this file relies on.
import type { Socket } from 'node:net';
import type { Clock } from '@fame-fabric/shared';
import { LIMITS } from '@fame-fabric/shared/router';
import { WebSocket } from 'ws';
import { CLOSE, closeReason } from '../close-codes.ts';
import type { NodeTransport } from '../session/node-transport.ts';
import type { QueueBudget } from '../session/queue-budget.ts';
import { type WritableHandle, type WriteOwner, writableHandle, writeDirectly } from './direct-write.ts';
import { type FrameConsumer, FrameReader } from './frame-reader.ts';
import { Pings } from './pings.ts';
import { READ_BYTES, readInto } from './read-buffer.ts';

/** Byte limit of a connection that has not attached: enough for a NodeAttach and a few pings. */
export const MAX_UNATTACHED_BYTES = 65_536;

/** Maximum unsent bytes with which a pong is still sent: a node that sends pings and does not read would otherwise fill the memory. */
export const MAX_BYTES_BEFORE_PONG = 65_536;
/** Time for which one socket is read in an iteration of the event loop, in ms: it may deliver 4 MB before any other socket is read. */
const READ_SLICE_MS = 2;

/** Messages that are read in an iteration of the event loop from a node above its rate. */
export const SLICE_MESSAGES = 8;

/** Size of a gather buffer; a larger message leaves at once. */
const GATHER_BYTES = 16_384;
/** Maximum of gather buffers in use; at this number all sockets are flushed early. */
const MAX_GATHER_BUFFERS = 64;
const MAX_HEADER_BYTES = 10;
const NOTHING = Buffer.alloc(0);
/** Bytes that are read after a close, up to the answer of the other end. A flood is not read to the end of the handshake. */
const MAX_BYTES_AFTER_CLOSE = 1_048_576;
/** Room for a message of 64 KB with its frame header. */
const LARGE_BYTES = 131_072;

/** Sockets with gathered messages in this turn of the event loop. */
let gathered: NodeSocket[] = [];
const flushAll = (): void => {
  const sockets = gathered;
  gathered = [];
  for (const socket of sockets) socket.flush();
};

/** Gather buffers that are free. */
const spares: Buffer[] = [];
let large = Buffer.allocUnsafeSlow(LARGE_BYTES);

function acquireGatherBuffer(): Buffer {
  if (spares.length === 0 && gathered.length >= MAX_GATHER_BUFFERS) flushAll();
  return spares.pop() ?? Buffer.allocUnsafeSlow(GATHER_BYTES);
}

// Writes one unmasked binary frame (RFC 6455, 5.2) to `out`; returns the offset of its end.
function writeFrame(out: Buffer, at: number, bytes: Uint8Array): number {
  const length = bytes.byteLength;
  let i = at;
  out[i++] = 0x82;
  if (length < 126) out[i++] = length;
  else if (length < 65_536) {
    out[i++] = 126;
    out[i++] = length >> 8;
    out[i++] = length & 255;
  } else {
    out[i++] = 127;
    out.writeUInt32BE(0, i);
    out.writeUInt32BE(length, i + 4);
    i += 8;
  }
  out.set(bytes, i);
  return i + length;
}

export interface NodeSocketOptions {
  readonly budget: QueueBudget;
  readonly clock: Clock;
  /** Address of the client behind a trusted proxy. @default that of the socket */
  readonly remote?: string | undefined;
  /** True if the first bytes arrived together with the upgrade request. */
  readonly hasHead: boolean;
}

export class NodeSocket implements NodeTransport, FrameConsumer, WriteOwner {
  onMessage: ((bytes: Uint8Array) => void) | undefined;
  onClose: ((code: number, reason: string) => void) | undefined;
  onDrain: (() => void) | undefined;
  onPing: ((size: number) => boolean) | undefined;
  onPong: ((size: number) => void) | undefined;
  readonly #ws: WebSocket;
  readonly #socket: Socket;
  readonly #reader = new FrameReader(this, MAX_UNATTACHED_BYTES);
  readonly #clock: Clock;
  /** Absent until the first ping, which most nodes never need. */
  #pings: Pings | undefined;
  readonly #wsOnData: (chunk: Buffer) => void;
  /** Bytes that `ws` may still receive before the node attaches. */
  #earlyBytes = MAX_UNATTACHED_BYTES;
  #out: Buffer | undefined;
  #outBytes = 0;
  /** Absent for a socket with TLS. */
  readonly #handle: WritableHandle | undefined;
  /** Bytes of a write below the stream that the system has not accepted. */
  #pendingBytes = 0;
  readonly #budget: QueueBudget;
  /** Bytes that the system has not accepted, as counted in the budget. */
  #heldBytes = 0;
  #isHolding = false;
  readonly #remote: string | undefined;
  #isPaused = false;
  /** True between two slices. */
  #isBetweenSlices = false;
  /** Time for which the socket has been read without a break, in ms. */
  #readMs = 0;
  /** Bytes that may still arrive; finite once the connection closes. */
  #bytesLeft = Number.POSITIVE_INFINITY;

  constructor(ws: WebSocket, socket: Socket, { budget, clock, hasHead, remote }: NodeSocketOptions) {
    this.#remote = remote;
    this.#clock = clock;
    this.#ws = ws;
    this.#socket = socket;
    this.#handle = writableHandle(socket);
    this.#budget = budget;
    ws.on('message', (data) => this.onMessage?.(data as Buffer));
    ws.on('ping', (data: Buffer) => {
      const mayAnswer = this.onPing?.(data.length) ?? true;
      if (!mayAnswer || ws.readyState !== WebSocket.OPEN) return;
      if (this.bufferedBytes < MAX_BYTES_BEFORE_PONG) ws.pong(data);
    });
    ws.on('pong', (data: Buffer) => {
      this.#pings?.pong();
      this.onPong?.(data.length);
    });
    // `ws` closes a connection after every protocol error by itself, with the code of RFC 6455.
    ws.on('error', () => this.#reader.stop());
    ws.on('close', (code, reason) => {
      const { onClose } = this;
      this.onMessage = undefined;
      this.onClose = undefined;
      this.#countHeld(0);
      onClose?.(code, reason.toString());
    });
    // The reader takes the place of `ws` as the listener of the socket, and passes on the frames that it leaves to `ws`.
    const [wsOnData] = socket.listeners('data');
    this.#wsOnData = wsOnData as (chunk: Buffer) => void;
    socket.off('data', this.#wsOnData);
    const isShared = readInto(socket, (bytes) => this.#readSlice(bytes));
    // Node delivers the head by this event in any case.
    if (!isShared || hasHead) socket.on('data', (bytes) => this.#read(bytes));
  }

  #read(bytes: Buffer): void {
    this.#bytesLeft -= bytes.length;
    if (this.#bytesLeft < 0) {
      this.terminate();
      return;
    }
    this.#reader.read(bytes);
    if (this.#reader.isPaused && !this.#isPaused) this.#waitForSlice();
  }

  readInSlices(): void {
    this.#reader.limitSlice(SLICE_MESSAGES);
  }

  // Reads the next slice in the next iteration of the event loop. Sockets of other nodes are read before it.
  #waitForSlice(): void {
    if (this.#isBetweenSlices) return;
    this.#isBetweenSlices = true;
    this.#socket.pause();
    setImmediate(() => {
      this.#isBetweenSlices = false;
      if (!this.#isPaused) this.#continue();
    });
  }

  #continue(): void {
    if (this.#reader.resume()) this.#socket.resume();
    else if (!this.#isPaused) this.#waitForSlice();
  }

  // Reads a chunk. After a chunk that filled the buffer, the system has more to read, and delivers it before the bytes of other
  // sockets. Returns `false` if the time of this socket is used up: it is read again in the next iteration.
  #readSlice(bytes: Buffer): boolean {
    if (bytes.length < READ_BYTES) {
      this.#readMs = 0;
      this.#read(bytes);
      return true;
    }
    const beganAt = this.#clock.monotonic();
    this.#read(bytes);
    this.#readMs += this.#clock.monotonic() - beganAt;
    if (this.#readMs < READ_SLICE_MS) return true;
    this.#readMs = 0;
    setImmediate(() => {
      if (!this.#isPaused && !this.#isBetweenSlices) this.#socket.resume();
    });
    return false;
  }

  passToWs(bytes: Buffer): void {
    this.#earlyBytes -= bytes.length;
    if (this.#earlyBytes < 0) {
      this.#reader.stop();
      this.close(CLOSE.tooLarge, 'too many bytes before the attach');
      return;
    }
    // `ws` keeps the bytes.
    this.#wsOnData.call(this.#socket, Buffer.from(bytes));
  }

  raiseLimits(maxBytes: number = LIMITS.maxFrameBytes): void {
    this.#reader.raiseLimit(maxBytes);
    this.#earlyBytes = Number.POSITIVE_INFINITY;
  }

  send(bytes: Uint8Array): boolean {
    if (this.#ws.readyState !== WebSocket.OPEN) return false;
    const needed = bytes.byteLength + MAX_HEADER_BYTES;
    if (this.#outBytes + needed > GATHER_BYTES) {
      this.flush();
      if (needed > GATHER_BYTES) {
        this.#sendLarge(bytes);
        return true;
      }
    }
    if (this.#out === undefined) {
      this.#out = acquireGatherBuffer();
      if (gathered.push(this) === 1) setImmediate(flushAll);
    }
    this.#outBytes = writeFrame(this.#out, this.#outBytes, bytes);
    return true;
  }

  /** Writes the gathered messages. */
  flush(): void {
    const out = this.#out;
    if (out === undefined) return;
    const count = this.#outBytes;
    this.#out = undefined;
    this.#outBytes = 0;
    if (this.#write(out, count)) spares.push(out);
  }

  #sendLarge(bytes: Uint8Array): void {
    const size = bytes.byteLength + MAX_HEADER_BYTES;
    if (size > large.length) large = Buffer.allocUnsafeSlow(size);
    if (!this.#write(large, writeFrame(large, 0, bytes))) large = Buffer.allocUnsafeSlow(LARGE_BYTES);
  }

  // Writes the first `count` bytes; `false` when the socket still holds the buffer.
  #write(out: Buffer, count: number): boolean {
    const socket = this.#socket;
    if (socket.destroyed || !socket.writable) return true;
    if (this.#unsentBytes > 0) {
      // It queues behind earlier writes: keep only the bytes in use.
      socket.write(Buffer.from(out.subarray(0, count)));
      this.#hold();
      return true;
    }
    const bytes = out.subarray(0, count);
    if (this.#handle === undefined) socket.write(bytes);
    else this.#pendingBytes = writeDirectly(this.#handle, bytes, this);
    // Bytes that the system accepted at once are not counted here, and the buffer is free again.
    if (this.#unsentBytes === 0) return true;
    this.#hold();
    return false;
  }

  onWritten(status: number): void {
    this.#pendingBytes = 0;
    if (status < 0) this.#socket.destroy();
  }

  get #unsentBytes(): number {
    return this.#socket.writableLength + this.#pendingBytes;
  }

  #countHeld(bytes: number): void {
    this.#budget.countHeld(bytes - this.#heldBytes);
    this.#heldBytes = bytes;
  }

  // Counts what the system has not accepted, until it is flushed. The drain event of the socket comes only after its
  // high-water mark was reached; the callback of a write always comes.
  #hold(): void {
    this.#countHeld(this.#unsentBytes);
    if (this.#isHolding) return;
    this.#isHolding = true;
    this.#socket.write(NOTHING, () => {
      this.#isHolding = false;
      const { destroyed, writable } = this.#socket;
      if (destroyed) return;
      // Nothing may be written after the end of the connection began.
      if (this.#unsentBytes > 0 && writable) this.#hold();
      else this.#countHeld(this.#unsentBytes);
      this.onDrain?.();
    });
  }

  pause(): void {
    this.#isPaused = true;
    this.#reader.pause();
    this.#socket.pause();
    // Nothing more is read, not even the answer to the close frame. The end of the connection tells the node to stop waiting.
    if (this.#ws.readyState === WebSocket.CLOSING) this.#socket.end();
  }

  // The caller may be handling a message, and another one would be routed in the middle of it.
  resume(): void {
    this.#isPaused = false;
    setImmediate(() => {
      if (!this.#isPaused) this.#continue();
    });
  }

  close(code: number = CLOSE.normal, reason = ''): void {
    // The close frame is the last one: gathered messages go first.
    this.flush();
    this.onMessage = undefined;
    this.#bytesLeft = Math.min(this.#bytesLeft, MAX_BYTES_AFTER_CLOSE);
    this.#ws.close(code, closeReason(reason));
  }

  terminate(): void {
    this.#ws.terminate();
  }

  get bufferedBytes(): number {
    return this.#unsentBytes + this.#outBytes;
  }

  get remote(): string {
    return this.#remote ?? remoteOf(this.#socket);
  }

  ping(timeoutMs: number): Promise<boolean> {
    if (this.#ws.readyState !== WebSocket.OPEN) return Promise.resolve(false);
    this.#pings ??= new Pings(this.#clock);
    const pong = this.#pings.wait(timeoutMs);
    this.#ws.ping();
    return pong;
  }
}

/** Address and port of the other end, for logs. */
export const remoteOf = ({ remoteAddress = 'unknown', remotePort = 0 }: Socket): string =>
  `${remoteAddress}:${remotePort}`;
