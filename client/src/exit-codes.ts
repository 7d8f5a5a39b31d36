// Exit codes of every verb, and the one sentence that a person reads when something fails: what happened and what to do.
import { ERRORS, type ErrorCode, isFabricError } from '@fame-fabric/shared';

/** What the `fame` command exits with. 69 and 130 are the customary numbers of sysexits.h and of shells. */
export const EXIT = Object.freeze({
  ok: 0,
  failure: 1,
  usage: 2,
  unreachable: 69,
  timeout: 124,
  interrupted: 130,
});

const EXIT_OF: Partial<Record<ErrorCode, number>> = {
  CONFIG_INVALID: EXIT.usage,
  ADDRESS_INVALID: EXIT.usage,
  LINK_TIMEOUT: EXIT.unreachable,
  LINK_REFUSED: EXIT.unreachable,
  LINK_CLOSED: EXIT.unreachable,
  NO_ROUTE: EXIT.unreachable,
  NODE_GONE: EXIT.unreachable,
  CALL_TIMEOUT: EXIT.timeout,
  TURN_TIMEOUT: EXIT.timeout,
  CALL_CANCELLED: EXIT.interrupted,
};

/** The exit code that tells a script what `error` was. */
export const exitCodeOf = (error: unknown): number =>
  isFabricError(error) ? (EXIT_OF[error.code] ?? EXIT.failure) : EXIT.failure;

/** One message for a person: what happened, the fix, the code. Never a stack. */
export function explain(error: unknown): string {
  if (!isFabricError(error)) return error instanceof Error ? error.message : String(error);
  const message = sentence(error.message);
  if (error.code === 'CONFIG_INVALID') return error.message;
  const { area, fix } = ERRORS[error.code];
  // What models say comes from the agent, which knows the server and has put the fix into its sentence.
  const needsFix = area !== 'model' && !SAYS_NOTHING.test(fix) && !message.includes(fix);
  return `${message}${needsFix ? ` ${fix}` : ''} (${error.code})`;
}

// Fixes of the table that send the reader back to the message.
const SAYS_NOTHING = /^(?:Nothing to do\.|Nothing; |The message says why)/;

const sentence = (text: string): string => (/[.!?]$/.test(text) ? text : `${text}.`);
