// P15: SIGTERM drains the sentinel. The readiness page fails at once, no new node is admitted, calls in flight finish, every
// node is closed with 1001, and the process exits with 0. A second signal ends it at once.
import { beforeEach, expect, test } from 'vitest';
import { RawNode } from '../kit/raw-node.ts';
import { type OurSentinel, startOurSentinel } from '../kit/sentinel.ts';

let sentinel: OurSentinel;
let server: RawNode;
let caller: RawNode;
beforeEach(async () => {
  sentinel = await startOurSentinel({ env: { FAME_DRAIN_MS: '2000' } });
  server = await RawNode.attached(sentinel.url);
  await server.serve('p15@fame.fabric');
  caller = await RawNode.attached(sentinel.url);
});

const readiness = async (): Promise<number> =>
  (await fetch(`${sentinel.http}/readyz`, { headers: { connection: 'close' } })).status;

/** Sends SIGTERM and waits until the sentinel reports that it drains. */
async function drain(): Promise<void> {
  sentinel.proc.child.kill('SIGTERM');
  await sentinel.proc.waitFor(/drain/i);
}

test('P15: a call in flight is answered during the drain, then every node is closed with 1001 and it exits with 0', async () => {
  expect(await readiness()).toBe(200);
  const sent = caller.sendCall('p15@fame.fabric', 'slow');
  const request = await server.next((m) => m.id === sent.id);
  await drain();
  expect(await readiness()).toBe(503);
  await expect(RawNode.open(sentinel.url)).rejects.toThrow(/503/);
  const refused = await caller.call('p15@fame.fabric', 'new');
  expect(refused.frame).toMatchObject({ type: 'DeliveryAck', ok: false });
  server.answer(request, 'finished');
  expect((await caller.next((m) => m.corrId === sent.corrId)).frame.payload.result).toBe('finished');
  const closed = await Promise.all([caller.closed, server.closed]);
  expect(closed.map(({ code }) => code)).toEqual([1001, 1001]);
  expect(closed[0]?.reason).toMatch(/\w/);
  expect(await sentinel.proc.exited).toEqual({ code: 0, signal: null });
});

test('P15: a stream in flight is delivered to its end', async () => {
  server.onRequest((request) => void server.answerStream(request, 500));
  const sent = caller.sendCall('p15@fame.fabric', 'count', {}, { rtype: 4 });
  await caller.next((m) => m.corrId === sent.corrId);
  await drain();
  for (let n = 2; n <= 500; n++) {
    expect((await caller.next((m) => m.corrId === sent.corrId)).frame.payload.result).toBe(n);
  }
  expect((await caller.next((m) => m.corrId === sent.corrId)).frame.payload.result).toBeNull();
  expect(await sentinel.proc.exited).toEqual({ code: 0, signal: null });
});

test('P15: with nothing in flight it exits without waiting for the drain time', async () => {
  const began = Date.now();
  await drain();
  expect((await sentinel.proc.exited).code).toBe(0);
  expect(Date.now() - began).toBeLessThan(1_500);
});

test('P15: a call that never ends is aborted at the end of the drain time', async () => {
  const sent = caller.sendCall('p15@fame.fabric', 'endless');
  await server.next((m) => m.id === sent.id);
  const began = Date.now();
  await drain();
  expect((await caller.closed).code).toBe(1001);
  expect(Date.now() - began).toBeGreaterThan(1_500);
  expect(Date.now() - began).toBeLessThan(4_500);
  expect((await sentinel.proc.exited).code).toBe(0);
});

test('P15: a second signal ends it at once', async () => {
  const sent = caller.sendCall('p15@fame.fabric', 'endless');
  await server.next((m) => m.id === sent.id);
  await drain();
  const began = Date.now();
  sentinel.proc.child.kill('SIGTERM');
  const { code } = await sentinel.proc.exited;
  expect(code).toBe(143);
  expect(Date.now() - began).toBeLessThan(1_000);
});
