import { MemoryStore } from './memory-store.ts';
import { storeConformance } from './store.conformance.ts';

storeConformance('the memory store', async (options) => {
  const store = new MemoryStore(options);
  return {
    store,
    another: async () => new MemoryStore({ ...options, sharedWith: store }),
    close: () => store.close(),
  };
});
