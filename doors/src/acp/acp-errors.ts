// Converts errors of the fabric to JSON-RPC errors. `data.code` is the code of the fabric.
import { ERRORS, type ErrorCode, isFabricError } from '@fame-fabric/shared';
import { errorMessage } from '@fame-fabric/shared/internal';
import { RequestError } from './sdk.ts';

const INVALID_PARAMS = -32_602;
const INTERNAL = -32_603;
const FAULTS_OF_PARAMS = new Set(['PARAMS_INVALID', 'MESSAGE_TOO_LARGE', 'OWNER_UNKNOWN']);

/** The error for the editor. An unknown conversation is an unknown session. */
export function requestErrorOf(error: unknown, sessionId?: string): RequestError {
  if (error instanceof RequestError) return error;
  if (!isFabricError(error)) return new RequestError(INTERNAL, errorMessage(error));
  const { code, message, retryable, details } = error;
  if (code === 'CONVERSATION_UNKNOWN' && sessionId !== undefined)
    return RequestError.sessionNotFound(sessionId);
  const fix = typeof details?.fix === 'string' ? details.fix : ERRORS[code as ErrorCode]?.fix;
  const number = FAULTS_OF_PARAMS.has(code) ? INVALID_PARAMS : INTERNAL;
  return new RequestError(number, `${message} (${code})`, { code, retryable, ...(fix ? { fix } : {}) });
}
