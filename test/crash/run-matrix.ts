// `npm run crash-matrix [-- --rounds 3] [--victim agent] [--point mid-stream]`: runs the crash matrix and prints it.
import { parseArgs } from 'node:util';
import { Fabric, type Victim } from './fabric.ts';
import { type Cell, POINTS, type Point, runMatrix, VICTIMS } from './matrix.ts';

const { values } = parseArgs({
  options: {
    rounds: { type: 'string', default: '3' },
    victim: { type: 'string', multiple: true },
    point: { type: 'string', multiple: true },
  },
});
const rounds = Number(values.rounds);
const victims = (values.victim as Victim[] | undefined) ?? VICTIMS;
const points = (values.point as Point[] | undefined) ?? POINTS;

const beganAt = performance.now();
const fabric = await Fabric.start();
const cells = await runMatrix(fabric, {
  rounds,
  victims,
  points,
  onRound(victim, point, round) {
    const said =
      round instanceof Error ? `FAILED ${round.message}` : `${(round.recoveryMs / 1000).toFixed(1)} s`;
    const misses =
      round instanceof Error || round.missed === 0 ? '' : ` (${round.missed} kills came too late)`;
    process.stderr.write(`${victim.padEnd(9)} ${point.padEnd(26)} ${said}${misses}\n`);
  },
});
await fabric.stop();

const shown = (cell: Cell | undefined): string =>
  cell ? `${cell.passed}/${cell.passed + cell.failed.length}, ${(cell.recoveryMs / 1000).toFixed(1)} s` : '';
const rows = points.map(
  (point) =>
    `| ${point} | ${victims.map((victim) => shown(cells.find((one) => one.victim === victim && one.point === point))).join(' | ')} |`,
);
const passed = cells.reduce((sum, { passed }) => sum + passed, 0);
const failed = cells.reduce((sum, cell) => sum + cell.failed.length, 0);
process.stdout.write(
  [
    `| killed at | ${victims.join(' | ')} |`,
    `|---|${victims.map(() => '---|').join('')}`,
    ...rows,
    '',
    `${passed} of ${passed + failed} rounds passed in ${Math.round((performance.now() - beganAt) / 1000)} s; each cell: rounds that passed, longest time from the kill to the whole answer.`,
    '',
  ].join('\n'),
);
process.exit(failed === 0 ? 0 : 1);
