// Opens the store of a process from its configuration: the file in the data directory, with its sweeper.
import { join } from 'node:path';
import { type Clock, type Logger, silentLog, systemClock } from '@fame-fabric/shared';
import type { AgentStore } from './agent-store.ts';
import { RoomLog } from './room-log.ts';
import { SqliteStore } from './sqlite/sqlite-store.ts';
import type { ConversationStore } from './store.ts';
import { Sweeper } from './sweeper.ts';

export interface StoreConfig {
  readonly dataDir: string;
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

/** Opens the store of `config`. @throws {STORE_UNAVAILABLE | STORE_SCHEMA} with the path, the cause and the fix */
export async function openStore(
  config: StoreConfig,
  log: Logger = silentLog,
  clock: Clock = systemClock,
): Promise<OpenedStore> {
  const maxBytes = config.storeMaxBytes;
  const roomLog = new RoomLog({ log, clock });
  const store = await SqliteStore.open({
    path: storePath(config.dataDir),
    maxBytes,
    ownerLimits: {
      maxBytes: config.storeMaxBytesPerOwner ?? 0,
      maxConversations: config.maxConversationsPerOwner ?? 0,
    },
    clock,
    onRoom: (report) => roomLog.add(report),
  });
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
