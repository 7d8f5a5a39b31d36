// The interface of a link. `link.ts` implements it; agents, clients and gateways are written against it.
import type { Caller } from '../access/principal.ts';
import type { Clock } from '../async/clock.ts';
import type { FabricError } from '../errors/error.ts';
import type { Logger } from '../log.ts';
import type { Envelope } from '../protocol/envelope.ts';
import type { LinkSignatures } from './signatures.ts';
import type { Dial, TokenSource } from './transport.ts';

/** State of a link. `closed` is final. */
export type LinkState = 'idle' | 'connecting' | 'attached' | 'reconnecting' | 'draining' | 'closed';

/** An address, or the capabilities that the callee must have, all of them. */
export type CallTarget = string | { readonly capabilities: readonly string[] };

export interface LinkOptions {
  /** Admission URL without its last segment, such as `ws://127.0.0.1:8000/fame/v1/attach/ws/downstream`. */
  url: string;
  /** Admission URLs of other sentinels of the same cluster. After a failed attempt the link tries the next one. @default none */
  otherUrls?: readonly string[] | undefined;
  dial: Dial;
  /** @default a random id per process */
  systemId?: string | undefined;
  /** Bearer token, such as the local key of the sentinel. A source is read for each attempt to attach. */
  token?: string | TokenSource | undefined;
  /** Resumes the session of an earlier process with the same `systemId`. See `onResumeToken`. */
  resumeToken?: string | undefined;
  /**
   * Called after each attach with the token that resumes this session in a later process. The token is a secret, and the next
   * attach replaces it. Sentinels of other software have none.
   */
  onResumeToken?: ((token: string) => void) | undefined;
  /** Called with the error of each failed attempt to attach. */
  onAttachFailed?: ((error: unknown) => void) | undefined;
  /** Logical roots this node accepts. @default ['fame.fabric'] */
  acceptedLogicals?: readonly string[] | undefined;
  /** Time limit for the first attach, in ms. @default 30_000 */
  connectTimeoutMs?: number | undefined;
  /** Time between heartbeats, in ms. @default 15_000 */
  heartbeatMs?: number | undefined;
  /** Silence after which the connection is terminated, in ms. @default 30_000 */
  silentAfterMs?: number | undefined;
  /** First delay between attempts to reconnect, in ms, before jitter. @default 200 */
  backoffMinMs?: number | undefined;
  /** Longest delay between attempts to reconnect, in ms. @default 10_000, or 2_000 while the link serves an address */
  backoffMaxMs?: number | undefined;
  /**
   * Maximum bytes of queued requests to one callee, and of queued answers to one caller. Answers of operations that already run
   * may use up to four times as much. All of them together are bounded by 96 MiB, or twice this number if that is more.
   * @default 8_388_608
   */
  queueBytes?: number | undefined;
  clock?: Clock | undefined;
  log?: Logger | undefined;
  /**
   * With `at-least-once`, requests and answers are resent until the receiver acknowledges them. In either profile the link
   * acknowledges messages that request it, and recognizes repeated ones. @default 'at-most-once'
   */
  deliveryProfile?: 'at-most-once' | 'at-least-once' | undefined;
  /** Hash of this node's path for the `sid` field; absent in a browser. */
  sidOf?: ((path: string) => string) | undefined;
  /**
   * Signs the messages of this node, and verifies those of others, for a fabric with the profile `overlay`. Needs Node. @default
   * messages are not signed
   */
  signatures?: LinkSignatures | undefined;
  /** Called with every envelope that is sent or received. */
  trace?: ((direction: 'sent' | 'received', envelope: Envelope) => void) | undefined;
}

export interface CallOptions {
  /** Time limit for the answer, or for each item of a stream, in ms. @default 30_000 */
  timeoutMs?: number | undefined;
  /** Cancels the call, at the callee as well if it can be reached. */
  signal?: AbortSignal | undefined;
  /** JSON-RPC id and corrId. The same id names the same call. @default a fresh id */
  id?: string | undefined;
  traceId?: string | undefined;
  /**
   * Time limit for the whole call, in ms, in addition to `timeoutMs`. It travels with the request, so that the callee and its own
   * calls end as well. The caller of a stream must end it by itself. @default none; `timeoutMs` of a unary call above 15 minutes
   */
  deadlineMs?: number | undefined;
  /** Remaining hops, which travel with the request. At 0 the call fails with HOPS_EXCEEDED. @default none */
  ttl?: number | undefined;
  /**
   * Effect at the callee when the loop over a stream is left or its signal aborts. `cancel` ends the operation; `continue` looks like a
   * lost connection, so that a turn continues. @default 'cancel'
   */
  onLeave?: 'cancel' | 'continue' | undefined;
  /**
   * For `context.link` of an agent: the callee sees the caller of the agent as its caller, while that call is open. Needs the right to all
   * conversations of the callee; without it the callee sees the agent. @default false
   */
  onBehalf?: boolean | undefined;
  /** Envelope metadata that travels with the request. */
  meta?: Record<string, unknown> | undefined;
  /**
   * True if the same request (same id) is resent after each reconnect until it is answered. For operations that are
   * idempotent by id; other calls fail when their answer can no longer arrive. A resent stream must yield the same items from
   * the start; the link skips those that it has received. `until-item` resends a stream only until its first item: after a later
   * reconnect its caller gets LINK_CLOSED, and continues from the last item by a new call. @default false
   */
  resend?: boolean | 'until-item' | undefined;
}

/** Options of a message that is sent once. */
export interface SendOptions {
  ack?: false | undefined;
  /** Id of the call that the message answers; an earlier process may have received it. @default none */
  corrId?: string | undefined;
  /** Remaining hops, which travel with the message. At 0 it fails with HOPS_EXCEEDED. @default none */
  ttl?: number | undefined;
}

/** Options of a message that is resent until its receiver acknowledges it. */
export interface AcknowledgedSendOptions {
  ack: true;
  /** Time limit for the acknowledgement, in ms. @default 30_000 */
  timeoutMs?: number | undefined;
  /** Ends the wait and the resending. The receiver may have the message already. */
  signal?: AbortSignal | undefined;
  /** Remaining hops, which travel with the message. At 0 it fails with HOPS_EXCEEDED. @default none */
  ttl?: number | undefined;
}

/** Sends a message that is not a call: `send(to, payload)` once, `send(to, payload, { ack: true })` at least once. */
export interface Send {
  /**
   * Resends the message, with the same id, after 1, 2, 4, 8 and then every 10 s, and resolves when the receiver has accepted it. The
   * receiver handles a repeated id once. After a restart of the sentinel or of the receiver it may handle the message twice. The handler
   * may still fail: the acknowledgement does not wait for it.
   * @throws {CALL_TIMEOUT} if no acknowledgement arrived in time
   * @throws {NO_ROUTE | NODE_GONE | OPERATION_UNSUPPORTED | LINK_DRAINING | ...} if the sentinel or the receiver refused the message. A
   *   refusal with NODE_BUSY is an error only when the time is over.
   * @throws {MESSAGE_TOO_LARGE | PROTO_MALFORMED | ADDRESS_INVALID | HOPS_EXCEEDED | NODE_BUSY | LINK_CLOSED}
   * @throws the reason of `signal` when that aborts
   */
  (to: CallTarget, payload: unknown, options: AcknowledgedSendOptions): Promise<void>;
  /**
   * Sends the message once, without an acknowledgement. While the connection is lost, the message waits.
   * @throws {MESSAGE_TOO_LARGE | PROTO_MALFORMED | ADDRESS_INVALID | HOPS_EXCEEDED | NODE_BUSY | LINK_CLOSED | LINK_DRAINING}
   */
  (to: CallTarget, payload: unknown, options?: SendOptions): void;
}

/** A request to a bound address. The first of `reply`, `fail` and `end` ends it; later ones have no effect. */
export interface IncomingCall {
  /** The address that it was sent to: a bound one, or this node's system address. */
  readonly address: string;
  readonly id: string;
  /** corrId of its envelope, by which the sentinel identifies the call. */
  readonly corrId?: string | undefined;
  readonly method: string;
  /** Parameters as received. `readParams` normalizes their forms. */
  readonly params: unknown;
  /** True if the caller asked for a stream. */
  readonly isStream: boolean;
  readonly replyTo: string;
  readonly traceId: string | undefined;
  readonly meta: Record<string, unknown> | undefined;
  /** Remaining hops; absent if the request does not count them. */
  readonly ttl?: number | undefined;
  /** Aborts when the call is cancelled. The reason is a FabricError whose `details.reason` is, for example, `caller-gone`. */
  readonly signal: AbortSignal;
  /**
   * The node that made the call; asked for when this is first read. Read it before the call ends. Undefined if the call has no
   * replyTo. Anonymous if the sentinel is not of this software, and if the sentinel did not answer. Never rejects.
   */
  readonly caller: Promise<Caller | undefined>;
  /**
   * True if a node of the caller's principal serves `address`. Also true at a sentinel of other software, which cannot tell. Never
   * rejects.
   */
  callerServes(address: string): Promise<boolean>;
  /**
   * Sends the result. Resolves when the caller has read enough of its answers for the next one; a server with large answers
   * should wait for it. Never rejects: an answer for which there is no room becomes the error READER_TOO_SLOW.
   */
  reply(result: unknown): Promise<void>;
  /** Sends an error reply. `rpcError` decides which parts of the error travel. */
  fail(error: unknown, logId?: string): void;
  /**
   * Sends an error reply before anything was executed. The caller's link repeats a request that was refused with NODE_BUSY until the
   * deadline of its call.
   */
  refuse(error: FabricError): void;
  /** Sends one item of a stream, which must not be null. Resolves when the next item may be sent. Rejects after the end. */
  push(item: unknown): Promise<void>;
  /** As `push`, but throws, and returns a promise only if the next item must wait. */
  pushNow(item: unknown): Promise<void> | undefined;
  /** Ends a stream. */
  end(): void;
  /** Acknowledges the request; later calls have no effect. Present if the sender asks for it and the service journals the request. */
  readonly acknowledge?: (() => void) | undefined;
}

/** Handles the messages to a bound address. */
export interface Service {
  onCall(call: IncomingCall): void;
  /**
   * Handles a Data message that is not a JSON-RPC request. A result other than null or undefined goes to its replyTo. A FabricError that
   * is thrown before the first await refuses the message: a sender that waits for an acknowledgement receives the error. `acknowledge`
   * is passed for a durable message whose sender waits for it.
   */
  onMessage?(payload: unknown, envelope: Envelope, acknowledge?: () => void): unknown;
  /**
   * True if the service journals this message. The service then acknowledges it, and recognizes a repeated one, which the link does
   * for other messages and for repetitions of an open call. A durable message that is rejected before its acknowledgement is refused.
   * @default false
   */
  isDurable?(payload: unknown): boolean;
}

export interface BindOptions {
  /** Capabilities to advertise in addition to `fame.capability.agent`. */
  capabilities?: readonly string[] | undefined;
}
