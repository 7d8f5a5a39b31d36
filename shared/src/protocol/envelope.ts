// The envelope: one flat JSON object a WebSocket message. These are the types and the small makers; bytes are the codec's.
// Everything optional is absent when unset. docs/protocol.md explains each field.
import { newId } from '../ids.ts';

/** Bits of `rtype`: what the sender wants back. */
export const RTYPE = Object.freeze({ none: 0, ack: 1, reply: 2, stream: 4 });

/** Bits of `flowFlags`. */
export const FLOW = Object.freeze({ syn: 1, ack: 2, reset: 4 });

export interface NodeAttach {
  type: 'NodeAttach';
  originType: 'downstream' | 'peer';
  systemId: string;
  instanceId: string;
  assignedPath?: string;
  capabilities?: string[];
  acceptedLogicals?: string[];
}
export interface NodeAttachAck {
  type: 'NodeAttachAck';
  ok: boolean;
  code?: string;
  reason?: string;
  refId?: string;
  targetSystemId?: string;
  targetPhysicalPath?: string;
  assignedPath?: string;
  routingEpoch?: string;
  /** `name/version` of the sentinel's software; only ours says it, so a link knows whether it must pace bursts. */
  software?: string;
  /** Only ours says it: whether the node found its earlier session, with what waited in it, or begins anew. */
  resumed?: boolean;
}
export interface AddressBind {
  type: 'AddressBind';
  address: string;
  physicalPath?: string;
  encryptionKeyId?: string;
}
export interface AddressBindAck {
  type: 'AddressBindAck';
  ok: boolean;
  refId?: string;
  address?: string;
  code?: string;
  reason?: string;
}
export interface AddressUnbind {
  type: 'AddressUnbind';
  address: string;
}
export interface AddressUnbindAck {
  type: 'AddressUnbindAck';
  ok: boolean;
  refId?: string;
  address?: string;
  code?: string;
  reason?: string;
}
export interface CapabilityAdvertise {
  type: 'CapabilityAdvertise';
  capabilities: string[];
  address: string;
}
export interface CapabilityAdvertiseAck {
  type: 'CapabilityAdvertiseAck';
  ok: boolean;
  refId?: string;
  capabilities?: string[];
  address?: string;
  code?: string;
  reason?: string;
}
export interface CapabilityWithdraw {
  type: 'CapabilityWithdraw';
  capabilities: string[];
  address: string;
}
export interface CapabilityWithdrawAck {
  type: 'CapabilityWithdrawAck';
  ok: boolean;
  refId?: string;
  capabilities?: string[];
  address?: string;
  code?: string;
  reason?: string;
}
export interface NodeHeartbeat {
  type: 'NodeHeartbeat';
  address?: string;
  systemId?: string;
}
export interface NodeHeartbeatAck {
  type: 'NodeHeartbeatAck';
  ok: boolean;
  refId?: string;
  routingEpoch?: string;
}
export interface DataFrame {
  type: 'Data';
  payload: unknown;
  codec?: string;
}
export interface DeliveryAck {
  type: 'DeliveryAck';
  ok: boolean;
  refId?: string;
  code?: string;
  reason?: string;
}
export interface CreditUpdate {
  type: 'CreditUpdate';
  flowId: string;
  credits: number;
}
/** Ours: the caller of `corrId` gave up. Link-local; a sentinel that does not know it drops it. */
export interface CallCancel {
  type: 'CallCancel';
  corrId: string;
  reason?: string;
}
/** Frames that only pass through: their content is the business of the two ends. */
export interface OpaqueFrame {
  type: 'SecureOpen' | 'SecureAccept' | 'SecureClose' | 'KeyRequest' | 'KeyAnnounce';
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
  | OpaqueFrame;

export type FrameType = Frame['type'];
export type FrameOf<T extends FrameType> = Extract<Frame, { type: T }>;

export interface EnvelopeHeader {
  version?: string;
  /** Identity of the message: the same on every hop and on every retry. */
  id: string;
  /** Hash of the sender's path (`sidOf`). */
  sid?: string;
  traceId?: string;
  /** Absent: a link-local frame, or routed by `capabilities`. */
  to?: string;
  replyTo?: string;
  capabilities?: string[];
  /** Sum of `RTYPE` bits. */
  rtype?: number;
  corrId?: string;
  /** Flow that credits are counted by. */
  flowId?: string;
  seqId?: number;
  /** Sum of `FLOW` bits. */
  flowFlags?: number;
  /** Hops that are left. */
  ttl?: number;
  priority?: string;
  /** ISO 8601, milliseconds, UTC. */
  ts?: string;
  sec?: unknown;
  aft?: string;
  meta?: Record<string, unknown>;
}

export interface Envelope<F extends Frame = Frame> extends EnvelopeHeader {
  frame: F;
}

// toISOString costs more than the rest of making an envelope; a burst shares the text of its millisecond.
let stampedMs = 0;
let stamp = '';
const timestamp = (): string => {
  const ms = Date.now();
  if (ms !== stampedMs) {
    stampedMs = ms;
    stamp = new Date(ms).toISOString();
  }
  return stamp;
};

/** Makes an envelope with a fresh `id` and `ts`; `header` wins over both. Key order puts `frame` last but for `ts`. */
export function makeEnvelope<F extends Frame>(frame: F, header: Partial<EnvelopeHeader> = {}): Envelope<F> {
  return { version: '1.0', id: newId(), ...header, frame, ts: timestamp() };
}
