// Errors in the form of the OpenAI API: `{ error: { message, type, param, code } }`. `code` is a code of the fabric, unless OpenAI clients
// check for a code of OpenAI.
import { FabricError } from '@fame-fabric/shared';
import type { Refusal } from '../door.ts';
import { messageWithFix } from '../shared/message-with-fix.ts';

export interface OpenAiError {
  readonly message: string;
  readonly type: string;
  readonly param: string | null;
  readonly code: string | null;
}

/** Builds the error of a parameter. `param` is its path in the body, such as `messages[0].content`. */
export const invalid = (param: string, fault: string): FabricError =>
  new FabricError('PARAMS_INVALID', `${param} ${fault}`, { details: { param } });

/** Builds the error for a model that is not a chat agent of the caller. `fix` says how to find one. */
export const modelNotFound = (model: string, fix: string): FabricError =>
  new FabricError(
    'NO_ROUTE',
    `The model ${JSON.stringify(model.slice(0, 200))} does not exist or you do not have access to it`,
    { retryable: false, details: { param: 'model', openAiCode: 'model_not_found', fix } },
  );

/** Error in the form of the API. */
export const errorBody = (error: FabricError, status: number): { error: OpenAiError } => ({
  error: { message: messageWithFix(error), type: typeOf(status), param: paramOf(error), code: codeOf(error) },
});

/**
 * Writes an error in the form of the API. `x-should-retry` tells the official clients whether a retry can succeed. Without it, they
 * retry every 409, 429 and 5xx.
 */
export function openAiRefusal(error: FabricError, given: number): Refusal {
  // The agent lacks an operation, such as the tools of the caller. A path that does not exist has another code.
  const status = error.code === 'METHOD_NOT_FOUND' ? 501 : given;
  return {
    status,
    headers: { 'x-should-retry': String(error.retryable && !isOutcome(error)) },
    body: errorBody(error, status),
  };
}

/** True for an error with which a turn ended: a repeated request joins that turn. */
const isOutcome = ({ code }: FabricError): boolean => /^(?:MODEL|TOOL)_|^TURN_TIMEOUT$/.test(code);

function typeOf(status: number): string {
  if (status === 401) return 'authentication_error';
  if (status === 403) return 'permission_error';
  if (status === 429) return 'rate_limit_error';
  return status >= 500 ? 'server_error' : 'invalid_request_error';
}

function codeOf({ code, details }: FabricError): string {
  return typeof details?.openAiCode === 'string' ? details.openAiCode : code;
}

/** The parameter at fault: named by the door, or by an agent as `options.NAME`. */
function paramOf({ message, details }: FabricError): string | null {
  if (typeof details?.param === 'string') return details.param;
  const [, option] = /^options\.(\w+)/.exec(message) ?? [];
  if (option !== undefined) return option;
  return /^(?:user_message|tool_results|messages|system_prompt)\b/.test(message) ? 'messages' : null;
}
