import { ChatAgent, isMain, modelFromEnv, runAgents, ToolError, ToolSet, tool } from '@fame-fabric/agents';
import { z } from 'zod';

const ORDERS = new Map([['1042', 'on its way']]);

const orderStatus = tool({
  name: 'order_status',
  description: 'Look up where an order is',
  parameters: z.object({ order_id: z.string().describe('Number of the order') }),
  toUser: true,
  execute({ order_id }) {
    const status = ORDERS.get(order_id);
    if (!status) throw new ToolError('There is no such order', { hint: 'Ask for the number again' });
    return { order_id, status };
  },
});

export const shopAgent = new ChatAgent({
  address: 'shop@fame.fabric',
  systemPrompt: 'You help the customers of a lamp shop.',
  model: modelFromEnv(),
  tools: new ToolSet([orderStatus]),
});

if (isMain(import.meta)) process.exitCode = await runAgents([shopAgent]);
