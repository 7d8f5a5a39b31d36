import { defineAgent, isMain, operation, runAgents } from '@fame-fabric/agents';
import { z } from 'zod';

const pack = operation({
  description: 'What to pack for three days in a city.',
  params: z.object({ city: z.string() }),
  async run({ city }, { link }) {
    const things = new Set<string>();
    for await (const day of link.stream('weather@fame.fabric', 'forecast', { city })) {
      things.add((day as { sky: string }).sky === 'rain' ? 'umbrella' : 'sunglasses');
    }
    return [...things].join(', ');
  },
});

export const packingAgent = defineAgent({ address: 'packing@fame.fabric', operations: { pack } });

if (isMain(import.meta)) process.exitCode = await runAgents([packingAgent]);
