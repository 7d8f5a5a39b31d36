// `npm run doors-matrix [-- --rounds 2] [--door HTTP] [--victim door] [--point mid-stream] [--docs]`: runs the crash matrix of the doors and
// prints it. With --docs it also replaces the table in docs/guarantees.md.
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { ROOT } from '../kit/processes.ts';
import { MATRIX_DOORS, type MatrixDoor } from './doors-clients.ts';
import {
  DOOR_POINTS,
  DOOR_VICTIMS,
  type DoorPoint,
  DoorsFabric,
  type DoorVictim,
  doorRound,
} from './doors-matrix.ts';

const { values } = parseArgs({
  options: {
    rounds: { type: 'string', default: '1' },
    door: { type: 'string', multiple: true },
    victim: { type: 'string', multiple: true },
    point: { type: 'string', multiple: true },
    docs: { type: 'boolean', default: false },
  },
});
const rounds = Number(values.rounds);
const doorNames = (values.door as MatrixDoor[] | undefined) ?? MATRIX_DOORS;
const victims = (values.victim as DoorVictim[] | undefined) ?? DOOR_VICTIMS;
const points = (values.point as DoorPoint[] | undefined) ?? DOOR_POINTS;

interface Cell {
  passed: number;
  failed: number;
  recoveryMs: number;
}

const beganAt = performance.now();
const doors = await DoorsFabric.start();
const rows: string[] = [];
const all: Cell = { passed: 0, failed: 0, recoveryMs: 0 };
for (const point of points) {
  for (const victim of victims) {
    const cells: string[] = [];
    for (const door of doorNames) {
      const cell: Cell = { passed: 0, failed: 0, recoveryMs: 0 };
      for (let n = 0; n < rounds; n++) {
        try {
          cell.recoveryMs = Math.max(cell.recoveryMs, await doorRound(doors, door, victim, point));
          cell.passed++;
          process.stderr.write(
            `${door}: ${victim} at "${point}": ${(cell.recoveryMs / 1_000).toFixed(1)} s\n`,
          );
        } catch (error) {
          cell.failed++;
          process.stderr.write(`FAILED ${(error as Error).message}\n`);
        }
      }
      all.passed += cell.passed;
      all.failed += cell.failed;
      cells.push(`${cell.passed}/${cell.passed + cell.failed}, ${(cell.recoveryMs / 1_000).toFixed(1)} s`);
    }
    rows.push(`| ${point} | ${victim} | ${cells.join(' | ')} |`);
  }
}
await doors.stop();

const seconds = Math.round((performance.now() - beganAt) / 1_000);
const day = new Date().toISOString().slice(0, 10);
const table = `| killed at | killed | ${doorNames.join(' | ')} |
|---|---|${doorNames.map(() => '---|').join('')}
${rows.join('\n')}

${all.passed} of ${all.passed + all.failed} rounds passed in ${seconds} s (${day}, Node ${process.versions.node}). Each cell: rounds that passed, and the
longest time from the kill to the whole answer at the client.
`;
process.stdout.write(table);
if (values.docs) {
  const path = join(ROOT, 'docs/guarantees.md');
  const [before, after] = readFileSync(path, 'utf8').split(
    /(?<=<!-- crash matrix of the doors -->\n)[\s\S]*?(?=<!-- end of the doors -->)/,
  );
  writeFileSync(path, `${before}\n${table}\n${after}`);
}
process.exit(all.failed === 0 ? 0 : 1);
