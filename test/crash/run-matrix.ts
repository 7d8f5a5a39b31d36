// `npm run crash-matrix [-- --rounds 3] [--victim agent] [--point mid-stream] [--docs]`: runs the crash matrix and prints it.
// With --docs it also replaces the table in docs/guarantees.md. With --postgres the conversations are in PostgreSQL, whose server is
// one more victim.
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { PostgresServer } from '../kit/postgres.ts';
import { ROOT } from '../kit/processes.ts';
import { Fabric, type Victim } from './fabric.ts';
import { type Cell, POINTS, type Point, runMatrix, VICTIMS } from './matrix.ts';

const { values } = parseArgs({
  options: {
    rounds: { type: 'string', default: '3' },
    victim: { type: 'string', multiple: true },
    point: { type: 'string', multiple: true },
    docs: { type: 'boolean', default: false },
    postgres: { type: 'boolean', default: false },
  },
});
const rounds = Number(values.rounds);
const server = values.postgres ? await PostgresServer.start() : undefined;
const victims =
  (values.victim as Victim[] | undefined) ?? (server ? [...VICTIMS, 'store' as const] : VICTIMS);
const points = (values.point as Point[] | undefined) ?? POINTS;

const beganAt = performance.now();
const fabric = await Fabric.start(server ? { server } : {});
const cells = await runMatrix(fabric, {
  rounds,
  victims,
  points,
  onRound(victim, point, round) {
    const outcome =
      round instanceof Error ? `FAILED ${round.message}` : `${(round.recoveryMs / 1000).toFixed(1)} s`;
    const misses =
      round instanceof Error || round.missed === 0 ? '' : ` (${round.missed} kills came too late)`;
    process.stderr.write(`${victim.padEnd(9)} ${point.padEnd(28)} ${outcome}${misses}\n`);
  },
});
await fabric.stop();
await server?.close();

const cellText = (cell: Cell | undefined): string =>
  cell ? `${cell.passed}/${cell.passed + cell.failed.length}, ${(cell.recoveryMs / 1000).toFixed(1)} s` : '';
const rows = points.map(
  (point) =>
    `| ${point} | ${victims.map((victim) => cellText(cells.find((one) => one.victim === victim && one.point === point))).join(' | ')} |`,
);
const passed = cells.reduce((sum, { passed }) => sum + passed, 0);
const failed = cells.reduce((sum, cell) => sum + cell.failed.length, 0);
const seconds = Math.round((performance.now() - beganAt) / 1000);
const day = new Date().toISOString().slice(0, 10);
const table = `| killed at | ${victims.join(' | ')} |
|---|${victims.map(() => '---|').join('')}
${rows.join('\n')}

${passed} of ${passed + failed} rounds passed in ${seconds} s (${day}, Node ${process.versions.node}). Each cell: rounds that passed, and the
longest time from the kill to the whole answer at the client.
`;
process.stdout.write(table);
if (values.docs) {
  const path = join(ROOT, 'docs/guarantees.md');
  const [before, after] = readFileSync(path, 'utf8').split(
    /(?<=<!-- crash matrix -->\n)[\s\S]*(?=<!-- end -->)/,
  );
  writeFileSync(path, `${before}\n${table}\n${after}`);
}
process.exit(failed === 0 ? 0 : 1);
