import { ChatAgent, isMain, modelFromEnv, runAgents, ToolSet, tool } from '@fame-fabric/agents';
import { z } from 'zod';

const ORDERS = new Map([['1042', 'on its way']]);

const orderStatus = tool({
  name: 'order_status',
  description: 'Look up where an order is',
  parameters: z.object({ order_id: z.string().describe('Number of the order') }),
  execute: ({ order_id }) => ({ order_id, status: ORDERS.get(order_id) ?? 'unknown' }),
});

export const shopAgent = (model = modelFromEnv()) =>
  new ChatAgent({
    address: 'shop@fame.fabric',
    systemPrompt: 'You help the customers of a lamp shop.',
    model,
    tools: new ToolSet([orderStatus]),
  });

if (isMain(import.meta)) process.exitCode = await runAgents([shopAgent()]);
