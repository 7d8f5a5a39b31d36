// The error for a negative DeliveryAck, which refuses a message.
import { type ErrorCode, isErrorCode } from '../errors/codes.ts';
import { FabricError } from '../errors/error.ts';
import type { DeliveryAck } from '../protocol/envelope.ts';

/** Codes with which foreign sentinels report a callee that is gone. */
const GONE_CODES = new Set(['CHILD_UNREACHABLE', 'ROUTE_CONNECTOR_CLOSED', 'PEER_UNREACHABLE']);

/** The fields of a negative DeliveryAck that describe the refusal. */
export type Nack = Pick<DeliveryAck, 'code' | 'reason' | 'retryAfterMs'>;

/** Creates the error for a negative DeliveryAck of a message to `target`. */
export function nackError({ code, reason, retryAfterMs }: Nack, target: string): FabricError {
  let known: ErrorCode = 'NO_ROUTE';
  if (isErrorCode(code)) known = code;
  else if (code !== undefined && GONE_CODES.has(code)) known = 'NODE_GONE';
  return new FabricError(
    known,
    reason || `The message to ${target} was not delivered (${code ?? 'no code'})`,
    retryAfterMs === undefined ? {} : { details: { retryAfterMs } },
  );
}
