// Verifies the messages that arrive at a link with signed envelopes, before any of them is handled. Frames of the sentinel need a
// key of its NodeAttachAck. Keys of other nodes are requested from the sentinel; the messages of a node wait for its key, in order
// and within bounds. A message that was received before is dropped.
import type { Clock, Timer } from '../async/clock.ts';
import type { ErrorCode } from '../errors/codes.ts';
import { FabricError } from '../errors/error.ts';
import type { Logger } from '../log.ts';
import { isUnder, locationOf } from '../protocol/address.ts';
import type { Envelope, KeyAnnounce } from '../protocol/envelope.ts';
import { SeenIds } from './seen-ids.ts';
import type { LinkSignatures, PeerKey } from './signatures.ts';

/** Time to wait for the answer to a KeyRequest, in ms, and the number of requests for one key. */
const REQUEST_MS = 5_000;
const MAX_REQUESTS = 3;
/** Keys of other nodes that are kept, least recently added first. */
const MAX_KEYS = 4_096;
/** Keys that are requested at once, and bytes of the messages that wait for them. */
const MAX_REQUESTED = 1_024;
const MAX_WAITING_BYTES = 8_388_608;
/** Messages that a replayed one is recognized among. */
const REPLAY_WINDOW = 65_536;
/** Minimum time between two log lines about refused messages, in ms. */
const LOG_MS = 10_000;

/** Frames that only the sentinel sends. */
const OF_SENTINEL = new Set<string>([
  'AddressBindAck',
  'AddressUnbindAck',
  'CapabilityAdvertiseAck',
  'CapabilityWithdrawAck',
  'CallCancel',
  'KeyAnnounce',
  'WhoIsAck',
]);

export interface VerifierDeps {
  readonly clock: Clock;
  readonly log: Logger;
  readonly signatures: LinkSignatures;
  /** Asks the sentinel for a key. */
  readonly requestKey: (kid: string) => void;
}

/** A message with the steps that follow its verification. */
export interface Unverified {
  readonly envelope: Envelope;
  readonly bytes: Uint8Array;
  /** Handles the verified message. */
  readonly onVerified: () => void;
  /** Acknowledges a message that was handled before, if its sender waits for that. */
  readonly onRepeated: () => void;
  readonly onRefused: (code: ErrorCode, reason: string) => void;
}

/** The messages of one node that wait for its key. */
interface Waiting {
  readonly messages: Unverified[];
  requests: number;
  timer: Timer;
}

export class Verifier {
  readonly #deps: VerifierDeps;
  /** Keys of the sentinel. */
  #ofSentinel = new Map<string, PeerKey>();
  /** Keys of other nodes, oldest first. */
  readonly #keys = new Map<string, PeerKey>();
  readonly #waiting = new Map<string, Waiting>();
  #waitingBytes = 0;
  readonly #seen = new SeenIds(REPLAY_WINDOW);
  #refused = 0;
  #loggedAt = Number.NEGATIVE_INFINITY;

  constructor(deps: VerifierDeps) {
    this.#deps = deps;
  }

  /** Number of messages that wait for keys. */
  get waitingCount(): number {
    let count = 0;
    for (const { messages } of this.#waiting.values()) count += messages.length;
    return count;
  }

  /** Takes the keys of the sentinel from its NodeAttachAck. @throws {LINK_REFUSED} if it has none */
  adopt(keys: readonly unknown[] | undefined, path: string): void {
    const read = this.#deps.signatures.readKeys(keys, path);
    if (read.length === 0) {
      const text =
        'The sentinel does not sign envelopes. Set FAME_SECURITY_PROFILE=overlay for it, or unset it here';
      throw new FabricError('LINK_REFUSED', text);
    }
    this.#ofSentinel = new Map(read.map((key) => [key.kid, key]));
  }

  /** Verifies a message, now or when its key has arrived. */
  receive(message: Unverified): void {
    const { envelope } = message;
    const { signatures } = this.#deps;
    const { type } = envelope.frame;
    if (!signatures.isSignedType(type)) {
      message.onVerified();
      return;
    }
    const kid = signatures.kidOf(envelope);
    if (kid === undefined) {
      this.#refuse(
        message,
        'SIGNATURE_MISSING',
        'The envelope is not signed, and this node requires signatures',
      );
      return;
    }
    const ofSentinel = this.#ofSentinel.get(kid);
    if (ofSentinel !== undefined || OF_SENTINEL.has(type)) {
      this.#check(message, ofSentinel);
      return;
    }
    const key = this.#keys.get(kid);
    const waiting = this.#waiting.get(kid);
    // A node may have returned at another path with the same key.
    if (waiting === undefined && key?.sid === envelope.sid) this.#check(message, key);
    else this.#wait(kid, waiting, message);
  }

  /** Takes a key that this node has requested. The frame is verified. */
  onAnnounce({ keys, physicalPath }: KeyAnnounce): void {
    if (physicalPath === undefined) return;
    for (const key of this.#deps.signatures.readKeys(keys, physicalPath)) {
      const waiting = this.#waiting.get(key.kid);
      if (waiting === undefined) continue;
      this.#keep(key);
      this.#end(key.kid, waiting);
      for (const message of waiting.messages) this.#check(message, key);
    }
  }

  /** Drops the messages that wait for keys. */
  close(): void {
    for (const [kid, waiting] of [...this.#waiting]) this.#end(kid, waiting);
  }

  #check(message: Unverified, key: PeerKey | undefined): void {
    const { envelope, bytes } = message;
    const { replyTo } = envelope;
    const isOwn = key !== undefined && (!replyTo || isUnder(locationOf(replyTo), key.path));
    if (!isOwn || !this.#deps.signatures.verify(envelope, bytes, key)) {
      const reason = 'The signature of the envelope is not that of the node that sent it';
      this.#refuse(message, 'SIGNATURE_INVALID', reason);
    } else if (this.#seen.add(`${envelope.sid} ${envelope.id}`)) message.onVerified();
    else message.onRepeated();
  }

  #wait(kid: string, waiting: Waiting | undefined, message: Unverified): void {
    const { requestKey } = this.#deps;
    const size = message.bytes.byteLength;
    if (
      this.#waitingBytes + size > MAX_WAITING_BYTES ||
      (waiting === undefined && this.#waiting.size >= MAX_REQUESTED)
    ) {
      this.#refuse(message, 'NODE_BUSY', 'Too many messages wait for the keys of their senders');
      return;
    }
    this.#waitingBytes += size;
    // Copied: the bytes may be a view of a larger buffer.
    const kept = { ...message, bytes: message.bytes.slice() };
    if (waiting !== undefined) {
      waiting.messages.push(kept);
      return;
    }
    this.#waiting.set(kid, { messages: [kept], requests: 1, timer: this.#scheduleRetry(kid) });
    requestKey(kid);
  }

  #scheduleRetry(kid: string): Timer {
    return this.#deps.clock.after(REQUEST_MS, () => this.#retry(kid));
  }

  #retry(kid: string): void {
    const waiting = this.#waiting.get(kid);
    if (waiting === undefined) return;
    if (waiting.requests < MAX_REQUESTS) {
      waiting.requests++;
      waiting.timer = this.#scheduleRetry(kid);
      this.#deps.requestKey(kid);
      return;
    }
    this.#end(kid, waiting);
    for (const message of waiting.messages) {
      this.#refuse(message, 'SIGNATURE_INVALID', `The sentinel does not know the key ${kid} of the sender`);
    }
  }

  #end(kid: string, { messages, timer }: Waiting): void {
    timer.stop();
    this.#waiting.delete(kid);
    for (const { bytes } of messages) this.#waitingBytes -= bytes.byteLength;
  }

  #keep(key: PeerKey): void {
    this.#keys.delete(key.kid);
    if (this.#keys.size >= MAX_KEYS) this.#keys.delete(this.#keys.keys().next().value!);
    this.#keys.set(key.kid, key);
  }

  #refuse(message: Unverified, code: ErrorCode, reason: string): void {
    const { clock, log } = this.#deps;
    this.#refused++;
    const now = clock.monotonic();
    if (now - this.#loggedAt >= LOG_MS) {
      log.warn('refused a message', {
        code,
        reason,
        type: message.envelope.frame.type,
        count: this.#refused,
      });
      this.#loggedAt = now;
      this.#refused = 0;
    }
    message.onRefused(code, reason);
  }
}
