import type { TurnEvent } from '@fame-fabric/client';
import { expect, test } from 'vitest';
import { settledPast } from './settled-past.ts';

async function* turn(...events: object[]): AsyncGenerator<TurnEvent> {
  for (const event of events) yield { turn_id: 't', ...event } as unknown as TurnEvent;
}
const text = (seq: number, text: string) => ({ type: 'text', seq, text });

async function read(until: number, ...events: object[]): Promise<unknown[]> {
  const all: unknown[] = [];
  for await (const event of settledPast(turn(...events), async () => until)) {
    const { type, text, keep } = event as { type: string; text?: string; keep?: number };
    all.push(type === 'text' || type === 'done' ? text : [type, keep]);
  }
  return all;
}

test('D4: text that was taken back before is left out, and the rest arrives in order', async () => {
  const recorded = [text(1, 'One '), text(2, 'lost'), { type: 'restart', seq: 3, keep: 4 }, text(4, 'two')];
  expect(await read(5, ...recorded, { type: 'done', seq: 5, text: 'One two' })).toEqual([
    'One ',
    'two',
    'One two',
  ]);
});

test('events after the recorded ones arrive as they come, restarts included', async () => {
  const later = [text(2, 'live'), { type: 'restart', seq: 3, keep: 4 }, text(4, 'again')];
  expect(await read(1, text(1, 'One '), ...later)).toEqual(['One ', 'live', ['restart', 4], 'again']);
  expect(await read(0, ...later)).toEqual(['live', ['restart', 4], 'again']);
});

test('the recorded part arrives with its last event, and does not wait for a later one', async () => {
  const live = Promise.withResolvers<void>();
  async function* events(): AsyncGenerator<TurnEvent> {
    yield* turn(text(1, 'a'), text(2, 'b'));
    await live.promise;
    yield* turn(text(3, 'c'));
  }
  const reading = settledPast(events(), async () => 2);
  expect(await reading.next()).toMatchObject({ value: { text: 'a' } });
  expect(await reading.next()).toMatchObject({ value: { text: 'b' } });
  live.resolve();
  expect(await reading.next()).toMatchObject({ value: { text: 'c' } });
});
