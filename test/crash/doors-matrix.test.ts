// D4: each turn through a door has exactly one effect, whichever process is killed. Each door with each victim, at a point that differs from
// cell to cell. `npm run doors-matrix` runs all points and prints the table of docs/guarantees.md.
import { afterAll, beforeAll, expect, test } from 'vitest';
import { stopStack } from '../kit/stack.ts';
import { MATRIX_DOORS } from './doors-clients.ts';
import { DOOR_POINTS, DOOR_VICTIMS, DoorsFabric, doorRound } from './doors-matrix.ts';

let doors: DoorsFabric;
beforeAll(async () => {
  doors = await DoorsFabric.start();
});
afterAll(async () => {
  await doors.stop();
  await stopStack();
});

// No retry: one lost turn is a failure.
const options = { retry: 0 };

const cells = MATRIX_DOORS.flatMap((door, i) =>
  DOOR_VICTIMS.map((victim, j) => [door, victim, DOOR_POINTS[(2 * i + j) % DOOR_POINTS.length]!] as const),
);

test.each(cells)('D4: %s: %s killed at: %s', options, async (door, victim, point) => {
  const recoveryMs = await doorRound(doors, door, victim, point);
  console.info(`${door}: ${victim} killed at "${point}": complete answer ${Math.round(recoveryMs)} ms later`);
  expect(recoveryMs).toBeLessThan(45_000);
});
