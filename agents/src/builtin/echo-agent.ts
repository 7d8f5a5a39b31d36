// The smallest agent that is of use: it gives back what it gets. `fame agent echo` serves it.
import { z } from 'zod';
import { defineAgent } from '../agent/agent.ts';
import type { Agent } from '../agent/agent-types.ts';
import { operation } from '../agent/operation.ts';

export const echoAgent = (address = 'echo@fame.fabric'): Agent =>
  defineAgent({
    address,
    description: 'Gives back what it gets.',
    operations: {
      echo: operation({
        description: 'Gives back its argument, of any kind.',
        params: z.object({ value: z.unknown() }),
        run: ({ value }) => value,
      }),
    },
    onMessage: (payload) => payload,
  });
