// One attached node as the router sees it: its path, its connection and its outbound queue. A session outlives its
// connection by the resume window: then it is `detached`, keeps its queue, and a connection of the same node resumes it.
// Not here: admission (`door/admission.ts`), addresses (`bindings.ts`), calls (`open-calls.ts`).
import type { NodeAttachAck, Principal } from '@fame-fabric/shared';
import { isUnder, tryParseAddress } from '@fame-fabric/shared/router';
import { isKeyed } from '../access/access.ts';
import type { PrincipalQuota } from '../access/principal-quota.ts';
import type { CoarseClock } from './coarse-clock.ts';
import type { NodeTransport } from './node-transport.ts';
import { OutboundQueue } from './outbound-queue.ts';
import type { QueueBudget } from './queue-budget.ts';
import { newToken, tokenDigest } from './resume-token.ts';

const MINUTE_MS = 60_000;

/** `member`: another sentinel of the same cluster. */
export type SessionKind = 'node' | 'peer' | 'parent' | 'member';
export type SessionState = 'attached' | 'detached' | 'gone';

/** Properties that never change during a session. */
export interface SessionIdentity {
  readonly path: string;
  readonly systemId: string;
  readonly kind: SessionKind;
}

/** Declarations of a node at an attach, and the epoch that it is assigned. */
export interface AttachTerms {
  /** Owner of the session, identified by the node's credential. `anonymous` for a parent sentinel, whose owner is unknown. */
  readonly principal: Principal;
  /** Wall time in ms at which the credential expires. @default it does not expire */
  readonly expiresAt?: number | undefined;
  readonly instanceId: string;
  /** Routing epoch: a new one makes the node bind its addresses again, so its heartbeat acks must repeat it. */
  readonly epoch: string;
  /** True if nodes may attach below this one, which then forwards their messages. */
  readonly mayForward: boolean;
  /** True if the node accepts CallCancel frames. */
  readonly acceptsCancel: boolean;
  /** True if the node sends each stream in a flow of its own, which ends with the stream. */
  readonly hasStreamFlows: boolean;
  /** True if withheld credit of one flow slows one pair of nodes, and no other calls of the node. */
  readonly hasPairFlows: boolean;
  /** True if the node bounds the bytes of a flow in flight, and needs credit after some bytes. */
  readonly hasByteCredit: boolean;
  /** True for a sentinel that answers WhoIs about the calls of its nodes. */
  readonly answersWhoIs: boolean;
}

/** The terms that a renewed credential replaces. */
export type Renewal = Pick<AttachTerms, 'principal' | 'expiresAt' | 'mayForward'>;

/** Refusals of one node for its rate. */
export interface RateRecord {
  refusals: number;
  pauses: number;
  /** Monotonic, in ms. */
  refusedAt: number;
  /** The connection that is not read now. A new connection of the node is. */
  paused: NodeTransport | undefined;
}

/** True for a node without a key. The resources of all such nodes together are bounded. */
export const isStranger = ({ kind, terms }: Pick<Session, 'kind' | 'terms'>): boolean =>
  kind === 'node' && !isKeyed(terms.principal);

export class Session implements SessionIdentity {
  readonly path: string;
  readonly systemId: string;
  readonly kind: SessionKind;
  /** Wall time in ms since the epoch, for display. */
  readonly startedAt: number;
  readonly outbound: OutboundQueue;
  /** Usage of its principal. Undefined if this sentinel limits no principal, and for sentinels that it dialed. */
  quota: PrincipalQuota | undefined;
  /** Refusals for the rate of its principal. */
  rate: RateRecord | undefined;
  /** True if an administrator drains the node: it gets no new calls. Ends with the next process of the node. */
  isDraining = false;
  /** Number of the next requests to the node whose callers are stated with the request. */
  statementsAhead = 0;
  /** Messages from the node, without pings. */
  received = 0;
  receivedBytes = 0;
  /** The last refusal of a message of the node. `at` is monotonic, in ms. */
  refusal: { readonly code: string; readonly at: number } | undefined;
  /** Monotonic end of the resume window of a lost session, in ms. */
  resumeEndsAt = 0;
  /** True for a peer if the policy refused some of its announcements. */
  missesAnnouncements = false;
  /** Receives the acks of renewals, if this sentinel is a node of the other side. */
  onAttachAck: ((ack: NodeAttachAck) => void) | undefined;
  readonly #time: CoarseClock;
  #state: SessionState = 'attached';
  #transport: NodeTransport | undefined;
  #terms: AttachTerms;
  #receivedAt: number;
  #pongAt = 0;
  /** Last replyTo that passed the check: a caller uses one for all of its calls. */
  #checkedReplyTo = '';
  /** True if the node has forwarded a message of a node below its path. */
  #isSentinel: boolean;
  #sid: string | undefined;
  /** Last sid that passed the check, and its replyTo. */
  #checkedSid = '';
  #replyToOfSid = '';
  #badFrames = 0;
  /** Start of the minute in which bad frames are counted. */
  #badSince = 0;
  #ping: Promise<boolean> | undefined;
  /** Digest of the token in the last NodeAttachAck. */
  #tokenDigest: string | undefined;
  /** Digest of the previous token. It stays valid until the node uses the last one, because the last ack may have been lost. */
  #usedTokenDigest: string | undefined;

  constructor(
    identity: SessionIdentity,
    transport: NodeTransport,
    terms: AttachTerms,
    deps: { time: CoarseClock; budget: QueueBudget; startedAt: number },
  ) {
    const { time, budget, startedAt } = deps;
    this.path = identity.path;
    this.systemId = identity.systemId;
    this.kind = identity.kind;
    this.startedAt = startedAt;
    this.outbound = new OutboundQueue(time, isStranger({ kind: this.kind, terms }) ? budget.open : budget);
    this.#isSentinel = identity.kind !== 'node';
    this.#time = time;
    this.#receivedAt = time.now;
    this.#transport = transport;
    this.#terms = terms;
    this.outbound.attach(transport, terms);
  }

  get state(): SessionState {
    return this.#state;
  }

  /** The connection; absent unless `attached`. */
  get transport(): NodeTransport | undefined {
    return this.#transport;
  }

  get terms(): AttachTerms {
    return this.#terms;
  }

  /** Records that the node sent a message. */
  markReceived(): void {
    this.#receivedAt = this.#time.now;
  }

  /** Records that the node sent a ping or a pong. */
  markAlive(): void {
    this.#pongAt = this.#time.now;
  }

  /** Time since the node last sent a message, a ping or a pong, in ms. */
  get silentMs(): number {
    return this.#time.now - Math.max(this.#receivedAt, this.#pongAt);
  }

  /** Time since the node last sent a message, in ms. */
  get sinceMessageMs(): number {
    return this.#time.now - this.#receivedAt;
  }

  /** True if the node may receive replies at this address: it lies under its path. A parent forwards calls of other nodes. */
  mayReplyTo(address: string): boolean {
    if (address === this.#checkedReplyTo) return true;
    if (this.kind !== 'parent') {
      const at = address.lastIndexOf('@');
      const path = address.slice(at + 1);
      if (at <= 0 || !isUnder(path, this.path) || tryParseAddress(address) === undefined) return false;
      if (path !== this.path) {
        if (!this.#terms.mayForward) return false;
        this.#isSentinel = true;
      }
    }
    this.#checkedReplyTo = address;
    return true;
  }

  /** True for a parent, a peer, a sentinel of the cluster, and a child sentinel that has forwarded a message: they carry messages of many nodes. */
  get isSentinel(): boolean {
    return this.#isSentinel;
  }

  /** Learns the path of the node that serves an address. If it lies below this node, this node is a sentinel. */
  learnPath(path: string | undefined): void {
    if (!this.#terms.mayForward || path === undefined || path === this.path) return;
    if (isUnder(path, this.path)) this.#isSentinel = true;
  }

  /**
   * True if a message with this `sid` may come from this node. The sender of a message with a `replyTo` is the node at its path.
   * `sidOfPath` computes the sid of a path.
   */
  mayHaveSid(sid: string, replyTo: string, sidOfPath: (path: string) => string): boolean {
    if (sid === this.#checkedSid && replyTo === this.#replyToOfSid) return true;
    if (this.kind !== 'node') return true;
    this.#sid ??= sidOfPath(this.path);
    const path = replyTo === '' ? this.path : replyTo.slice(replyTo.lastIndexOf('@') + 1);
    const expected = path === this.path ? this.#sid : sidOfPath(path);
    if (sid !== expected && !(replyTo === '' && this.#isSentinel)) return false;
    this.#checkedSid = sid;
    this.#replyToOfSid = replyTo;
    return true;
  }

  /** Counts a message that is not a valid envelope; returns the count of the current minute. */
  countBadFrame(): number {
    if (this.#time.now - this.#badSince > MINUTE_MS) {
      this.#badSince = this.#time.now;
      this.#badFrames = 0;
    }
    return ++this.#badFrames;
  }

  /** True if the digest is that of a resume token of this session. */
  acceptsToken(digest: string): boolean {
    return digest === this.#tokenDigest || digest === this.#usedTokenDigest;
  }

  /** Replaces the resume token and returns the new one. `used` is the digest of the attach's token, if it had one. */
  rotateToken(used: string | undefined): string {
    const token = newToken();
    this.#usedTokenDigest = used !== undefined && this.acceptsToken(used) ? used : undefined;
    this.#tokenDigest = tokenDigest(token);
    return token;
  }

  /** Continues the session on a new connection of the node. Flush the outbound queue once the attach is acknowledged. */
  resume(transport: NodeTransport, terms: AttachTerms): void {
    this.#state = 'attached';
    this.#transport = transport;
    this.#terms = terms;
    this.#checkedReplyTo = '';
    this.markReceived();
    this.outbound.attach(transport, terms);
  }

  /** Continues the connection with a renewed credential of the same principal. */
  renew(credential: Renewal): void {
    this.#terms = { ...this.#terms, ...credential };
    this.#checkedReplyTo = '';
  }

  /** Marks the connection as lost and keeps the queue. */
  detach(): void {
    this.#state = 'detached';
    this.#transport = undefined;
    this.outbound.detach();
  }

  /** Ends the session and drops the queue. */
  dispose(): void {
    this.#state = 'gone';
    this.#transport = undefined;
    this.outbound.close();
  }

  /** Pings the node; while one ping is under way, further callers share its result. */
  ping(timeoutMs: number): Promise<boolean> {
    if (this.#transport === undefined) return Promise.resolve(false);
    this.#ping ??= this.#transport.ping(timeoutMs).finally(() => {
      this.#ping = undefined;
    });
    return this.#ping;
  }
}
