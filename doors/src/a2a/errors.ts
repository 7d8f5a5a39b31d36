// Errors in the form of A2A: the classes of the SDK, with our code in the metadata of `google.rpc.ErrorInfo`.
import { FabricError, type Logger, newId } from '@fame-fabric/shared';
import type { Refusal } from '../door.ts';
import { messageWithFix } from '../shared/message-with-fix.ts';
import { statusOf } from '../shared/status.ts';
import {
  A2AError,
  RequestMalformedError,
  restStatusFor,
  TaskNotCancelableError,
  TaskNotFoundError,
  toRestErrorBody,
  UnsupportedOperationError,
} from './sdk.ts';

type ErrorClass = new (options: {
  message: string;
  cause: unknown;
  metadata: Record<string, string>;
}) => A2AError;

/** Codes of the fabric that have a class in A2A. The others are internal errors with their code in the metadata. */
const CLASSES: Readonly<Record<string, ErrorClass>> = Object.freeze({
  TASK_UNKNOWN: TaskNotFoundError,
  TURN_UNKNOWN: TaskNotFoundError,
  CONVERSATION_UNKNOWN: TaskNotFoundError,
  TASK_NOT_CANCELABLE: TaskNotCancelableError,
  OPERATION_UNSUPPORTED: UnsupportedOperationError,
  METHOD_NOT_FOUND: UnsupportedOperationError,
  PARAMS_INVALID: RequestMalformedError,
  PROTO_TOO_DEEP: RequestMalformedError,
  TURN_CONFLICT: RequestMalformedError,
  OUTBOUND_FORBIDDEN: RequestMalformedError,
  APPROVAL_ANSWERED: UnsupportedOperationError,
});

/** The error for an unknown task, and for one of another caller. */
export const taskNotFound = (id: string): A2AError =>
  new TaskNotFoundError({
    message: 'There is no task with this id, or it belongs to another caller.',
    metadata: { code: 'TASK_UNKNOWN', taskId: id.slice(0, 64) },
  });

/** Converts an error for a client. An error of the software itself is logged, and the client gets the id of the log line. */
export function a2aError(error: unknown, log: Logger): A2AError {
  if (error instanceof A2AError) return error;
  if (!(error instanceof FabricError)) {
    const logId = newId();
    log.error('a2a request failed', { logId, error });
    return new A2AError({
      message: `Internal error. The log of the door has the cause: ${logId}`,
      cause: error,
    });
  }
  const { code, message, retryable } = error;
  const metadata = { code, ...(retryable ? { retryable: 'true' } : {}) };
  const Class = CLASSES[code] ?? A2AError;
  return new Class({ message, cause: error, metadata });
}

/** HTTP status of an error: from the specification, otherwise from the fabric's code. */
export function httpStatusOf(error: A2AError): number {
  const isInternal = error.reason === 'INTERNAL_ERROR';
  return isInternal && error.cause instanceof FabricError ? statusOf(error.cause) : restStatusFor(error);
}

/** Writes an error from before the routes, such as a missing credential, as `google.rpc.Status`. */
export function refusal(error: FabricError, status: number): Refusal {
  const { code } = error;
  const message = messageWithFix(error);
  return { body: toRestErrorBody(new A2AError({ message, metadata: { code } }), status) };
}
