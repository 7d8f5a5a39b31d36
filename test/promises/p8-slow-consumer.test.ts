// P8: the cost of one node that does not read: bounded memory, the node closed with 4008, no other node slower.
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { percentile } from '../kit/percentile.ts';
import { stopAll } from '../kit/processes.ts';
import { type RawNode, RawNodes } from '../kit/raw-node.ts';
import { findNode, type OurSentinel, startOurSentinel } from '../kit/sentinel.ts';

const MiB = 1_048_576;
const BURST = 16;
/** A call is read and written four times on its way; each may come after a burst that was read before. */
const MOST_BURSTS = 8;
let sentinel: OurSentinel;
beforeAll(async () => {
  sentinel = await startOurSentinel();
});
afterAll(stopAll);
const nodes = new RawNodes(() => sentinel.url);
afterEach(() => nodes.closeAll());

/** Bursts of the flood that have been routed. */
let bursts = 0;

/**
 * 99th percentile of the bursts that are routed while a call is answered. Calls follow each other while `goOn` is true. It is
 * counted in bursts, not in time: on a busy machine time shows how busy it is.
 */
async function p99Bursts(caller: RawNode, to: string, goOn: (calls: number) => boolean): Promise<number> {
  const counts: number[] = [];
  while (goOn(counts.length)) {
    const before = bursts;
    await caller.call(to, 'echo', [counts.length]);
    counts.push(bursts - before);
  }
  return percentile(counts, 0.99);
}

/** Sends plain messages to a node without looking at credit, until that node is gone or `messages` are sent. */
async function flood(from: RawNode, target: RawNode, messages: number, size: number): Promise<void> {
  const payload = 'x'.repeat(size);
  for (let n = 1; n <= messages && !target.isClosed; n++) {
    from.send({ to: `__sys__@${target.path}`, frame: { type: 'Data', payload } });
    if (n % BURST !== 0) continue;
    await from.heartbeat(); // its ack shows that the burst has been routed
    bursts++;
  }
}

const look = (node: RawNode) => findNode(sentinel, node);

test('P8: nodes that stop reading are closed with 4008 within 12 s, memory and others are not touched', async () => {
  const [server, caller, flooder] = [
    await nodes.echo('p8@fame.fabric'),
    await nodes.attached(),
    await nodes.attached(),
  ];
  await p99Bursts(caller, 'p8@fame.fabric', (calls) => calls < 500);
  const before = sentinel.proc.rssBytes();

  let most = 0;
  let isOver = false;
  const measuring = p99Bursts(caller, 'p8@fame.fabric', (calls) => {
    if (calls % 20 === 0) most = Math.max(most, sentinel.proc.rssBytes() - before);
    return !isOver;
  });
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

  const delay = await measuring;
  console.info(`P8: 99 of 100 calls are answered within ${delay} bursts of the flood (<= ${MOST_BURSTS})`);
  expect(delay).toBeLessThanOrEqual(MOST_BURSTS);
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
