import { defineAgent, isMain, operation, runAgents } from '@fame-fabric/agents';
import { z } from 'zod';

export const weatherAgent = defineAgent({
  address: 'weather@fame.fabric',
  operations: {
    forecast: operation({
      description: 'The weather of the next days, day by day.',
      params: z.object({ city: z.string(), days: z.int().min(1).max(7).default(3) }),
      async *run({ city, days }) {
        for (let day = 1; day <= days; day++) yield { day, city, sky: day % 2 ? 'sun' : 'rain' };
      },
    }),
  },
});

if (isMain(import.meta)) process.exitCode = await runAgents([weatherAgent]);
