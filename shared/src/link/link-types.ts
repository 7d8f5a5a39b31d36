// What a link takes and gives. `link.ts` implements it; agents, clients and gateways are written against it.
import type { Clock } from '../async/clock.ts';
import type { Logger } from '../log.ts';
import type { Envelope } from '../protocol/envelope.ts';
import type { Dial } from './transport.ts';

/** Where a link stands. `closed` is final. */
export type LinkState = 'idle' | 'connecting' | 'attached' | 'reconnecting' | 'draining' | 'closed';

/** An address, or the capabilities that the callee must have, all of them. */
export type CallTarget = string | { readonly capabilities: readonly string[] };

export interface LinkOptions {
  /** Admission URL without its last segment, such as `ws://127.0.0.1:8000/fame/v1/attach/ws/downstream`. */
  url: string;
  dial: Dial;
  /** @default a random id per process */
  systemId?: string;
  /** Bearer token, offered as WebSocket subprotocol. */
  token?: string;
  /** Logical roots this node accepts. @default ['fame.fabric'] */
  acceptedLogicals?: readonly string[];
  /** How long the first attach keeps trying, in ms. @default 30_000 */
  connectTimeoutMs?: number;
  /** @default 15_000 */
  heartbeatMs?: number;
  /** A peer that is silent for so long is given up, in ms. @default 30_000 */
  silentAfterMs?: number;
  /** First and longest pause between attempts to reconnect, in ms, jittered. @default 200 and 10_000 */
  backoffMinMs?: number;
  backoffMaxMs?: number;
  clock?: Clock;
  log?: Logger;
  /**
   * `at-least-once`: requests and answers are acknowledged by the other end, and sent again until they are. Messages of others
   * who want that are acknowledged, and told from repeats, in either profile. @default 'at-most-once'
   */
  deliveryProfile?: 'at-most-once' | 'at-least-once';
  /** Hash of the own path for the `sid` field; absent in a browser. */
  sidOf?: (path: string) => string;
  /** Sees every envelope that is sent or received. */
  trace?: (direction: 'sent' | 'received', envelope: Envelope) => void;
}

export interface CallOptions {
  /** How long to wait for the answer, or for the next item of a stream, in ms. @default 30_000 */
  timeoutMs?: number;
  /** Gives the call up; the callee is told where it can be. */
  signal?: AbortSignal;
  /** JSON-RPC id and corrId; the same id again is the same call. @default a fresh id */
  id?: string;
  traceId?: string;
  /** Envelope metadata that travels with the request. */
  meta?: Record<string, unknown>;
  /**
   * After a reconnect the same request (same id) is sent again until it is answered. For operations that are idempotent
   * by id; all others fail when an answer can no longer come. A stream must then yield the same items from its start:
   * those that were here before are skipped. @default false
   */
  resend?: boolean;
}

/** A request that arrived for a bound address. Exactly one of `reply`, `fail` or `end` ends it; later ones do nothing. */
export interface IncomingCall {
  /** The bound address, or the own system address, that it was sent to. */
  readonly address: string;
  readonly id: string;
  readonly method: string;
  /** As on the wire; `readParams` makes sense of it. */
  readonly params: unknown;
  /** The caller wants many items. */
  readonly isStream: boolean;
  readonly replyTo: string;
  readonly traceId: string | undefined;
  readonly meta: Record<string, unknown> | undefined;
  /** Aborts when the caller gave the call up, with a reason such as `caller-gone`. */
  readonly signal: AbortSignal;
  /** Sends the one result. */
  reply(result: unknown): void;
  /** Sends an error reply; `rpcError` decides what may travel. */
  fail(error: unknown, logId?: string): void;
  /** Sends one item of a stream; resolves when the next one may be sent. Rejects when the call is over. Never null. */
  push(item: unknown): Promise<void>;
  /** Ends a stream. */
  end(): void;
}

/** What serves a bound address. */
export interface Service {
  onCall(call: IncomingCall): void;
  /** A Data message that is not a JSON-RPC request; a value that is not null or undefined is sent to its replyTo. */
  onMessage?(payload: unknown, envelope: Envelope): unknown;
}

export interface BindOptions {
  /** Advertised beside `fame.capability.agent`. */
  capabilities?: readonly string[];
}
