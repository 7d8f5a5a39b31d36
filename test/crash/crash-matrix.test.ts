// Each turn has exactly one effect, whichever process is killed at whichever point: every cell of the crash matrix, once.
// `npm run crash-matrix` runs more rounds and prints the table of docs/guarantees.md.
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { stopStack } from '../kit/stack.ts';
import { textOf } from '../kit/streamed-text.ts';
import { answerOf, Fabric } from './fabric.ts';
import { crashRound, POINTS, VICTIMS } from './matrix.ts';

let fabric: Fabric;
beforeAll(async () => {
  fabric = await Fabric.start();
});
afterAll(async () => {
  await fabric.stop();
  await stopStack();
});

// No retry: one lost turn is a failure.
const options = { retry: 0 };

describe.each(POINTS)('killed at: %s', (point) => {
  test.each(VICTIMS)('%s', options, async (victim) => {
    const { recoveryMs } = await crashRound(fabric, victim, point);
    console.info(`${victim} killed at "${point}": complete answer ${Math.round(recoveryMs)} ms later`);
  });
});

test(
  'a tool that must not run twice is not called again, and the model receives an error',
  options,
  async () => {
    fabric.forget();
    const turn = fabric.turn({ tool: 'pay' });
    fabric.holdTools();
    fabric.send(turn);
    await fabric.until('the tool runs', () => fabric.notes(turn.nonce).length > 0);
    await fabric.kill('agent');
    fabric.releaseTools();
    await fabric.restart('agent');
    await fabric.answered(turn);
    expect(fabric.notes(turn.nonce)).toEqual([`pay started ${turn.nonce}`]);
    const request = fabric.model.requests.findLast(({ body }) => body.messages.at(-1)?.role === 'tool');
    const result = String(request?.body.messages.at(-1)?.content);
    expect(result).toContain('interrupted');
    expect(textOf(turn.events)).toBe(answerOf(turn.nonce, 'pay', result));
    expect(fabric.model.violations).toEqual([]);
  },
);
