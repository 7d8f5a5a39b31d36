// An agent with every kind of operation: one result, a finite stream, an endless stream, and a background task with progress,
// cancellation and notifications. It can be called by address or by capability. `fame agent math` serves it.
import { FabricError, firstData, systemClock, type TaskSendParams } from '@fame-fabric/shared';
import { pause } from '@fame-fabric/shared/internal';
import { z } from 'zod';
import { defineAgent } from '../agent/agent.ts';
import type { Agent } from '../agent/agent-types.ts';
import { operation } from '../agent/operation.ts';

const twoNumbers = z.object({ x: z.number(), y: z.number() });

const countDownParams = z.object({
  steps: z.int().min(1).max(1_000).default(5),
  stepMs: z.int().min(0).max(60_000).default(200),
});

export const mathAgent = (address = 'math@fame.fabric'): Agent =>
  defineAgent({
    address,
    description: 'Adds, multiplies and counts.',
    capabilities: ['fame.capability.math'],
    operations: {
      add: operation({
        description: 'The sum of two numbers.',
        params: twoNumbers,
        run: ({ x, y }) => x + y,
      }),
      multiply: operation({
        description: 'The product of two numbers.',
        params: twoNumbers,
        run: ({ x, y }) => x * y,
      }),
      fib_stream: operation({
        description: 'The first n Fibonacci numbers, one by one.',
        params: z.object({ n: z.int().min(0).max(1_000) }),
        async *run({ n }) {
          let [a, b] = [0, 1];
          for (let i = 0; i < n; i++) {
            yield a;
            [a, b] = [b, a + b];
          }
        },
      }),
      count: operation({
        description: 'Counts up until the caller cancels.',
        params: z.object({ from: z.int().default(0), everyMs: z.int().min(0).max(60_000).default(0) }),
        async *run({ from, everyMs }, { signal }) {
          for (let n = from; ; n++) {
            yield n;
            await pause(systemClock, everyMs, signal);
          }
        },
      }),
    },
    // Counts down. The first data part of the message is `{steps, stepMs}`.
    tasks: {
      accept: (params) => void readCountDown(params),
      async start(params, task) {
        const { steps, stepMs } = readCountDown(params);
        for (let step = 1; step <= steps; step++) {
          await pause(systemClock, stepMs, task.signal);
          task.progress({ progress: `step ${step}/${steps} complete`, left: steps - step });
          task.notify({ message: `Notification #${step}`, left: steps - step });
        }
        return `Counted ${steps} steps.`;
      },
    },
  });

function readCountDown({ message }: TaskSendParams): z.output<typeof countDownParams> {
  const result = countDownParams.safeParse(firstData(message) ?? {});
  if (result.success) return result.data;
  const { path, message: fault } = result.error.issues[0]!;
  throw new FabricError('PARAMS_INVALID', `message.parts: ${path.join('.')}: ${fault}`);
}
