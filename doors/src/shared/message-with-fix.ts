// The text of an error in a protocol that has no field for a fix.
import type { FabricError } from '@fame-fabric/shared';

/** The message, followed by the fix in `details.fix` if there is one. */
export function messageWithFix({ message, details }: FabricError): string {
  return typeof details?.fix === 'string' ? `${message}. ${details.fix}` : message;
}
