// The message that a person reads when a command fails.
import { ERRORS } from '../errors/codes.ts';
import { isFabricError } from '../errors/error.ts';
import { escapeControls, escapeLine } from './escape-controls.ts';

/** Fixes of the error table that only refer back to the message. */
const EMPTY_FIX = /^(?:Nothing to do\.|Nothing; |The message says why)/;

/**
 * One message, safe to print on a terminal: the failure, its fix and its code; never a stack. It is a single line, except
 * that each fault of a configuration has a line of its own.
 */
export function explainError(error: unknown): string {
  if (!isFabricError(error)) return escapeControls(error instanceof Error ? error.message : String(error));
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
  const { area, fix } = ERRORS[code];
  // The message of a model error comes from the agent. It knows the server, so its message names the fix.
  const hint = area === 'model' || EMPTY_FIX.test(fix) || message.includes(fix) ? '' : ` ${fix}`;
  return `${/[.!?]$/.test(message) ? message : `${message}.`}${hint} (${code})`;
}
