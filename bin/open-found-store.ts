// Opens the conversation store of this user for a command: the database of FAME_STORE_URL, or the file that `findStore` finds.
import {
  type AgentStore,
  type ConversationStore,
  openDatabaseStore,
  SqliteStore,
} from '@fame-fabric/agents/internal';
import { readAgentConfig } from '@fame-fabric/agents/process';
import type { Environment } from '@fame-fabric/shared/internal';
import { findStore } from './find-store.ts';

/** True if the environment names a database. */
const hasStoreUrl = (env: Environment): boolean =>
  Boolean(env.FAME_STORE_URL?.trim() || env.FAME_STORE_URL_FILE?.trim());

/**
 * Opens the store. Resolves to `undefined` if there is no file; a database gets its tables.
 * @throws {CONFIG_INVALID | STORE_UNAVAILABLE | STORE_SCHEMA}
 */
export async function openFoundStore(
  env: Environment,
): Promise<(ConversationStore & AgentStore) | undefined> {
  const storeUrl = hasStoreUrl(env) ? readAgentConfig(env).storeUrl : undefined;
  if (storeUrl !== undefined) return openDatabaseStore(storeUrl);
  const path = findStore(env);
  // `open` would create a missing file.
  return path === undefined ? undefined : SqliteStore.open({ path });
}
