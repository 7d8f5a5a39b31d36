// An agent with a durable operation whose first run never ends, for tests that kill it.
import { defineAgent, operation, runAgents } from '@fame-fabric/agents';
import { z } from 'zod';

const agent = defineAgent({
  address: 'durable@fame.fabric',
  state: true,
  operations: {
    work: operation({
      params: z.object({ n: z.number() }),
      durable: true,
      async run({ n }, { state, delivery }) {
        const runs = await state.update<number>(`runs/${n}`, (count = 0) => count + 1);
        console.log(`run ${delivery?.attempt} of ${n}`);
        if (delivery?.attempt === 1) await new Promise(() => {});
        return { n, attempt: delivery?.attempt, runs };
      },
    }),
  },
});

process.exitCode = await runAgents([agent]);
