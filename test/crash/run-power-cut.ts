// `npm run power-cut [-- --rounds 200 --seed 1]`: copies the database of a busy agent at random moments, removes what a power cut
// could lose, and reports whether an event that a client had received is missing, or a turn does not continue on the copy.
// With `--postgres` it stops a PostgreSQL server instead.
import { parseArgs } from 'node:util';
import { PostgresServer } from '../kit/postgres.ts';
import { runServerStops } from './postgres/server-stops.ts';
import { runPowerCuts } from './power-cut.ts';

const { values } = parseArgs({
  options: {
    rounds: { type: 'string', default: '200' },
    seed: { type: 'string', default: '1' },
    postgres: { type: 'boolean', default: false },
  },
});
const options = { rounds: Number(values.rounds), seed: Number(values.seed) };

async function stopServer(): Promise<string[]> {
  const server = await PostgresServer.start();
  const report = await runServerStops(server, options);
  await server.close();
  process.stdout.write(
    `${report.rounds} immediate stops of PostgreSQL, half of them with a kill of the agent, ${report.checked} conversations compared, ` +
      `${report.interrupted} turns interrupted: ${report.faults.length} faults\n`,
  );
  return report.faults;
}

async function cutPower(): Promise<string[]> {
  const report = await runPowerCuts(options);
  process.stdout.write(
    `${report.rounds} power cuts (${report.tornTails} with an unsynced tail, ${report.oldPages} with undone pages), ` +
      `${report.checked} conversations compared, ${report.continued} turns continued, ${report.takenBack} of them with text taken back: ${report.faults.length} faults\n`,
  );
  return report.faults;
}

const faults = await (values.postgres ? stopServer() : cutPower());
for (const fault of faults.slice(0, 20)) process.stdout.write(`  ${fault}\n`);
process.exit(faults.length === 0 ? 0 : 1);
