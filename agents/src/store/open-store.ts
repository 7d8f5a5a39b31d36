// Opens the store of a process from its configuration: the file in the data directory, or the database of FAME_STORE_URL. With its
// sweeper.
import { join } from 'node:path';
import { type Clock, FabricError, type Logger, silentLog, systemClock } from '@fame-fabric/shared';
import type { AgentStore } from './agent-store.ts';
import type { PostgresStoreOptions } from './postgres/postgres-store.ts';
import { RoomLog } from './room-log.ts';
import { SqliteStore } from './sqlite/sqlite-store.ts';
import type { ConversationStore, RoomReport } from './store.ts';
import { Sweeper } from './sweeper.ts';

export interface StoreConfig {
  readonly dataDir: string;
  /** URL of a PostgreSQL database that replaces the file in `dataDir`. @default none */
  readonly storeUrl?: string | undefined;
  /** Retention of a conversation after its last change, in days; 0 keeps it forever. */
  readonly conversationTtlDays: number;
  /** Size limit of the store, in bytes; 0 for no limit. */
  readonly storeMaxBytes: number;
  /** Limits of each owner except `local`; 0 for no limit. @default 0 */
  readonly storeMaxBytesPerOwner?: number | undefined;
  readonly maxConversationsPerOwner?: number | undefined;
}

export interface OpenedStore {
  readonly store: ConversationStore & AgentStore;
  /** Stops the sweeper and closes the store. */
  close(): Promise<void>;
}

/** Returns the path of the store's file below a data directory. */
export const storePath = (dataDir: string): string => join(dataDir, 'conversations', 'journal.db');

/**
 * Opens a store in a PostgreSQL database, without a sweeper. The client of PostgreSQL is loaded here.
 * @throws {CONFIG_INVALID | STORE_UNAVAILABLE | STORE_SCHEMA} with the cause and the fix, never with the password
 */
export async function openDatabaseStore(
  url: string,
  options: Omit<PostgresStoreOptions, 'url'> = {},
): Promise<ConversationStore & AgentStore> {
  const { PostgresStore } = await import('./postgres/postgres-store.ts').catch((cause) => {
    if ((cause as NodeJS.ErrnoException).code !== 'ERR_MODULE_NOT_FOUND') throw cause;
    const text = 'FAME_STORE_URL needs the package pg. Install it: npm install pg';
    throw new FabricError('CONFIG_INVALID', text, { cause });
  });
  return PostgresStore.open({ ...options, url });
}

/**
 * Opens the store of `config`. @throws {CONFIG_INVALID | STORE_UNAVAILABLE | STORE_SCHEMA} with the path or the database, the cause and
 * the fix
 */
export async function openStore(
  config: StoreConfig,
  log: Logger = silentLog,
  clock: Clock = systemClock,
): Promise<OpenedStore> {
  const maxBytes = config.storeMaxBytes;
  const roomLog = new RoomLog({ log, clock });
  const options = {
    maxBytes,
    ownerLimits: {
      maxBytes: config.storeMaxBytesPerOwner ?? 0,
      maxConversations: config.maxConversationsPerOwner ?? 0,
    },
    onRoom: (report: RoomReport) => roomLog.add(report),
  };
  const store = config.storeUrl
    ? await openDatabaseStore(config.storeUrl, { ...options, log })
    : await SqliteStore.open({ ...options, path: storePath(config.dataDir), clock });
  const sweeper = new Sweeper(store, {
    ttlDays: config.conversationTtlDays,
    maxBytes,
    clock,
    log,
  });
  sweeper.start();
  return {
    store,
    async close() {
      await sweeper.stop();
      await store.close();
      roomLog.flush();
    },
  };
}
