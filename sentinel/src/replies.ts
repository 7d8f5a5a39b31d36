// What the sentinel itself says: acks, NACKs and complaints. Each is one envelope with the fields that nodes match on.
import {
  type DeliveryAck,
  type Envelope,
  type ErrorCode,
  encode,
  FLOW,
  type Frame,
  makeEnvelope,
  newId,
  RTYPE,
  SYSTEM_PARTICIPANT,
} from '@fame-fabric/shared';

export interface Identity {
  /** Id of this sentinel, a segment of every path below it. */
  readonly id: string;
  /** Physical path, such as `/S`, or `/P/S` below a parent. */
  path: string;
  sid: string;
  /** Flow of everything the sentinel says by itself. */
  readonly flowId: string;
  /** `name/version`. */
  readonly software: string;
}

/** The answer to a link-local request: same corrId and traceId. */
export function answer(self: Identity, request: Envelope, frame: Frame): Uint8Array {
  return encode(
    makeEnvelope(frame, {
      sid: self.sid,
      ...(request.traceId === undefined ? {} : { traceId: request.traceId }),
      ...(request.corrId === undefined ? {} : { corrId: request.corrId }),
      flowId: self.flowId,
      seqId: 0,
      flowFlags: 0,
    }),
  );
}

export interface Refused {
  readonly id: string;
  readonly replyTo: string;
  readonly corrId: string;
}

/**
 * The negative DeliveryAck for a refused message. With a corrId it goes to the caller's reply mailbox; without one nobody
 * waits for it, and it is a link-local note to the sender.
 */
export function nack(self: Identity, refused: Refused, code: ErrorCode, reason: string): Uint8Array {
  const frame: DeliveryAck = {
    type: 'DeliveryAck',
    ok: false,
    code,
    reason: reason.slice(0, 512),
    refId: refused.id,
  };
  const addressed = refused.replyTo !== '' && refused.corrId !== '';
  return encode(
    makeEnvelope<DeliveryAck>(frame, {
      sid: self.sid,
      ...(addressed ? { to: refused.replyTo } : {}),
      ...(refused.corrId === '' ? {} : { corrId: refused.corrId }),
      flowId: self.flowId,
      seqId: 0,
      flowFlags: FLOW.reset,
    }),
  );
}

/** Tells a callee that its caller gave the call up; `replyTo` tells callers apart that chose the same corrId. */
export function cancelNotice(self: Identity, corrId: string, replyTo: string, reason: string): Uint8Array {
  const header = { sid: self.sid, replyTo, flowId: self.flowId, seqId: 0, flowFlags: 0 };
  return encode(makeEnvelope({ type: 'CallCancel', corrId, reason }, header));
}

/** What this sentinel says as a node itself: a link-local request to a parent or peer. */
export function announcement(self: Identity, frame: Frame): Uint8Array {
  return encode(
    makeEnvelope(frame, {
      sid: self.sid,
      replyTo: `${SYSTEM_PARTICIPANT}@${self.path}`,
      rtype: RTYPE.ack,
      corrId: newId(),
      flowId: self.flowId,
      seqId: 0,
      flowFlags: 0,
    }),
  );
}
