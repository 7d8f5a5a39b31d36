import { ChatAgent, isMain, modelFromEnv, runAgents, ToolSet, tool } from '@fame-fabric/agents';
import { z } from 'zod';

const packingList = tool({
  name: 'packing_list',
  description: 'Look up what to pack for a trip to a city',
  parameters: z.object({ city: z.string() }),
  async execute({ city }, { link }) {
    return String(await link.call('packing@fame.fabric', 'pack', { city }));
  },
});

export const travelAgent = new ChatAgent({
  address: 'travel@fame.fabric',
  model: modelFromEnv(),
  tools: new ToolSet([packingList]),
});

if (isMain(import.meta)) process.exitCode = await runAgents([travelAgent]);
