// The link to one other sentinel of the cluster: a handshake, numbered data frames, a heartbeat each second, and a window of bytes. The
// bus may lose messages, so a gap in the numbers ends the link, and with it the session of the other sentinel: its callers receive
// NODE_GONE instead of waiting. Each side numbers its own links; a link is up once both sides know the number of the other one.
//
// Invariants: P1 envelopes are delivered in order and without gaps while a link is up. P2 at most `WINDOW_BYTES` and one socket bound
// are in flight, so the bus never cuts off a slow sentinel. P3 a link that was silent for `SILENT_MS` is down.
import type { Clock, Logger } from '@fame-fabric/shared';
import { isUnder } from '@fame-fabric/shared/router';
import type { Identity } from '../identity.ts';
import type { Bus } from './bus.ts';
import {
  HEADER_BYTES,
  PAIR,
  type PairHeader,
  readEnvelopes,
  readPairHeader,
  writeHeader,
} from './pair-frame.ts';
import { PairTransport } from './pair-transport.ts';

/** Interval of heartbeats, in ms. */
export const BEAT_MS = 1_000;
/** Silence after which the other sentinel is gone, in ms. The resume window of its nodes begins then. */
export const SILENT_MS = 3_000;
/** Bytes received after which a heartbeat states them at once. A quarter of the window, so that a sender never waits for a timer. */
const STATE_AFTER_BYTES = 262_144;
/** Longest body of a hello, in bytes. */
const MAX_HELLO_BYTES = 4_096;
const MAX_LINK = 0xffff_ffff;

/** The other sentinel, as its hello describes it. */
export interface Member {
  readonly id: string;
  /** Its path, which all paths of its nodes begin with. */
  readonly path: string;
  /** `name/version`. */
  readonly software: string;
}

interface Hello extends Member {
  /** The link of the receiver that the sender knows; 0 if it knows none. */
  readonly of: number;
}

export interface PairDeps {
  bus: Bus;
  clock: Clock;
  identity: Identity;
  log: Logger;
  /** True while this sentinel shuts down. */
  isDraining: () => boolean;
  listener: PairListener;
}

export interface PairListener {
  /** A link is up. Sets `onMessage` of the transport. */
  up(pair: Pair, member: Member, transport: PairTransport): void;
  /** The link of this transport is down. */
  down(pair: Pair, transport: PairTransport, reason: string): void;
  /** The other side has sent a frame. */
  alive(pair: Pair): void;
}

export interface PairOptions {
  /** Id of the other sentinel. */
  readonly id: string;
  /** Subject of our frames to it. */
  readonly subject: string;
  /** Random start of our link numbers, so that a new process does not repeat those of the process before it. */
  readonly firstLink: number;
}

export class Pair {
  readonly id: string;
  readonly #deps: PairDeps;
  readonly #subject: string;
  #link: number;
  /** The link that the other side opened; 0 if none is known. */
  #theirLink = 0;
  #member: Member | undefined;
  #transport: PairTransport | undefined;
  #sentSeq = 0;
  #receivedSeq = 0;
  #receivedBytes = 0;
  /** The value of `receivedBytes` in our last frame. */
  #statedBytes = 0;
  /** Monotonic times in ms: of the last frame from the other side, and of our last hello. */
  #lastFrameAt: number;
  #helloAt = Number.NEGATIVE_INFINITY;
  /** The link of the other side in our last hello. */
  #helloOf = 0;
  #isTheirsDraining = false;
  /** True if the other side ended the last link, as it does when it stops. */
  #hasLeft = false;
  /** Wall time at which the last link ended, in ms. */
  #lostAt = 0;

  constructor(deps: PairDeps, { id, subject, firstLink }: PairOptions) {
    this.#deps = deps;
    this.id = id;
    this.#subject = subject;
    this.#link = firstLink;
    this.#lastFrameAt = deps.clock.monotonic();
  }

  /** True while envelopes can be exchanged. */
  get isUp(): boolean {
    return this.#transport !== undefined;
  }

  /** The other sentinel while the link is up. */
  get member(): Member | undefined {
    return this.isUp ? this.#member : undefined;
  }

  /** The other sentinel if its link was lost and it did not end the link itself, with the wall time of the loss in ms. */
  get lost(): (Member & { readonly lostAt: number }) | undefined {
    const hasEnded = this.isUp || this.#hasLeft || this.#member === undefined || this.#lostAt === 0;
    if (hasEnded) return undefined;
    const { id, path, software } = this.#member!;
    return { id, path, software, lostAt: this.#lostAt };
  }

  /** True if the other sentinel is shutting down, and takes no new calls. */
  get isDraining(): boolean {
    return this.#isTheirsDraining;
  }

  /** Monotonic time in ms of the last frame of the other side, while the link is up. */
  get lastFrameAt(): number | undefined {
    return this.isUp ? this.#lastFrameAt : undefined;
  }

  /** Time since the last frame of the other side, in ms. */
  get silentMs(): number {
    return this.#deps.clock.monotonic() - this.#lastFrameAt;
  }

  /** Records that the other sentinel is alive, and begins the handshake unless the link is up. */
  meet(): void {
    if (this.isUp) return;
    this.#lastFrameAt = this.#deps.clock.monotonic();
    this.#sendHello();
  }

  /** Handles one frame of the other side. Never throws. */
  receive(frame: Buffer): void {
    const header = readPairHeader(frame);
    if (header === undefined) return;
    this.#lastFrameAt = this.#deps.clock.monotonic();
    if (header.kind === PAIR.hello) {
      this.#receiveHello(header.link, frame);
      return;
    }
    if (!this.isUp || header.link !== this.#theirLink) {
      // The other side still uses a link that is down here: our hello makes it open another one.
      if (header.kind !== PAIR.bye) this.#sendHello();
      return;
    }
    if (header.kind === PAIR.bye) {
      this.#hasLeft = true;
      this.#end('the other sentinel ended the link');
      return;
    }
    this.#isTheirsDraining = header.isDraining;
    this.#transport!.received(header.receivedBytes);
    if (header.kind === PAIR.data) this.#receiveData(header, frame);
    else if (header.seq !== this.#receivedSeq) this.#lost(header.seq);
    else this.#deps.listener.alive(this);
  }

  #receiveData({ seq }: PairHeader, frame: Buffer): void {
    const expected = (this.#receivedSeq + 1) >>> 0;
    if (seq !== expected) {
      this.#lost(seq);
      return;
    }
    this.#receivedSeq = seq;
    this.#receivedBytes = (this.#receivedBytes + frame.length) >>> 0;
    const transport = this.#transport!;
    if (!readEnvelopes(frame, (envelope) => transport.onMessage?.(envelope))) {
      this.fail('the other sentinel sent a malformed frame');
      return;
    }
    const unstated = (this.#receivedBytes - this.#statedBytes) >>> 0;
    // The link may have ended while the envelopes were handled.
    if (unstated >= STATE_AFTER_BYTES && this.#transport === transport) this.beat();
  }

  #lost(seq: number): void {
    this.fail(`messages were lost: expected ${this.#receivedSeq}, the other sentinel sent ${seq}`);
  }

  #receiveHello(link: number, frame: Buffer): void {
    const hello = readHello(frame);
    // Paths below that of this sentinel are those of its own nodes.
    const isValid =
      hello !== undefined && hello.id === this.id && !isUnder(hello.path, this.#deps.identity.path);
    if (!isValid || link === 0) return;
    const isNew = link !== this.#theirLink;
    if (isNew && this.isUp) this.#end('the other sentinel opened a new link');
    this.#theirLink = link;
    this.#member = hello;
    if (this.isUp) {
      // Our answer to its first hello was lost.
      this.#sendHello();
      return;
    }
    // A hello with our number answers ours. Without it the other side does not know our link yet.
    if (hello.of === this.#link) {
      if (isNew) this.#sendHello();
      this.#begin();
    } else this.#sendHello();
  }

  #begin(): void {
    this.#sentSeq = 0;
    this.#receivedSeq = 0;
    this.#receivedBytes = 0;
    this.#statedBytes = 0;
    this.#isTheirsDraining = false;
    this.#hasLeft = false;
    const transport = new PairTransport(this.id, this.#deps.bus, {
      send: (batch) => this.#sendData(batch),
      close: (reason) => this.fail(reason),
      isAlive: () => this.silentMs < SILENT_MS,
    });
    this.#transport = transport;
    this.#deps.listener.up(this, this.#member!, transport);
  }

  /** Ends the link here and at the other side. The next heartbeat opens another one. */
  fail(reason: string): void {
    if (!this.isUp) return;
    this.#send(PAIR.bye);
    this.#end(reason);
  }

  #end(reason: string): void {
    const transport = this.#transport;
    if (transport === undefined) return;
    transport.end();
    this.#transport = undefined;
    this.#lostAt = this.#deps.clock.now();
    this.#theirLink = 0;
    this.#link = this.#link >= MAX_LINK ? 1 : this.#link + 1;
    this.#helloAt = Number.NEGATIVE_INFINITY;
    this.#deps.listener.down(this, transport, reason);
  }

  /** Sends the heartbeat of a link that is up, or repeats the hello. Ends a link that was silent for too long. */
  tick(): void {
    if (this.isUp && this.silentMs >= SILENT_MS) {
      this.#end(`the other sentinel was silent for ${this.silentMs} ms`);
      return;
    }
    if (this.isUp) this.beat();
    else if (this.silentMs < SILENT_MS) this.#sendHello();
  }

  /** States our last data frame, and the bytes that we received. */
  beat(): void {
    if (!this.isUp) return;
    this.#transport!.flush();
    this.#send(PAIR.beat);
  }

  /** Sends the frames that waited until the bus is connected again. */
  reconnected(): void {
    this.#transport?.flush();
  }

  /** Ends the link, because this sentinel leaves the cluster. */
  close(): void {
    this.#transport?.flush();
    this.fail('this sentinel left the cluster');
  }

  #sendData(batch: Buffer): void {
    this.#sentSeq = (this.#sentSeq + 1) >>> 0;
    this.#publish(PAIR.data, batch);
  }

  #send(kind: number): void {
    this.#publish(kind, Buffer.allocUnsafe(HEADER_BYTES));
  }

  #publish(kind: number, frame: Buffer): void {
    const { bus, isDraining } = this.#deps;
    if (!bus.isConnected) return;
    this.#statedBytes = this.#receivedBytes;
    writeHeader(frame, {
      kind,
      link: this.#link,
      seq: this.#sentSeq,
      receivedBytes: this.#receivedBytes,
      isDraining: isDraining(),
    });
    bus.publish(this.#subject, frame);
  }

  // Sends at most one hello for each state of the link in a beat. Each side answers the hello of the other one, so without this limit they would
  // never stop.
  #sendHello(): void {
    const { clock, identity, log } = this.#deps;
    const now = clock.monotonic();
    const of = this.#theirLink;
    if (this.#helloAt + BEAT_MS > now && of === this.#helloOf) return;
    this.#helloAt = now;
    this.#helloOf = of;
    const hello: Hello = { id: identity.id, path: identity.path, software: identity.software, of };
    const body = Buffer.from(JSON.stringify(hello));
    this.#publish(PAIR.hello, Buffer.concat([Buffer.alloc(HEADER_BYTES), body]));
    log.debug('sent a hello to a sentinel of the cluster', { sentinel: this.id });
  }
}

function readHello(frame: Buffer): Hello | undefined {
  if (frame.length > HEADER_BYTES + MAX_HELLO_BYTES) return undefined;
  try {
    const hello = JSON.parse(frame.toString('utf8', HEADER_BYTES)) as Partial<Hello> | null;
    const { id, path, software, of } = hello ?? {};
    const isValid =
      typeof id === 'string' &&
      typeof path === 'string' &&
      path.startsWith('/') &&
      typeof software === 'string' &&
      typeof of === 'number';
    return isValid ? { id, path, software, of } : undefined;
  } catch {
    // Not a hello of this protocol. The handshake continues without it.
    return undefined;
  }
}
