import { defineAgent, isMain, operation, runAgents } from '@fame-fabric/agents';
import { z } from 'zod';

export const ordersAgent = defineAgent({
  address: 'orders@fame.fabric',
  state: true,
  operations: {
    place: operation({
      params: z.object({ item: z.string() }),
      durable: true,
      async run({ item }, { state, delivery }) {
        const orders = state.scope('orders');
        // After a crash the request may run again, with the same id: the order is there once.
        await orders.set(delivery!.id, { item });
        const { entries } = await orders.list();
        return `${entries.length} orders, the last one for a ${item}`;
      },
    }),
  },
});

if (isMain(import.meta)) process.exitCode = await runAgents([ordersAgent]);
