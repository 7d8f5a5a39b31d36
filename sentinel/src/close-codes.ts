// WebSocket close codes and reasons of the sentinel. docs/protocol.md lists them with advice for nodes. Codes below 4000 are those of
// RFC 6455.
import type { ErrorCode } from '@fame-fabric/shared';
import type { DetachReason } from './counters.ts';

export const CLOSE = Object.freeze({
  normal: 1000,
  goingAway: 1001,
  protocolError: 1002,
  tooLarge: 1009,
  policy: 1008,
  serviceRestart: 1012,
  tryLater: 1013,
  slowConsumer: 4008,
  badFrames: 4400,
  outOfOrder: 4405,
  admissionTimeout: 4408,
  credentialRevoked: 4410,
  quotaExceeded: 4429,
});

const DETACH_REASONS: Readonly<Record<number, DetachReason>> = Object.freeze({
  [CLOSE.goingAway]: 'silent',
  [CLOSE.serviceRestart]: 'restart',
  [CLOSE.tryLater]: 'shed',
  [CLOSE.slowConsumer]: 'slow',
  [CLOSE.badFrames]: 'bad_frames',
  [CLOSE.credentialRevoked]: 'credential',
  [CLOSE.quotaExceeded]: 'quota',
});

/** The reason that `/metrics` counts for an attached node that is closed with this code. */
export const detachReasonOf = (code: number): DetachReason => DETACH_REASONS[code] ?? 'lost';

/** Room for the largest reason of a close frame (RFC 6455, 5.5). */
const reasonBuffer = new Uint8Array(123);
const encoder = new TextEncoder();

/** Cuts a reason to what fits into a close frame, between characters: `ws` throws if it is longer. */
export const closeReason = (reason: string): string =>
  reason.slice(0, encoder.encodeInto(reason, reasonBuffer).read);

/** The close code after an attach was refused with this code. */
export const closeCodeOfRefusal = (code: ErrorCode): number => {
  if (code === 'ADMIT_FULL' || code === 'AUTH_UNAVAILABLE') return CLOSE.tryLater;
  if (code === 'ADMIT_TIMEOUT') return CLOSE.admissionTimeout;
  if (code === 'QUOTA_EXCEEDED') return CLOSE.quotaExceeded;
  if (code === 'PROTO_OUT_OF_ORDER') return CLOSE.outOfOrder;
  if (code === 'MESSAGE_TOO_LARGE') return CLOSE.tooLarge;
  return CLOSE.policy;
};
