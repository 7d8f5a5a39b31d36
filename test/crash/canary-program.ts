// The agent of the canary test: it keeps its caller's text in encrypted state, runs a task with a webhook, and has an operation that
// ends its process with an error.
import { defineAgent, operation, runAgents } from '@fame-fabric/agents';
import { z } from 'zod';

const worker = defineAgent({
  address: 'work@fame.fabric',
  state: true,
  operations: {
    keep: operation({
      params: z.object({ text: z.string() }),
      async run({ text }, { state }) {
        await state.set('text', text);
        return true;
      },
    }),
    fail: operation({
      params: z.object({ text: z.string() }),
      run() {
        // The log has the message of an error that the code of an agent throws. This one has no text of the caller.
        throw new Error('a planned failure');
      },
    }),
    crash: operation({
      run() {
        setImmediate(() => {
          throw new Error('a planned crash');
        });
        return true;
      },
    }),
  },
  tasks: {
    pushAddresses: ['receiver@fame.fabric'],
    async start({ message }, task) {
      task.progress(JSON.stringify(message));
      task.notify({ state: 'working' });
      await new Promise((resolve) => task.signal.addEventListener('abort', resolve, { once: true }));
    },
  },
});

process.exitCode = await runAgents([worker]);
process.exit();
