// `npm run cut-streams [-- --seconds 300 --clients 100 --seed 1]`: cuts the connections of streaming clients at random and
// reports lost and repeated events.
import { parseArgs } from 'node:util';
import { type CutReport, runCutStreams } from './cut-streams.ts';

const { values } = parseArgs({
  options: {
    seconds: { type: 'string', default: '300' },
    clients: { type: 'string', default: '100' },
    seed: { type: 'string', default: '1' },
  },
});
const line = (report: CutReport): string =>
  `${report.clients} clients, ${report.cuts} connections cut and ${report.agentCuts} of the agent, ${report.turns} turns, ` +
  `${report.events} events, ${report.repeatedRequests} requests repeated: ${report.faults.length} gaps, repeats or other faults\n`;
const report = await runCutStreams({
  seconds: Number(values.seconds),
  clients: Number(values.clients),
  seed: Number(values.seed),
  onTick: (so) => void process.stderr.write(line(so)),
});
process.stdout.write(line(report));
for (const fault of report.faults.slice(0, 20)) process.stdout.write(`  ${fault.slice(0, 400)}\n`);
process.exit(report.faults.length === 0 ? 0 : 1);
