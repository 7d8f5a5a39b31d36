// The program that `durable-requests.test.ts` kills: an agent with state and a durable operation on a store in a file, with requests
// on stdin and answers on stdout, one line of JSON each. It notes each run and each value that was set.
import { appendFileSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { defineAgent, isFabricError, operation, SqliteStore, StateKeys } from '@fame-fabric/agents';
import { testFabric } from '@fame-fabric/agents/testing';
import { z } from 'zod';

const [path, notes, key] = process.argv.slice(2) as [string, string, string];
const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));
const note = (line: string): void => appendFileSync(notes, `${line}\n`);

const store = await SqliteStore.open({ path });
const agent = defineAgent({
  address: 'bank@fame.fabric',
  state: true,
  store,
  maxConcurrent: 4,
  operations: {
    pay: operation({
      params: z.object({ n: z.number() }),
      durable: true,
      async run({ n }, { state, delivery }) {
        const { id, attempt } = delivery!;
        note(`run ${id} ${attempt}`);
        await pause(2 + (n % 5));
        await state.scope('paid').set(id, n);
        note(`set ${id}`);
        await state.update<number>('runs', (runs = 0) => runs + 1);
        await pause(2);
        // Differs in each run, so that two outcomes of one request are seen.
        return { n, run: `${process.pid}-${attempt}` };
      },
    }),
  },
});
const { link } = await testFabric([agent], { stateKeys: new StateKeys([Buffer.from(key, 'hex')]) });

createInterface({ input: process.stdin }).on('line', (line) => {
  const { id, n } = JSON.parse(line) as { id: string; n: number };
  link.call('bank@fame.fabric', 'pay', { n }, { id }).then(
    (result) => console.log(JSON.stringify({ id, outcome: result })),
    (error: unknown) => {
      const code = isFabricError(error) ? error.code : 'UNKNOWN';
      console.log(JSON.stringify({ id, outcome: { code } }));
    },
  );
});
console.log('ready');
