// Finds the conversation store of this user, as commands find the local key: in FAME_DATA_DIR, or without it in the nearest `.fame`
// of the current directory and those above.
import { statSync } from 'node:fs';
import { storePath } from '@fame-fabric/agents/internal';
import { FabricError } from '@fame-fabric/shared';
import type { Environment } from '@fame-fabric/shared/internal';
import { searchDataDirs } from '@fame-fabric/shared/node';

/**
 * Returns the path of the store, or undefined if there is none.
 * @throws {STORE_UNAVAILABLE} if this user may not see whether there is one
 */
export function findStore(env: Environment, from?: string): string | undefined {
  const pathIn = (dataDir: string): string | undefined => {
    const path = storePath(dataDir);
    return isThere(path) ? path : undefined;
  };
  return searchDataDirs(env.FAME_DATA_DIR?.trim(), pathIn, from);
}

function isThere(path: string): boolean {
  try {
    statSync(path);
    return true;
  } catch (cause) {
    const { code = '' } = cause as NodeJS.ErrnoException;
    if (code === 'ENOENT' || code === 'ENOTDIR') return false;
    throw new FabricError(
      'STORE_UNAVAILABLE',
      `The store ${path} cannot be read by this user (${code}). Run the command as the user of the agent, or ask the agent: --from ADDRESS.`,
      { cause },
    );
  }
}
