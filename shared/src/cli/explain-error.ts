// Error messages for people at a terminal.
import { ERRORS, isErrorCode } from '../errors/codes.ts';
import { isFabricError } from '../errors/error.ts';
import { errorMessage } from '../errors/error-message.ts';
import { escapeControls, escapeLine } from './escape-controls.ts';

/** Fixes of the error table that add nothing to the message. */
const EMPTY_FIX = /^(?:Nothing to do\.|The message names the reason\.)/;

/**
 * Describes `error` in a form that is safe to print on a terminal: the failure, its fix and its code; never a stack. The text
 * is a single line, except that each fault of a configuration is on a separate line.
 */
export function explainError(error: unknown): string {
  if (!isFabricError(error)) return escapeControls(errorMessage(error));
  const { code, details } = error;
  const message = escapeLine(error.message);
  if (code === 'CONFIG_INVALID') {
    const faults = details?.faults;
    if (!Array.isArray(faults)) return message;
    return [
      escapeLine(error.message.split('\n')[0]!),
      ...faults.map((fault) => `  ${escapeLine(String(fault))}`),
    ].join('\n');
  }
  // The agent wrote the message of an error with a code of its own.
  const { area, fix: usual } = isErrorCode(code) ? ERRORS[code] : { area: undefined, fix: '' };
  const fix = typeof details?.fix === 'string' ? escapeLine(details.fix) : usual;
  // The message of a model error already names the fix for the agent's model server.
  const isComplete = fix === '' || area === 'model' || EMPTY_FIX.test(fix) || message.includes(fix);
  const hint = isComplete ? '' : ` ${fix}`;
  return `${/[.!?]$/.test(message) ? message : `${message}.`}${hint} (${code})`;
}
