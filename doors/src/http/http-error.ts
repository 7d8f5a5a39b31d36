// Errors of the plain HTTP door: the code, the message, the fix, and an example command if there is one.
import { ERRORS, type ErrorCode, type FabricError } from '@fame-fabric/shared';
import type { Refusal } from '../door.ts';
import { TOO_LARGE_FIX } from '../shared/message-with-fix.ts';

/** An error as the HTTP door and its streams send it. */
export interface HttpErrorBody {
  readonly code: string;
  readonly message: string;
  readonly fix?: string | undefined;
  readonly example?: string | undefined;
  /** True if the same request may succeed later. */
  readonly retryable: boolean;
  readonly details?: Record<string, unknown> | undefined;
}

/** Fixes for HTTP clients. The table of codes has the fixes for nodes of the fabric. */
const FIXES: Readonly<Record<string, string>> = {
  AUTH_MISSING: 'Send a key as `Authorization: Bearer KEY`. `npx fame-fabric key add NAME` makes one.',
  AUTH_INVALID: 'Send a valid key as `Authorization: Bearer KEY`. `npx fame-fabric key add NAME` makes one.',
  PROTO_MALFORMED: 'Correct the request. Bodies are JSON.',
  MESSAGE_TOO_LARGE: TOO_LARGE_FIX,
};

export function httpError(error: FabricError): HttpErrorBody {
  const { code, message, retryable } = error;
  const { fix, example, ...rest } = error.details ?? {};
  return {
    code,
    message,
    fix: typeof fix === 'string' ? fix : (FIXES[code] ?? ERRORS[code as ErrorCode]?.fix),
    example: typeof example === 'string' ? example : undefined,
    retryable,
    details: Object.keys(rest).length > 0 ? rest : undefined,
  };
}

export const httpRefusal = (error: FabricError): Refusal => ({
  headers: { 'content-type': 'application/json; charset=utf-8' },
  body: `${JSON.stringify({ error: httpError(error) }, null, 2)}\n`,
});
