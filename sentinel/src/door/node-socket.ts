// A WebSocket as the sentinel's sessions use it, made to pass on messages without making anything. What comes is read into
// one buffer that all sockets share; what goes is copied behind its frame header into a buffer that is used again as soon
// as the system took it, and all that goes to one node in a turn of the event loop leaves by one write: more than half of a
// router's time is the write system call. Handshake, pings and closing are left to `ws`.
import type { Socket } from 'node:net';
import { LIMITS } from '@fame-fabric/shared';
import { WebSocket } from 'ws';
import { CLOSE } from '../close-codes.ts';
import type { Session } from '../session/session.ts';
import type { Wire } from '../session/wire.ts';
import type { Claim } from './admission.ts';
import { FrameReader, type FrameTaker } from './frame-reader.ts';
import { readInto } from './read-buffer.ts';

/** What a connection may send before it has attached, in bytes: a NodeAttach, or a few pings. */
const MAX_UNATTACHED_BYTES = 65_536;

/** What leaves together is gathered in a buffer of this size; a larger message leaves at once. */
const GATHER_BYTES = 16_384;
/** Buffers in use at one time; with the last of them all that was gathered leaves early. */
const MAX_BUFFERS = 64;
const LONGEST_HEADER = 10;
/** Room for a message of 64 KB, its frame header included. */
const LARGE_BYTES = 131_072;

/** Nodes that were sent something in this turn of the event loop. */
let written: NodeSocket[] = [];
const flushAll = (): void => {
  const nodes = written;
  written = [];
  for (const node of nodes) node.flush();
};

/** Buffers that nobody uses now. */
const spare: Buffer[] = [];
let large = Buffer.allocUnsafeSlow(LARGE_BYTES);

function takeBuffer(): Buffer {
  if (spare.length === 0 && written.length >= MAX_BUFFERS) flushAll();
  return spare.pop() ?? Buffer.allocUnsafeSlow(GATHER_BYTES);
}

// Writes one unmasked binary frame of RFC 6455 to `out`; answers where it ends.
function putFrame(out: Buffer, at: number, bytes: Uint8Array): number {
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

/** A WebSocket as the sentinel's sessions use it. */
export class NodeSocket implements Wire, FrameTaker {
  readonly claim: Claim;
  readonly openedAt: number;
  session: Session | undefined;
  /** A first message was taken; until the session stands, there is no second. */
  spoke = false;
  readonly #ws: WebSocket;
  readonly #socket: Socket;
  readonly #reader = new FrameReader(this, MAX_UNATTACHED_BYTES);
  /** Bytes that went to `ws` before the node attached. */
  #earlyBytes = 0;
  readonly #toWs: (chunk: Buffer) => void;
  readonly #onMessage: (node: NodeSocket, bytes: Buffer) => void;
  #pongs: (() => void)[] | undefined;
  #out: Buffer | undefined;
  #outBytes = 0;

  constructor(
    ws: WebSocket,
    socket: Socket,
    claim: Claim,
    { openedAt, hasHead }: { openedAt: number; hasHead: boolean },
    onMessage: (node: NodeSocket, bytes: Buffer) => void,
  ) {
    this.#ws = ws;
    this.#socket = socket;
    this.claim = claim;
    this.openedAt = openedAt;
    this.#onMessage = onMessage;
    // `ws` listens to the socket; the reader steps between the two, and passes on what is not its own.
    const [toWs] = socket.listeners('data');
    this.#toWs = toWs as (chunk: Buffer) => void;
    socket.off('data', this.#toWs);
    const read = (bytes: Buffer): void => this.#reader.read(bytes);
    const isShared = readInto(socket, read);
    // What came together with the upgrade comes by this event in any case.
    if (!isShared || hasHead) socket.on('data', read);
  }

  takeMessage(bytes: Buffer): void {
    this.#onMessage(this, bytes);
  }

  takeOther(bytes: Buffer): void {
    if (this.session === undefined) {
      this.#earlyBytes += bytes.length;
      if (this.#earlyBytes > MAX_UNATTACHED_BYTES) {
        this.stopReading();
        this.close(CLOSE.tooLarge, 'too much before the attach');
        return;
      }
    }
    // `ws` keeps what it is given.
    this.#toWs.call(this.#socket, Buffer.from(bytes));
  }

  /** The node was let in; the small bound for strangers ends here. */
  attached(session: Session): void {
    this.session = session;
    this.#reader.maxBytes = LIMITS.maxFrameBytes;
  }

  /** `ws` found a fault: it closes the connection, and nothing that still comes means anything. */
  stopReading(): void {
    this.#reader.stop();
  }

  send(bytes: Uint8Array): void {
    if (this.#ws.readyState !== WebSocket.OPEN) return;
    const needed = bytes.byteLength + LONGEST_HEADER;
    if (this.#outBytes + needed > GATHER_BYTES) {
      this.flush();
      if (needed > GATHER_BYTES) {
        this.#sendLarge(bytes);
        return;
      }
    }
    if (this.#out === undefined) {
      this.#out = takeBuffer();
      if (written.push(this) === 1) setImmediate(flushAll);
    }
    this.#outBytes = putFrame(this.#out, this.#outBytes, bytes);
  }

  /** Writes what was gathered. */
  flush(): void {
    const out = this.#out;
    if (out === undefined) return;
    const count = this.#outBytes;
    this.#out = undefined;
    this.#outBytes = 0;
    if (this.#write(out, count)) spare.push(out);
  }

  #sendLarge(bytes: Uint8Array): void {
    const size = bytes.byteLength + LONGEST_HEADER;
    if (size > large.length) large = Buffer.allocUnsafeSlow(size);
    if (!this.#write(large, putFrame(large, 0, bytes))) large = Buffer.allocUnsafeSlow(LARGE_BYTES);
  }

  // Writes the first `count` bytes; `false` when the socket still holds the buffer.
  #write(out: Buffer, count: number): boolean {
    const socket = this.#socket;
    if (socket.destroyed || !socket.writable) return true;
    if (socket.writableLength > 0) {
      // It will wait behind what waits already, in no more memory than it needs.
      socket.write(Buffer.from(out.subarray(0, count)));
      return true;
    }
    socket.write(out.subarray(0, count));
    // What the system took at once is out of our hands, and so is not counted here any more.
    return socket.writableLength === 0;
  }

  close(code: number, reason: string): void {
    // The close frame is the last; what was sent before it goes before it.
    this.flush();
    this.#ws.close(code, reason.slice(0, 120));
  }

  terminate(): void {
    this.#ws.terminate();
  }

  get bufferedBytes(): number {
    return this.#socket.writableLength + this.#outBytes;
  }

  get remote(): string {
    return `${this.#socket.remoteAddress ?? 'unknown'}:${this.#socket.remotePort ?? 0}`;
  }

  ping(timeoutMs: number): Promise<boolean> {
    if (this.#ws.readyState !== WebSocket.OPEN) return Promise.resolve(false);
    const { promise, resolve } = Promise.withResolvers<boolean>();
    const timer = setTimeout(() => resolve(false), timeoutMs).unref();
    this.#pongs ??= [];
    this.#pongs.push(() => {
      clearTimeout(timer);
      resolve(true);
    });
    this.#ws.ping();
    return promise;
  }

  ponged(): void {
    const pongs = this.#pongs;
    this.#pongs = undefined;
    for (const pong of pongs ?? []) pong();
  }
}
