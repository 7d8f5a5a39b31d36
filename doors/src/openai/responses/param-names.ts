// Translates the parameter names in errors of agents to the names of this API.
import { FabricError, isFabricError } from '@fame-fabric/shared';
import { errorOfCode } from '@fame-fabric/shared/internal';

/** Names of parameters that agents name otherwise. */
const PARAMS: Readonly<Record<string, string>> = {
  max_tokens: 'max_output_tokens',
  response_format: 'text.format',
  user_message: 'input',
  tool_results: 'input',
  messages: 'input',
  system_prompt: 'input',
};

/** Returns an error with the parameter name of this API. An operation that the agent lacks is not an unknown path. */
export function inThisApi(error: unknown): unknown {
  if (!isFabricError(error)) return error;
  const { code, message, details, retryable } = error;
  if (code === 'METHOD_NOT_FOUND') {
    return new FabricError('OPERATION_UNSUPPORTED', message, { details, cause: error });
  }
  if (code !== 'PARAMS_INVALID' || typeof details?.param === 'string') return error;
  if (Array.isArray(details?.calls)) {
    const ids = details.calls.join(', ');
    return errorOfCode(code, `No tool output found for function call ${ids}.`, {
      retryable,
      details: { ...details, param: 'input' },
      cause: error,
    });
  }
  const [, option] = /^(?:options\.)?(\w+)/.exec(message) ?? [];
  if (option === undefined) return error;
  const param = PARAMS[option] ?? (message.startsWith('options.') ? option : undefined);
  if (param === undefined) return error;
  return errorOfCode(code, message, { retryable, details: { ...details, param }, cause: error });
}

/** An error that is not a FabricError is a fault of the door. Its message is not sent to the client. */
export const asFabricError = (error: unknown): FabricError =>
  isFabricError(error) ? error : new FabricError('INTERNAL', 'The door failed.', { cause: error });
