// Codes of a sentinel that does not accept a credential.
import { isFabricError } from '@fame-fabric/shared';

const CODES: ReadonlySet<string> = new Set([
  'AUTH_MISSING',
  'AUTH_INVALID',
  'AUTH_EXPIRED',
  'AUTH_FORBIDDEN',
]);

/** True for an error whose fix is another credential. */
export const isRefusedCredential = (error: unknown): boolean => isFabricError(error) && CODES.has(error.code);
