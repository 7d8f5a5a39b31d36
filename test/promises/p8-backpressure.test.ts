// Backpressure: senders that honor their credit are slowed and not refused, however much they send at once. A node that reads
// is never closed. All queues of the sentinel together have a bound.
import { afterEach, describe, expect, test } from 'vitest';
import { connectLink, serviceOf } from '../kit/our-node.ts';
import { id, type RawNode } from '../kit/raw-node.ts';
import { findNode, metric } from '../kit/sentinel.ts';
import { startWire } from '../kit/wire.ts';

const MiB = 1_048_576;
// The queues of lost nodes are kept for the resume window, and leave little room for others. This hook is registered before those
// of the set-up, so it runs after them.
afterEach(() => expect.poll(() => read('fame_queued_bytes')).toBe(0));
const { sentinel, nodes } = startWire();

const read = (name: string): Promise<number> => metric(sentinel, name);
/** Counts by code, so it has no line before the first refusal. */
const refused = (): Promise<number> => metric(sentinel, 'fame_refused_total', 0);

/** An agent that answers with `params.bytes` characters, and its bystander at another address. */
async function agents(): Promise<void> {
  const service = serviceOf({ answer: ([params]) => 'x'.repeat((params as { bytes: number }).bytes) });
  await (await connectLink(sentinel.url)).bind('answers@fame.fabric', service);
  await (await connectLink(sentinel.url)).bind('bystander@fame.fabric', service);
}

/** Calls `calls` times at once from each of `callers` links; resolves to the errors. */
async function callAtOnce(
  callers: number,
  calls: number,
  request: number,
  answer: number,
): Promise<unknown[]> {
  const params = { bytes: answer, text: 'x'.repeat(request) };
  const links = await Promise.all(Array.from({ length: callers }, () => connectLink(sentinel.url)));
  const settled = await Promise.allSettled(
    links.flatMap((link) =>
      Array.from({ length: calls }, () =>
        link.call('answers@fame.fabric', 'answer', params, { timeoutMs: 60_000 }),
      ),
    ),
  );
  return settled.flatMap((result) => (result.status === 'rejected' ? [result.reason] : []));
}

describe('all calls at once are answered, none is refused, and no node is closed', () => {
  const KB = 1_000;
  test.each([
    ['256 requests of 64 KB', 1, 256, 64 * KB, 10],
    ['512 requests of 64 KB', 1, 512, 64 * KB, 10],
    ['1,000 requests of 16 KB', 1, 1_000, 16 * KB, 10],
    ['200 answers of 150 KB', 1, 200, 10, 150 * KB],
    ['500 answers of 150 KB', 1, 500, 10, 150 * KB],
    ['2,000 answers of 8 KB', 1, 2_000, 10, 8 * KB],
    ['20 callers with 40 answers of 150 KB each', 20, 40, 10, 150 * KB],
  ])('HD10, X2: %s', async (_name, callers, calls, request, answer) => {
    await agents();
    const before = { refused: await refused(), rss: sentinel.proc.rssBytes() };
    const bystander = await connectLink(sentinel.url);
    let isOver = false;
    const beside = (async () => {
      for (let made = 1; ; made++) {
        await bystander.call('bystander@fame.fabric', 'answer', { bytes: 10 });
        if (isOver) return made;
      }
    })();
    const errors = await callAtOnce(callers, calls, request, answer);
    isOver = true;
    expect(errors).toEqual([]);
    expect(await beside).toBeGreaterThan(0);
    expect((await refused()) - before.refused).toBe(0);
    expect(await read('fame_closed_slow_total')).toBe(0);
    expect(await read('fame_closed_overrun_total')).toBe(0);
    expect(await read('fame_queued_bytes')).toBe(0);
    expect(await read('fame_withheld_grants')).toBe(0);
  });
});

describe('nodes that do not read', () => {
  const text = 'x'.repeat(64_000);
  const gauges = async () => ({
    queued: await read('fame_queued_bytes'),
    held: await read('fame_socket_bytes'),
    total: await read('fame_queue_total_limit_bytes'),
  });

  test('HD14, X2: 93 of them let the sentinel grow by at most 64 MB', async () => {
    await nodes.echo('echo@fame.fabric');
    const caller = await nodes.attached();
    // Warm up with the same traffic to a node that reads, so that the heap grows to its working size first.
    for (let n = 0; n < 1_000; n++) await caller.call('echo@fame.fabric', 'echo', [text]);
    const before = sentinel.proc.rssBytes();
    const stalled = await Promise.all(Array.from({ length: 93 }, () => nodes.attached()));
    for (const node of stalled) node.stall();
    const most = { grown: 0, queued: 0, held: 0 };
    // 10 MB of answers for each, of which the system takes 2 MB, and replies of the sentinel itself. A slow machine closes the first
    // nodes before the last round, so each round is measured.
    for (let round = 0; round < 16; round++) {
      for (const node of stalled) {
        if (node.isClosed) continue;
        for (let n = 0; n < 10; n++) node.sendCall('echo@fame.fabric', 'echo', [text], { flowId: id() });
        for (let n = 0; n < 20; n++) node.sendCall('nowhere@fame.fabric', 'echo');
      }
      await caller.call('echo@fame.fabric', 'echo', []);
      const { queued, held } = await gauges();
      most.grown = Math.max(most.grown, sentinel.proc.rssBytes() - before);
      most.queued = Math.max(most.queued, queued);
      most.held = Math.max(most.held, held);
    }
    const { total } = await gauges();
    const { grown, queued, held } = most;
    console.info(
      `HD14: at most ${(grown / MiB).toFixed(1)} MiB more, ${queued} B queued, ${held} B in sockets`,
    );
    expect(queued).toBeGreaterThan(total / 2);
    expect(queued).toBeLessThanOrEqual(total);
    expect(grown).toBeLessThanOrEqual(64 * MiB);
    expect(caller.isClosed).toBe(false);
  });

  test('HD14: the bytes in their sockets are counted until they are closed', async () => {
    const agent = await nodes.attached();
    // Each answer has its own flow, so that the socket is full before the window is used up.
    await agent.serve('held@fame.fabric', (request) =>
      agent.answer(request, request.frame.payload.params, { flowId: id() }),
    );
    const caller = await nodes.attached();
    const stalled = await nodes.attached();
    stalled.stall();
    const held = async (): Promise<number> => {
      for (let n = 0; n < 20; n++) stalled.sendCall('held@fame.fabric', 'echo', [text]);
      await caller.call('held@fame.fabric', 'echo', []);
      return (await gauges()).held;
    };
    await expect.poll(held).toBeGreaterThan(65_536);
    await stalled.cut();
    await expect.poll(async () => (await gauges()).held).toBe(0);
  });
});

describe('a node that ignores its credit', () => {
  const attach = { capabilities: ['fame.capability.pair-flows'] };
  /** Sends requests on one flow until the sentinel closes the node. */
  async function overrun(node: RawNode, to: string): Promise<void> {
    const text = 'x'.repeat(60_000);
    for (let n = 0; n < 4_000 && !node.isClosed; n++) {
      node.sendCall(to, 'never', [text]);
      if (n % 16 === 0) await new Promise((resolve) => setImmediate(resolve));
    }
  }

  test('HD10: is read again as soon as its receiver has caught up', async () => {
    const reader = await nodes.attached({ credits: false });
    await reader.serve('later@fame.fabric');
    const hasty = await nodes.attached({ attach });
    const paused = await read('fame_paused_total');
    const sent = Array.from({ length: 100 }, () =>
      hasty.sendCall('later@fame.fabric', 'm', ['x'.repeat(60_000)]),
    );
    await expect.poll(() => read('fame_paused_total')).toBe(paused + 1);
    const flowId = hasty.flowId;
    const grant = { flowFlags: 2, flowId, frame: { type: 'CreditUpdate', flowId, credits: 32 } };
    const received: string[] = [];
    while (received.length < sent.length) {
      const { corrId } = await reader.next(({ frame }) => frame.type === 'Data');
      if (received.push(corrId) % 24 === 0) reader.send(grant);
    }
    expect(received).toEqual(sent.map(({ corrId }) => corrId));
    expect((await hasty.heartbeat()).frame.ok).toBe(true);
  });

  test('HD10: is paused and closed with 4008, and neither its receiver nor the calls of others are', async () => {
    const reader = await nodes.attached({ credits: false });
    await reader.serve('slow@fame.fabric');
    const [hostile, caller] = [await nodes.attached({ attach }), await nodes.attached()];
    await nodes.echo('other@fame.fabric');
    const flooding = overrun(hostile, 'slow@fame.fabric');
    expect((await hostile.closed).code).toBe(4008);
    await flooding;
    expect(await read('fame_paused_total')).toBeGreaterThan(0);
    expect((await findNode(sentinel, reader))?.state).toBe('attached');
    expect((await caller.call('other@fame.fabric', 'echo', ['after'])).frame.payload.result).toEqual([
      'after',
    ]);
  });
});
