// Errors with codes of agents' own, beside those of the table, and errors from the code that another node sent.
import { type ErrorCode, isErrorCode, tableCode } from './codes.ts';
import { FabricError, type FabricErrorOptions } from './error.ts';

const OWN_CODE = /^[A-Z][A-Z0-9_]{2,63}$/;

/** True if `code`, which may come from the wire, is a valid code of an AgentError. */
export const isAgentCode = (code: unknown): code is string =>
  typeof code === 'string' && OWN_CODE.test(code) && !isErrorCode(code);

/**
 * An error of an agent with a code of its own, such as `OUT_OF_STOCK`. An operation or a stream that throws one fails with the same
 * code, message and details at the caller. A tool that throws one reports the code and the message to the model.
 */
export class AgentError extends FabricError {
  override readonly name = 'AgentError';

  /**
   * `code` has 3 to 64 capital letters, digits and underscores, and begins with a letter.
   * @default retryable false
   * @throws {TypeError} if `code` has another form, or is in the table
   */
  constructor(code: string, message: string, options: FabricErrorOptions = {}) {
    if (!isAgentCode(code)) throw new TypeError(faultOf(code));
    // The table has no row for the code, so `retryable` must be set.
    super(code as ErrorCode, message, { ...options, retryable: options.retryable ?? false });
  }
}

function faultOf(code: unknown): string {
  const shown = JSON.stringify(String(code).slice(0, 64));
  return isErrorCode(code)
    ? `${shown} is an error code of Fame Fabric, so an AgentError cannot have it. Choose another code.`
    : `${shown} is not a code for an AgentError. Use 3 to 64 capital letters, digits and "_", with a letter first.`;
}

/** Creates the error for a code that another node sent. A code that is neither of the table nor valid becomes INTERNAL. */
export function errorOfCode(code: unknown, message: string, options: FabricErrorOptions = {}): FabricError {
  if (isAgentCode(code)) return new AgentError(code, message, options);
  return new FabricError(tableCode(code), message, options);
}
