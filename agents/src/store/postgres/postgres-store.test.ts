// Needs a PostgreSQL server, which the set-up of the project `crash` starts.
import { describe, inject } from 'vitest';
import { agentStoreConformance } from '../agent-store.conformance.ts';
import { storeConformance } from '../store.conformance.ts';
import { PostgresStore, type PostgresStoreOptions } from './postgres-store.ts';

const { url = '', reason } = inject('postgres' as never) as { url?: string; reason?: string };
let schemas = 0;

const openBench = async (options: Omit<PostgresStoreOptions, 'url' | 'schema'>) => {
  schemas += 1;
  const schema = `conformance_${schemas}`;
  const opened: PostgresStore[] = [];
  const open = async (): Promise<PostgresStore> => {
    const store = await PostgresStore.open({ ...options, url, schema });
    opened.push(store);
    return store;
  };
  return {
    store: await open(),
    another: open,
    close: async () => {
      for (const store of opened) await store.close();
    },
  };
};

describe.skipIf(reason !== undefined)('PostgreSQL', () => {
  storeConformance('the PostgreSQL store', openBench);
  agentStoreConformance('the PostgreSQL store', openBench);
});
