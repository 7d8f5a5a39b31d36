import { CaptureLog, ManualClock, settle } from '@fame-fabric/shared/testing';
import { expect, test } from 'vitest';
import { MemoryStore } from './memory-store.ts';
import { Sweeper } from './sweeper.ts';

const DAY = 86_400_000;

async function filled(clock: ManualClock, count: number, more: { state?: 'completed' } = {}) {
  const store = new MemoryStore({ clock });
  for (let i = 0; i < count; i++) {
    const id = `c${i}`;
    const started = {
      kind: 'conversation_started' as const,
      at: clock.now(),
      body: { text: 'x'.repeat(1_000) },
    };
    await store.create({ id, agent: 'a@f', startCallId: id, historyTurns: 1, totals: {}, started });
    if (more.state) {
      const { fence } = (await store.acquire(id, 1))!;
      await store.append({ conversationId: id, fence, after: 1, events: [], leaseMs: 0, state: more.state });
    }
  }
  return store;
}

test('expired conversations are removed at the start and at each interval, and counted in the log', async () => {
  const clock = new ManualClock();
  const log = new CaptureLog();
  const store = await filled(clock, 450);
  const sweeper = new Sweeper(store, { ttlDays: 30, clock, log, everyMs: 31 * DAY });
  sweeper.start();
  await settle();
  expect(await store.list({ limit: 1_000 })).toHaveLength(450);
  clock.advance(31 * DAY);
  await settle();
  await sweeper.stop();
  expect(await store.list()).toHaveLength(0);
  expect(log.lines).toContainEqual({
    level: 'info',
    message: 'conversations removed',
    fields: { removed: 450, ended: 0, storeBytes: 0 },
  });
  expect(clock.timerCount).toBe(0);
});

test('0 days keep conversations forever', async () => {
  const clock = new ManualClock();
  const store = await filled(clock, 3);
  clock.advance(10_000 * DAY);
  expect(await new Sweeper(store, { ttlDays: 0, clock }).sweep()).toBe(0);
});

test('ended conversations are removed before the store is full', async () => {
  const clock = new ManualClock();
  const store = await filled(clock, 10, { state: 'completed' });
  expect(await new Sweeper(store, { ttlDays: 0, maxBytes: 10_000, clock }).sweep()).toBeGreaterThan(0);
  expect((await store.sweep({})).bytes).toBeLessThanOrEqual(9_000);
});

test('a nearly full store without removable conversations is logged', async () => {
  const clock = new ManualClock();
  const log = new CaptureLog();
  const store = await filled(clock, 10);
  await new Sweeper(store, { ttlDays: 0, maxBytes: 10_000, clock, log }).sweep();
  expect(log.messages('warn')).toEqual([
    'the conversation store is nearly full and has no conversation to remove',
  ]);
});

test('a failing store is logged and does not end the process', async () => {
  const clock = new ManualClock();
  const log = new CaptureLog();
  const store = await filled(clock, 1);
  await store.close();
  const sweeper = new Sweeper(store, { clock, log });
  sweeper.start();
  await settle();
  await sweeper.stop();
  expect(log.messages('warn')).toEqual(['cannot sweep the conversation store']);
  await expect(sweeper.sweep()).rejects.toMatchObject({ code: 'STORE_UNAVAILABLE' });
});
