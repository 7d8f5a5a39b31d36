import { settle } from '@fame-fabric/shared/testing';
import { expect, test, vi } from 'vitest';
import { ANONYMOUS_CALLER } from '../access/access.ts';
import { FakeTransport } from '../testing/fake-transport.ts';
import { makeTestParts } from '../testing/sentinel-parts.ts';

const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;
const STEPS = [
  ['+31 s', 31_000],
  ['+1 h', HOUR_MS],
  ['-1 day', -DAY_MS],
  ['+31 days', 31 * DAY_MS],
] as const;

/** Parts whose sweeper runs, as in a started sentinel. */
function running() {
  const parts = makeTestParts();
  parts.sweeper.start();
  const open = (systemId: string): FakeTransport => {
    const transport = new FakeTransport();
    parts.admission.open(transport, { origin: 'downstream', systemId, authentication: ANONYMOUS_CALLER });
    return transport;
  };
  /** Lets time pass as it does: in sweeps, between which pongs arrive. */
  const run = (ms: number) => parts.clock.run(ms, 1_000);
  return { ...parts, open, run };
}

test.each(STEPS)('HD11: a step of the wall clock by %s closes no healthy node', async (_name, ms) => {
  const { attach, clock, run, table } = running();
  const node = attach('node');
  await run(3_000);
  clock.stepWall(ms);
  await run(10_000);
  expect(node.transport.closed).toBeUndefined();
  expect(table.size).toBe(1);
});

test.each(STEPS)(
  'HD11: a step by %s prolongs no connection that never attaches, and hides none behind it',
  async (_name, ms) => {
    const { clock, open, run } = running();
    clock.stepWall(ms);
    const first = open('first');
    clock.stepWall(-ms);
    const second = open('second');
    await run(5_000);
    expect([first.closed?.code, second.closed?.code]).toEqual([4408, 4408]);
  },
);

test.each(STEPS)(
  'HD11: a step by %s neither keeps a dead node nor ends its resume window',
  async (_name, ms) => {
    const { attach, clock, run } = running();
    const silent = attach('silent');
    silent.transport.isAlive = false;
    const lost = attach('lost');
    clock.stepWall(ms);
    lost.lose();
    await run(4_900);
    expect(lost.session.state).toBe('detached');
    await run(200);
    expect(lost.session.state).toBe('gone');
    await run(28_000);
    expect(silent.session.state).toBe('gone');
  },
);

test.each(STEPS)(
  'HD11: a step by %s closes a node that does not read after 10 s, and not before',
  async (_name, ms) => {
    const { attach, clock, run } = running();
    const slow = attach('slow');
    const sender = attach('sender');
    for (let n = 0; n < 40; n++) {
      sender.send({ type: 'Data', payload: n }, { to: `inbox@${slow.path}` });
    }
    clock.stepWall(ms);
    await run(7_900);
    expect(slow.session.state).toBe('attached');
    await run(2_100);
    expect(slow.transport.closed?.code).toBe(4008);
  },
);

test('HD26: connections that never attach are closed 4.8 s after they opened, one by one', async () => {
  const { clock, open } = running();
  const opened: FakeTransport[] = [];
  for (let n = 0; n < 5; n++) {
    opened.push(open(`node${n}`));
    clock.advance(1_000);
  }
  const closed = (): number => opened.filter((transport) => transport.closed !== undefined).length;
  // The first was opened 5 s ago.
  expect(closed()).toBe(1);
  for (let n = 1; n < 5; n++) {
    clock.advance(799);
    expect(closed()).toBe(n);
    clock.advance(1);
    expect(closed()).toBe(n + 1);
    clock.advance(200);
  }
});

test('HD26: admission sets no timer while no connection waits to attach', async () => {
  const { attach, clock, open } = running();
  const idle = clock.timerCount;
  attach('node');
  open('silent');
  expect(clock.timerCount).toBe(idle + 1);
  clock.advance(10_000);
  expect(clock.timerCount).toBe(idle);
});

test('HD26: a silent node is closed after 30 to 32 s, whenever its last message arrived', async () => {
  for (let offset = 0; offset < 2_000; offset += 250) {
    const { attach, clock, run } = running();
    clock.advance(offset);
    const node = attach('node');
    node.transport.isAlive = false;
    await run(30_000);
    expect(node.transport.terminated).toBe(false);
    await run(2_000);
    expect(node.transport.terminated).toBe(true);
  }
});

test('HD26: a stalled queue is found within 10 s, whenever it stalled', async () => {
  for (let offset = 0; offset < 2_000; offset += 250) {
    const { attach, clock, run } = running();
    const slow = attach('slow');
    const sender = attach('sender');
    clock.advance(offset);
    for (let n = 0; n < 40; n++) {
      sender.send({ type: 'Data', payload: n }, { to: `inbox@${slow.path}` });
    }
    await run(8_000);
    expect(slow.transport.closed).toBeUndefined();
    await run(2_000);
    expect(slow.transport.closed?.code).toBe(4008);
  }
});

test('a node that sends a heartbeat every 15 s is never pinged, and one that misses a heartbeat is', async () => {
  for (let offset = 0; offset < 2_000; offset += 250) {
    const { attach, clock, run } = running();
    clock.advance(offset);
    const node = attach('node');
    for (let beat = 0; beat < 4; beat++) {
      await run(15_000);
      node.send({ type: 'NodeHeartbeat' }, { corrId: 'beat' });
    }
    expect(node.transport.pings).toBe(0);
    await run(19_000);
    expect(node.transport.pings).toBe(1);
  }
});

test('without a rotated key a sweep does not look at the keys of sessions', async () => {
  const { attach, run } = running();
  const { session } = attach('node');
  const terms = vi.spyOn(session, 'terms', 'get');
  await run(10_000);
  expect(terms).not.toHaveBeenCalled();
});

test('no sweep looks at a node before it may have been silent for too long', async () => {
  const { attach, run } = running();
  const { session } = attach('node');
  await run(2_000);
  const silence = vi.spyOn(session, 'silentMs', 'get');
  await run(14_000);
  expect(silence).not.toHaveBeenCalled();
  await run(2_000);
  expect(silence).toHaveBeenCalled();
});

test('a node that resumed is closed after the same silence as other nodes, and then forgotten', async () => {
  const { attach, run, table } = running();
  const node = attach('node');
  await run(10_000);
  node.lose();
  await run(3_000);
  const again = attach('node');
  expect(again.session).toBe(node.session);
  again.transport.isAlive = false;
  await run(29_000);
  expect(again.transport.terminated).toBe(false);
  await run(3_000);
  expect(again.transport.terminated).toBe(true);
  expect(table.size).toBe(0);
});

test('a sentinel that was stopped or blocked for a minute closes no node because of it', async () => {
  const { attach, clock, run, sweeper } = running();
  const node = attach('node');
  // No timer fires meanwhile; then the first sweep comes before the messages that have arrived are read.
  sweeper.stop();
  clock.advance(60_000);
  sweeper.sweep();
  sweeper.start();
  await settle();
  await run(10_000);
  expect(node.transport.closed).toBeUndefined();
});

test('a node whose credential expires is closed with 4410 within 5 s, and may resume with a new one', async () => {
  const { attach, clock, run, table } = running();
  const principal = { id: 'ada', roles: ['client'] } as const;
  const node = attach('node', { principal, expiresAt: clock.now() + 10_000 });
  const other = attach('other', { principal });
  await run(9_000);
  expect(node.transport.closed).toBeUndefined();
  await run(3_000);
  expect(node.transport.closed?.code).toBe(4410);
  expect(node.session.state).toBe('detached');
  const again = attach('node', { principal, expiresAt: clock.now() + 60_000 });
  expect(again.session).toBe(node.session);
  await run(20_000);
  expect([again.transport.closed, other.transport.closed, table.size]).toEqual([undefined, undefined, 2]);
});
