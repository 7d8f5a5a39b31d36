// An agent as a process: a stream of three items that then waits, and prints its cancellation.
import { defineAgent, operation, runAgents } from '@fame-fabric/agents';

const stockAgent = defineAgent({
  address: 'stock@fame.fabric',
  operations: {
    watch: operation({
      async *run(_, { signal }) {
        let items = 0;
        const cancelled = new Promise<void>((resolve) => {
          signal.addEventListener('abort', () => {
            console.log(`watch was cancelled after ${items} items`);
            resolve();
          });
        });
        while (items < 3) {
          items += 1;
          yield items;
        }
        await cancelled;
      },
    }),
  },
});

process.exitCode = await runAgents([stockAgent]);
