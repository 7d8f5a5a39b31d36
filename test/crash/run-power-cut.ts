// `npm run power-cut [-- --rounds 200 --seed 1]`: copies the database of a busy agent at random moments, removes what a power cut
// could lose, and reports whether an event that a client had received is missing, or a turn does not continue on the copy.
import { parseArgs } from 'node:util';
import { runPowerCuts } from './power-cut.ts';

const { values } = parseArgs({
  options: { rounds: { type: 'string', default: '200' }, seed: { type: 'string', default: '1' } },
});
const report = await runPowerCuts({ rounds: Number(values.rounds), seed: Number(values.seed) });
process.stdout.write(
  `${report.rounds} power cuts (${report.tornTails} with an unsynced tail, ${report.oldPages} with undone pages), ` +
    `${report.checked} conversations compared, ${report.continued} turns continued, ${report.takenBack} of them with text taken back: ${report.faults.length} faults\n`,
);
for (const fault of report.faults.slice(0, 20)) process.stdout.write(`  ${fault}\n`);
process.exit(report.faults.length === 0 ? 0 : 1);
