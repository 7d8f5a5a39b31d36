import { Commander, defineHandler, defineJob, type JobRef, renderTree } from '@fame-fabric/agents/workflow';

interface Round {
  number: number;
  total: number;
}
const SHELVES = { lamps: [4, 2, 1], chairs: [3, 0, 5] };

const count = defineHandler('count', async ({ signal }, shelf: keyof typeof SHELVES, round: number) => {
  signal.throwIfAborted();
  return SHELVES[shelf][round] ?? 0;
});

const round: (input: Round) => JobRef = defineJob('round', async (self, { number, total }: Round) => {
  const counts = await self.fork({ lamps: count('lamps', number), chairs: count('chairs', number) });
  const sum = total + counts.lamps + counts.chairs;
  if (number === 1) console.log(renderTree(self.commander.root));
  self.node.on('at_job_end', ({ commander }) => {
    if (number === 2) commander.requestExit(`${sum} pieces`);
    else commander.submit(round({ number: number + 1, total: sum }));
  });
});

console.log(await new Commander().run(round({ number: 0, total: 0 })));
