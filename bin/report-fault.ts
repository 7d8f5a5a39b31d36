// The fault of a verb that works on the store of this machine. Apart from `output.ts`, which loads with verbs that need no store.
import { isFabricError } from '@fame-fabric/shared';
import { EXIT, escapeControls } from '@fame-fabric/shared/internal';

/**
 * Writes the fault, escaped, and returns the exit code: 2 for a wrong configuration, 1 for any other FabricError.
 * @throws `error` itself if it is no FabricError
 */
export function reportFault(error: unknown, write: (message: string) => void): number {
  if (!isFabricError(error)) throw error;
  const isConfig = error.code === 'CONFIG_INVALID';
  write(escapeControls(isConfig ? error.message : `${error.message} (${error.code})`));
  return isConfig ? EXIT.usage : EXIT.failure;
}
