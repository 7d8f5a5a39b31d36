import { agentStoreConformance } from './agent-store.conformance.ts';
import { MemoryStore, type MemoryStoreOptions } from './memory-store.ts';
import { storeConformance } from './store.conformance.ts';

const open = async (options: MemoryStoreOptions) => {
  const store = new MemoryStore(options);
  return {
    store,
    another: async () => new MemoryStore({ ...options, sharedWith: store }),
    close: () => store.close(),
  };
};

storeConformance('the memory store', open);
agentStoreConformance('the memory store', open);
