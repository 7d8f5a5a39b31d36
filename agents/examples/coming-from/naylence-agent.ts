import { defineAgent, isMain, operation, runAgents } from '@fame-fabric/agents';
import { z } from 'zod';

export const counterAgent = defineAgent({
  address: 'counter@fame.fabric',
  operations: {
    add: operation({
      params: z.object({ x: z.number(), y: z.number() }),
      run: ({ x, y }) => x + y,
    }),
    count: operation({
      params: z.object({ to: z.int() }),
      async *run({ to }) {
        for (let i = 1; i <= to; i++) yield i;
      },
    }),
  },
  tasks: {
    async start(params, task) {
      task.progress(`working on ${params.id}`);
      return 'done';
    },
  },
});

if (isMain(import.meta)) process.exitCode = await runAgents([counterAgent]);
