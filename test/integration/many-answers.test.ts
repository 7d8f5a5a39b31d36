// HD2, HD10: many callers fetch large answers from one agent at once. Each call is answered, and a bystander is not delayed.
import { isFabricError } from '@fame-fabric/shared';
import { afterAll, expect, test } from 'vitest';
import { CHAT, converse, openClient, startStack, stopStack } from '../kit/stack.ts';

afterAll(stopStack);

const CALLERS = 20;
const CALLS = 40;
const MESSAGE = 'x'.repeat(37_000);

test('HD2: 20 callers x 40 answers of 150 KB from one agent: all answered, and so is a bystander', async () => {
  const { sentinel } = await startStack();
  const first = await openClient(sentinel.url);
  const large = await converse(first);
  for (let n = 0; n < 2; n++) await large.ask(MESSAGE);
  const small = await converse(first);
  await small.ask('short');

  const callers = await Promise.all(Array.from({ length: CALLERS }, () => openClient(sentinel.url)));
  const bystander = await openClient(sentinel.url);
  let isOver = false;
  const waits: number[] = [];
  const watching = (async () => {
    while (!isOver) {
      const from = performance.now();
      await bystander.call(CHAT, 'get_history', { args: [small.id] });
      waits.push(performance.now() - from);
    }
  })();
  const outcomes = await Promise.all(
    callers.flatMap((caller) =>
      Array.from({ length: CALLS }, async () => {
        try {
          const history = await caller.call(CHAT, 'get_history', { args: [large.id] });
          return JSON.stringify(history).length > 148_000 ? 'answered' : 'cut';
        } catch (error) {
          return isFabricError(error) ? error.code : String(error);
        }
      }),
    ),
  );
  isOver = true;
  await watching;
  const counts = Map.groupBy(outcomes, (outcome) => outcome);
  expect([...counts].map(([outcome, { length }]) => [outcome, length])).toEqual([
    ['answered', CALLERS * CALLS],
  ]);
  expect(callers.every(({ state }) => state === 'attached')).toBe(true);
  console.info(
    `HD2: ${waits.length} calls of the bystander, the longest ${Math.round(Math.max(...waits))} ms`,
  );
  // It waited for 12 s and was lost while all answers of the agent shared one bound.
  expect(Math.max(...waits)).toBeLessThan(10_000);
});
