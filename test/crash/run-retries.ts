// `npm run retries [-- --rounds 20 --seed 1]`: sends one turn 1, 3 and 50 times under one retry key, around kills of the agent and the
// sentinel, and reports lost and doubled turns.
import { parseArgs } from 'node:util';
import { runRetries } from './retries.ts';

const { values } = parseArgs({
  options: { rounds: { type: 'string', default: '20' }, seed: { type: 'string', default: '1' } },
});
const rounds = Number(values.rounds);

let faults = 0;
for (const requests of [1, 3, 50]) {
  const report = await runRetries({ requests, rounds, seed: Number(values.seed) });
  faults += report.faults.length;
  const { answers, kills, resumed, mostAttempts, seconds } = report;
  process.stdout.write(
    `${requests} requests of one turn, ${rounds} rounds: ${answers} answers, ${kills} kills, ${report.faults.length} faults; ` +
      `${resumed} turns resumed, at most ${mostAttempts} model calls a step; ${seconds} s\n`,
  );
  for (const fault of report.faults.slice(0, 20)) process.stdout.write(`  ${fault}\n`);
}
process.exit(faults === 0 ? 0 : 1);
