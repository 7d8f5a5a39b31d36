// The envelope: one flat JSON object per WebSocket message. Its types and `makeEnvelope`; `codec.ts` converts it to bytes.
// Optional fields that are undefined are omitted on the wire. docs/protocol.md explains each field.

import type { Principal } from '../access/principal.ts';
import { systemClock } from '../async/clock.ts';
import { newId } from '../ids.ts';

/** Bits of `rtype`: the responses that the sender expects. */
export const RTYPE = Object.freeze({ none: 0, ack: 1, reply: 2, stream: 4 });

/** Bits of `flowFlags`. */
export const FLOW = Object.freeze({ syn: 1, ack: 2, reset: 4 });

export interface NodeAttach {
  type: 'NodeAttach';
  originType: 'downstream' | 'peer';
  systemId: string;
  instanceId: string;
  assignedPath?: string | undefined;
  capabilities?: string[] | undefined;
  acceptedLogicals?: string[] | undefined;
  /** Public keys of the node, as JSON Web Keys, if it signs its envelopes. */
  keys?: readonly unknown[] | undefined;
  /** Our extension: the token of an earlier attach, which resumes its session. Secret. */
  resumeToken?: string | undefined;
  /** Our extension: a fresh token on a connection that is attached, which renews its credential. Secret. */
  authorization?: string | undefined;
}
export interface NodeAttachAck {
  type: 'NodeAttachAck';
  ok: boolean;
  code?: string | undefined;
  reason?: string | undefined;
  refId?: string | undefined;
  targetSystemId?: string | undefined;
  targetPhysicalPath?: string | undefined;
  assignedPath?: string | undefined;
  routingEpoch?: string | undefined;
  /** Public keys of the sentinel, as JSON Web Keys, if it signs its envelopes. */
  keys?: readonly unknown[] | undefined;
  /** `name/version` of the sentinel's software. Our extension: a link paces its bursts for other software. */
  software?: string | undefined;
  /** Our extension: true if the node's earlier session was resumed with its queued messages, false if it is new. */
  resumed?: boolean | undefined;
  /** Our extension: resumes the session at the next attach, also in another process. Secret. */
  resumeToken?: string | undefined;
  /** Our extension: the principal of the node. A sentinel that states it answers WhoIs. */
  principal?: Principal | undefined;
  /** Our extension: time until the credential of the node expires, in ms. A sentinel that states it renews credentials in-band. */
  expiresInMs?: number | undefined;
  /** Our extension: the sentinel grants credit for a flow after this number of bytes, or earlier after 24 messages. */
  creditBytes?: number | undefined;
  /** Our extension: open calls of the node that the sentinel admits. Further ones wait in the link. */
  maxOpenCalls?: number | undefined;
}
export interface AddressBind {
  type: 'AddressBind';
  address: string;
  physicalPath?: string | undefined;
  encryptionKeyId?: string | undefined;
}
export interface AddressBindAck {
  type: 'AddressBindAck';
  ok: boolean;
  refId?: string | undefined;
  address?: string | undefined;
  code?: string | undefined;
  reason?: string | undefined;
}
export interface AddressUnbind {
  type: 'AddressUnbind';
  address: string;
}
export interface AddressUnbindAck {
  type: 'AddressUnbindAck';
  ok: boolean;
  refId?: string | undefined;
  address?: string | undefined;
  code?: string | undefined;
  reason?: string | undefined;
}
export interface CapabilityAdvertise {
  type: 'CapabilityAdvertise';
  capabilities: string[];
  address: string;
}
export interface CapabilityAdvertiseAck {
  type: 'CapabilityAdvertiseAck';
  ok: boolean;
  refId?: string | undefined;
  capabilities?: string[] | undefined;
  address?: string | undefined;
  code?: string | undefined;
  reason?: string | undefined;
}
export interface CapabilityWithdraw {
  type: 'CapabilityWithdraw';
  capabilities: string[];
  address: string;
}
export interface CapabilityWithdrawAck {
  type: 'CapabilityWithdrawAck';
  ok: boolean;
  refId?: string | undefined;
  capabilities?: string[] | undefined;
  address?: string | undefined;
  code?: string | undefined;
  reason?: string | undefined;
}
export interface NodeHeartbeat {
  type: 'NodeHeartbeat';
  address?: string | undefined;
  systemId?: string | undefined;
}
export interface NodeHeartbeatAck {
  type: 'NodeHeartbeatAck';
  ok: boolean;
  refId?: string | undefined;
  routingEpoch?: string | undefined;
}
export interface DataFrame {
  type: 'Data';
  payload: unknown;
  codec?: string | undefined;
  /** Digest of the payload, in signed envelopes. */
  pd?: string | undefined;
}
export interface DeliveryAck {
  type: 'DeliveryAck';
  ok: boolean;
  refId?: string | undefined;
  code?: string | undefined;
  reason?: string | undefined;
  /** Our extension: time after which the message may be sent again, in ms. */
  retryAfterMs?: number | undefined;
}
export interface CreditUpdate {
  type: 'CreditUpdate';
  flowId: string;
  credits: number;
}
/** Our extension: the caller of `corrId` cancelled the call. Link-local. Sentinels without the extension ignore it. */
export interface CallCancel {
  type: 'CallCancel';
  corrId: string;
  reason?: string | undefined;
}
/**
 * Our extension: the callee of an open call asks its sentinel who the caller is. `address` and `corrId` are the replyTo and the
 * corrId of the request. Only for sentinels that state a principal in their NodeAttachAck.
 */
export interface WhoIs {
  type: 'WhoIs';
  address: string;
  corrId: string;
  /** An address. The answer states whether a node of the caller's principal serves it. */
  serves?: string | undefined;
  /**
   * The call that the caller made this one for: its replyTo and its corrId, separated by a blank. The answer then states the caller of that
   * call, if the caller of this one has the right.
   */
  onBehalf?: string | undefined;
  /** Number of the next calls of this callee whose callers the sentinel may state with the request. @default 0 */
  ahead?: number | undefined;
}
/**
 * Our extension. Not `ok`, with code NODE_GONE, if the sentinel knows no such open call of this callee. Without a corrId it answers no WhoIs:
 * it states the caller of the request that follows it on the connection.
 */
export interface WhoIsAck {
  type: 'WhoIsAck';
  ok: boolean;
  refId?: string | undefined;
  /** The replyTo and the corrId of the request that follows. */
  address?: string | undefined;
  ofCall?: string | undefined;
  principal?: Principal | undefined;
  /** True if a node of the caller's principal serves the address of the WhoIs. Absent if it named none. */
  serves?: boolean | undefined;
  code?: string | undefined;
  reason?: string | undefined;
}
/** A node asks its sentinel for a key: by its id, or the encryption key of the node that serves an address. */
export interface KeyRequest {
  type: 'KeyRequest';
  kid?: string | undefined;
  address?: string | undefined;
  /** The path of the node that asks. */
  physicalPath?: string | undefined;
}
/** Keys of the node at `physicalPath`, as JSON Web Keys. With a corrId it answers a KeyRequest. */
export interface KeyAnnounce {
  type: 'KeyAnnounce';
  physicalPath?: string | undefined;
  keys?: readonly unknown[] | undefined;
  /** ISO 8601. */
  created?: string | undefined;
  expires?: string | undefined;
  address?: string | undefined;
}
/** Frames that sentinels only forward. Only the two ends read their content. */
export interface OpaqueFrame {
  type: 'SecureOpen' | 'SecureAccept' | 'SecureClose';
  [key: string]: unknown;
}

export type Frame =
  | NodeAttach
  | NodeAttachAck
  | AddressBind
  | AddressBindAck
  | AddressUnbind
  | AddressUnbindAck
  | CapabilityAdvertise
  | CapabilityAdvertiseAck
  | CapabilityWithdraw
  | CapabilityWithdrawAck
  | NodeHeartbeat
  | NodeHeartbeatAck
  | DataFrame
  | DeliveryAck
  | CreditUpdate
  | CallCancel
  | WhoIs
  | WhoIsAck
  | KeyRequest
  | KeyAnnounce
  | OpaqueFrame;

export type FrameType = Frame['type'];
export type FrameOf<T extends FrameType> = Extract<Frame, { type: T }>;

export interface EnvelopeHeader {
  version?: string | undefined;
  /** Identifies the message. The same on every hop and in every repetition. */
  id: string;
  /** Hash of the sender's path (`sidOf`). */
  sid?: string | undefined;
  traceId?: string | undefined;
  /** Absent: a link-local frame, or routed by `capabilities`. */
  to?: string | undefined;
  replyTo?: string | undefined;
  capabilities?: string[] | undefined;
  /** Sum of `RTYPE` bits. */
  rtype?: number | undefined;
  corrId?: string | undefined;
  /** Flow on which credits are counted. */
  flowId?: string | undefined;
  seqId?: number | undefined;
  /** Sum of `FLOW` bits. */
  flowFlags?: number | undefined;
  /** Remaining hops. */
  ttl?: number | undefined;
  priority?: string | undefined;
  /** ISO 8601, milliseconds, UTC. */
  ts?: string | undefined;
  sec?: unknown;
  aft?: string | undefined;
  meta?: Record<string, unknown> | undefined;
}

export interface Envelope<F extends Frame = Frame> extends EnvelopeHeader {
  frame: F;
}

// toISOString costs more than the rest of makeEnvelope, so envelopes of the same millisecond share its result.
let stampedMs = 0;
let stamp = '';
const timestamp = (): string => {
  const ms = systemClock.now();
  if (ms !== stampedMs) {
    stampedMs = ms;
    stamp = new Date(ms).toISOString();
  }
  return stamp;
};

/** True if the sender of an envelope expects the given kind of response, a bit of `RTYPE`. */
export const expects = ({ rtype = 0 }: Pick<EnvelopeHeader, 'rtype'>, response: number): boolean =>
  (rtype & response) !== 0;

/** Creates an envelope with a fresh `id`, which `header` may override, and a fresh `ts`. Only `ts` follows `frame`. */
export function makeEnvelope<F extends Frame>(frame: F, header: Partial<EnvelopeHeader> = {}): Envelope<F> {
  return { version: '1.0', id: newId(), ...header, frame, ts: timestamp() };
}
