import { CaptureLog, ManualClock, settle } from '@fame-fabric/shared/testing';
import { expect, test } from 'vitest';
import { MemoryStore } from './memory-store.ts';
import { Sweeper } from './sweeper.ts';

const HOUR = 3_600_000;
const DAY = 24 * HOUR;

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

const count = async (store: MemoryStore, inTrash = false): Promise<number> =>
  (await store.list({ inTrash, limit: 10_000 })).length;

test('expired conversations stay in the trash for 7 days, and the log counts both steps', async () => {
  const clock = new ManualClock();
  const log = new CaptureLog();
  const store = await filled(clock, 450);
  const sweeper = new Sweeper(store, { ttlDays: 30, clock, log, everyMs: 31 * DAY });
  sweeper.start();
  await settle();
  expect(await count(store)).toBe(450);
  clock.advance(31 * DAY);
  await settle();
  expect([await count(store), await count(store, true)]).toEqual([0, 450]);
  clock.advance(31 * DAY);
  await settle();
  await sweeper.stop();
  expect(await count(store, true)).toBe(0);
  expect(log.lines).toEqual([
    {
      level: 'info',
      message: 'conversations moved to the trash',
      fields: { moved: 450, ended: 0, storeBytes: 454_950 },
    },
    { level: 'info', message: 'conversations removed', fields: { removed: 450, storeBytes: 0 } },
  ]);
  expect(clock.timerCount).toBe(0);
});

test.each([
  ['while the process runs', false],
  ['before it starts', true],
])('HD11: a clock 31 days ahead %s deletes nothing for 24 hours of running time', async (_, restarts) => {
  const clock = new ManualClock();
  const log = new CaptureLog();
  const store = await filled(clock, 20);
  const start = (): Sweeper => {
    const sweeper = new Sweeper(store, { clock, log });
    sweeper.start();
    return sweeper;
  };
  let sweeper = start();
  await clock.run(HOUR);
  if (restarts) await sweeper.stop();
  clock.stepWall(31 * DAY);
  if (restarts) sweeper = start();
  await clock.run(23 * HOUR);
  expect(await count(store)).toBe(20);
  expect(log.messages('warn')).toEqual([expect.stringContaining('"npx fame-fabric conversations sweep"')]);
  expect(log.lines[0]!.fields).toEqual({ jumpDays: 31, heldHours: 24, store: 'memory' });
  await clock.run(2 * HOUR);
  expect([await count(store), await count(store, true)]).toEqual([0, 20]);
  // A second jump does not delete the trash either.
  clock.stepWall(8 * DAY);
  await clock.run(23 * HOUR);
  expect(await count(store, true)).toBe(20);
  await clock.run(2 * HOUR);
  expect(await count(store, true)).toBe(0);
  await sweeper.stop();
});

test('HD11: the running time of a hold is kept across restarts', async () => {
  const clock = new ManualClock();
  const store = await filled(clock, 3);
  for (const hours of [1, 8, 8, 7]) {
    const sweeper = new Sweeper(store, { clock });
    sweeper.start();
    await clock.run(hours * HOUR - 1, 10 * 60_000);
    expect(await count(store)).toBe(3);
    await sweeper.stop();
    // Only the first gap is long.
    clock.stepWall(hours === 1 ? 31 * DAY : 2 * HOUR);
  }
  const sweeper = new Sweeper(store, { clock });
  sweeper.start();
  await clock.run(2 * HOUR);
  expect([await count(store), await count(store, true)]).toEqual([0, 3]);
  await sweeper.stop();
});

test('HD11: neither a backward step nor small steps of the clock hold sweeps', async () => {
  const clock = new ManualClock();
  const log = new CaptureLog();
  const store = await filled(clock, 3);
  const sweeper = new Sweeper(store, { clock, log });
  sweeper.start();
  for (const step of [31_000, HOUR, -DAY, 60_000]) {
    clock.stepWall(step);
    await clock.run(HOUR);
  }
  expect(log.lines).toEqual([]);
  expect(await count(store)).toBe(3);
  await clock.run(32 * DAY, HOUR);
  expect(await count(store, true)).toBe(3);
  await sweeper.stop();
});

test('a stop ends a long sweep after its current page', async () => {
  const clock = new ManualClock();
  const store = await filled(clock, 1_000);
  const sweeper = new Sweeper(store, { clock });
  clock.advance(31 * DAY);
  sweeper.start();
  await sweeper.stop();
  expect(await count(store, true)).toBe(200);
});

test('one of the processes that share a store sweeps it', async () => {
  const clock = new ManualClock();
  const store = await filled(clock, 3);
  const second = new MemoryStore({ clock, sharedWith: store });
  const sweepers = [new Sweeper(store, { clock }), new Sweeper(second, { clock })] as const;
  for (const sweeper of sweepers) await sweeper.sweep();
  clock.advance(31 * DAY);
  expect(await sweepers[1].sweep()).toBe(0);
  expect(await sweepers[0].sweep()).toBe(3);
  expect(await store.time()).toMatchObject({ runningMs: 31 * DAY, heldMs: 0 });
});

test('0 days keep conversations forever', async () => {
  const clock = new ManualClock();
  const store = await filled(clock, 3);
  clock.advance(10_000 * DAY);
  expect(await new Sweeper(store, { ttlDays: 0, clock }).sweep()).toBe(0);
});

test('ended conversations are moved to the trash before the store is full', async () => {
  const clock = new ManualClock();
  const store = await filled(clock, 10, { state: 'completed' });
  expect(await new Sweeper(store, { ttlDays: 0, maxBytes: 10_000, clock }).sweep()).toBe(2);
  expect(await count(store)).toBe(8);
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
