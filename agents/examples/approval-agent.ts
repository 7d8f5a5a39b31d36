import { ChatAgent, isMain, modelFromEnv, runAgents, ToolSet, tool } from '@fame-fabric/agents';
import { z } from 'zod';

const cancelOrder = tool({
  name: 'cancel_order',
  description: 'Cancel an order',
  parameters: z.object({ order_id: z.string().describe('Number of the order') }),
  idempotent: false,
  approval: 'always',
  execute: ({ order_id }) => ({ order_id, status: 'cancelled' }),
});

export const ordersAgent = new ChatAgent({
  address: 'orders@fame.fabric',
  systemPrompt: 'You help the customers of a lamp shop.',
  model: modelFromEnv(),
  tools: new ToolSet([cancelOrder]),
});

if (isMain(import.meta)) process.exitCode = await runAgents([ordersAgent]);
