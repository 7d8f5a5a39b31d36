// The sentinel's own envelopes: acks, NACKs, cancels and announcements, each with the header fields that nodes match on.
import type { DeliveryAck, EnvelopeHeader, ErrorCode, Frame } from '@fame-fabric/shared';
import { encode, FLOW, makeEnvelope, newId, RTYPE, SYSTEM_PARTICIPANT } from '@fame-fabric/shared/router';
import type { Identity } from './identity.ts';

/** The fields that identify a refused message to its sender; missing ones are empty. */
export interface Refused {
  readonly id: string;
  readonly replyTo: string;
  readonly corrId: string;
}

// JSON leaves undefined fields out.
const envelopeOf = (
  { sid, flowId, sign }: Identity,
  frame: Frame,
  header: { [Field in keyof EnvelopeHeader]?: EnvelopeHeader[Field] | undefined },
): Uint8Array => {
  const envelope = makeEnvelope(frame, {
    sid,
    flowId,
    seqId: 0,
    flowFlags: 0,
    ...header,
  } as Partial<EnvelopeHeader>);
  sign?.(envelope);
  return encode(envelope);
};

/** The answer to a link-local request: same corrId and traceId. */
export function answer(
  identity: Identity,
  request: Partial<EnvelopeHeader> | undefined,
  frame: Frame,
  flowFlags = 0,
): Uint8Array {
  return envelopeOf(identity, frame, { traceId: request?.traceId, corrId: request?.corrId, flowFlags });
}

/**
 * The negative DeliveryAck for a refused message. It goes to the caller's reply mailbox if the message named one, else it is
 * a link-local note to the sender. `retryAfterMs` is for nodes of our software.
 */
export function nack(
  identity: Identity,
  refused: Refused,
  code: ErrorCode,
  reason: string,
  retryAfterMs?: number,
): Uint8Array {
  const { id: refId, replyTo, corrId } = refused;
  const frame: DeliveryAck = {
    type: 'DeliveryAck',
    ok: false,
    code,
    reason: reason.slice(0, 512),
    refId,
    retryAfterMs,
  };
  return envelopeOf(identity, frame, {
    to: replyTo !== '' && corrId !== '' ? replyTo : undefined,
    corrId: corrId === '' ? undefined : corrId,
    flowFlags: FLOW.reset,
  });
}

/** Notifies a callee that its caller cancelled; `replyTo` distinguishes callers that chose the same corrId. */
export function cancelNotice(
  identity: Identity,
  corrId: string,
  replyTo: string,
  reason: string,
): Uint8Array {
  return envelopeOf(identity, { type: 'CallCancel', corrId, reason }, { replyTo });
}

/** A frame of this sentinel to a neighbor that answers it, if at all, with another frame of its own type. */
export const requestTo = (
  identity: Identity,
  frame: Frame,
  { corrId, traceId }: Partial<EnvelopeHeader>,
): Uint8Array => envelopeOf(identity, frame, { corrId, traceId });

/** A link-local request of this sentinel to a parent or peer. */
export const announcement = (identity: Identity, frame: Frame): Uint8Array =>
  request(identity, frame, newId());

/** A link-local request to another sentinel, whose answer has `corrId`. */
export const request = (identity: Identity, frame: Frame, corrId: string): Uint8Array =>
  envelopeOf(identity, frame, {
    replyTo: `${SYSTEM_PARTICIPANT}@${identity.path}`,
    rtype: RTYPE.ack,
    corrId,
  });
