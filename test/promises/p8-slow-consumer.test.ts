// P8: the cost of one node that does not read: bounded memory, the node closed with 4008, no other node slower.
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { percentile } from '../kit/percentile.ts';
import { stopAll } from '../kit/processes.ts';
import { type RawNode, RawNodes } from '../kit/raw-node.ts';
import { findNode, type OurSentinel, startOurSentinel } from '../kit/sentinel.ts';

const MiB = 1_048_576;
let sentinel: OurSentinel;
beforeAll(async () => {
  sentinel = await startOurSentinel();
});
afterAll(stopAll);
const nodes = new RawNodes(() => sentinel.url);
afterEach(() => nodes.closeAll());

/** 99th percentile in ms of calls, one after the other, while `goOn` is true. */
async function p99(caller: RawNode, to: string, goOn: (calls: number) => boolean): Promise<number> {
  const times: number[] = [];
  while (goOn(times.length)) {
    const began = performance.now();
    await caller.call(to, 'echo', [times.length]);
    times.push(performance.now() - began);
  }
  return percentile(times, 0.99);
}

/** Sends plain messages to a node without looking at credit, until that node is gone or `messages` are sent. */
async function flood(from: RawNode, target: RawNode, messages: number, size: number): Promise<void> {
  const payload = 'x'.repeat(size);
  for (let n = 1; n <= messages && !target.isClosed; n++) {
    from.send({ to: `__sys__@${target.path}`, frame: { type: 'Data', payload } });
    // The ack shows that the burst has been routed: a flood that outruns a busy machine would measure the machine.
    if (n % 16 === 0) await from.heartbeat();
  }
}

const look = (node: RawNode) => findNode(sentinel, node);

test('P8: nodes that stop reading are closed with 4008 within 12 s, memory and others are not touched', async () => {
  const [server, caller, flooder] = [
    await nodes.echo('p8@fame.fabric'),
    await nodes.attached(),
    await nodes.attached(),
  ];
  // The same calls through a sentinel of its own, which no node floods: the machine is as busy for both.
  const quiet = await startOurSentinel();
  const quietNodes = new RawNodes(() => quiet.url);
  await quietNodes.echo('p8@fame.fabric');
  const control = await quietNodes.attached();
  for (const node of [caller, control]) await p99(node, 'p8@fame.fabric', (calls) => calls < 500);
  const before = sentinel.proc.rssBytes();

  let most = 0;
  let isOver = false;
  const measuring = p99(caller, 'p8@fame.fabric', (calls) => {
    if (calls % 20 === 0) most = Math.max(most, sentinel.proc.rssBytes() - before);
    return !isOver;
  });
  const comparing = p99(control, 'p8@fame.fabric', () => !isOver);
  for (let round = 0; round < 3; round++) {
    const slow = await nodes.attached({ credits: false });
    slow.stall();
    const began = Date.now();
    // More than its queue, its socket and the kernel can hold.
    const flooding = flood(flooder, slow, 4_000, 16_000);
    await expect.poll(() => look(slow), { timeout: 12_000, interval: 50 }).toBeUndefined();
    expect(Date.now() - began).toBeLessThan(12_000);
    slow.resume();
    expect((await slow.closed).code).toBe(4008);
    await flooding;
  }
  isOver = true;

  expect(await measuring).toBeLessThan(Math.max(2 * (await comparing), 100));
  await quietNodes.closeAll();
  expect(most / MiB).toBeLessThan(64);
  expect(server.isClosed || caller.isClosed || flooder.isClosed).toBe(false);
});

test('P8: a reader that pays no credit is closed within 12 s even when its socket takes everything', async () => {
  const [flooder, silent] = [await nodes.attached(), await nodes.attached({ credits: false })];
  const began = Date.now();
  await flood(flooder, silent, 100, 1_000);
  expect((await look(silent))?.queuedMessages).toBeGreaterThan(0);
  expect((await silent.closed).code).toBe(4008);
  expect(Date.now() - began).toBeLessThan(12_500);
});

describe('a full queue', () => {
  test('P8: NODE_BUSY refuses new calls at once while the queue is long', async () => {
    const slow = await nodes.attached({ credits: false });
    await slow.serve('behind@fame.fabric');
    const [flooder, caller] = [await nodes.attached(), await nodes.attached()];
    await flood(flooder, slow, 4_500, 100);
    await expect.poll(async () => (await look(slow))?.queuedMessages).toBeGreaterThan(4_096);
    const nack = await caller.call('behind@fame.fabric', 'any');
    expect(nack.frame).toMatchObject({ type: 'DeliveryAck', ok: false, code: 'NODE_BUSY' });
  });

  test('Q10: heartbeats of a node are acked although all that it sends waits for a slow reader', async () => {
    const slow = await nodes.attached({ credits: false });
    const flooder = await nodes.attached();
    await flood(flooder, slow, 2_000, 1_000);
    expect((await flooder.heartbeat()).frame.ok).toBe(true);
    expect((await slow.heartbeat()).frame.ok).toBe(true);
  });
});
