// The text of an error in a protocol that has no field for a fix.
import { ERRORS, type FabricError } from '@fame-fabric/shared';

/** The fix of MESSAGE_TOO_LARGE for clients of a door. */
export const TOO_LARGE_FIX = 'Send less. An agent receives at most 262,144 bytes in one message.';

/** Fixes of errors that clients of a door see often. */
const FIXES: Readonly<Record<string, string>> = {
  MESSAGE_TOO_LARGE: TOO_LARGE_FIX,
  NODE_GONE: ERRORS.NODE_GONE.fix,
};

/** The message, followed by the fix in `details.fix`, or by that of the code. */
export function messageWithFix({ code, message, details }: FabricError): string {
  const fix = typeof details?.fix === 'string' ? details.fix : FIXES[code];
  return fix === undefined ? message : `${message}. ${fix}`;
}
