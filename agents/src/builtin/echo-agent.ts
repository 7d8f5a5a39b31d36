// The smallest useful agent: it returns its input. `fame agent echo` serves it.
import { z } from 'zod';
import { defineAgent } from '../agent/agent.ts';
import type { Agent } from '../agent/agent-types.ts';
import { operation } from '../agent/operation.ts';

export const echoAgent = (address = 'echo@fame.fabric'): Agent =>
  defineAgent({
    address,
    description: 'Returns its input.',
    operations: {
      echo: operation({
        description: 'Returns its argument, of any type.',
        params: z.object({ value: z.unknown() }),
        run: ({ value }) => value,
      }),
    },
    onMessage: (payload) => payload,
  });
