import { LIMITS } from '@fame-fabric/shared';
import { ManualClock } from '@fame-fabric/shared/testing';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { FakeTransport } from '../testing/fake-transport.ts';
import { CoarseClock } from './coarse-clock.ts';
import { OutboundQueue, QUEUE } from './outbound-queue.ts';
import { QueueBudget } from './queue-budget.ts';

/** Bytes of a socket that accepts nothing now. */
const FULL = 1_000_000;
const MiB = 1_048_576;

function makeQueues(
  count: number,
  limits = { queueBytes: 8 * MiB, queueTotalBytes: 48 * MiB },
  isExact = true,
  hasByteCredit = false,
) {
  const budget = new QueueBudget(limits);
  const time = new CoarseClock(new ManualClock());
  const queues = Array.from({ length: count }, () => {
    const transport = new FakeTransport();
    const queue = new OutboundQueue(time, budget);
    queue.attach(transport, { hasPairFlows: isExact, hasByteCredit });
    return { queue, transport };
  });
  return { budget, queues };
}

const message = (flowId: string, n: number, size: number): Buffer => {
  const bytes = Buffer.alloc(Math.max(size, 40), ' ');
  bytes.write(JSON.stringify({ flowId, n }));
  return bytes;
};

/** Takes what a node received: the numbers of its messages by flow, and its credits. */
function take(transport: FakeTransport) {
  const received: { flowId: string; n: number }[] = [];
  const credits: { flowId: string; credits: number }[] = [];
  for (const bytes of transport.sent.splice(0)) {
    const { flowId, n, frame } = JSON.parse(Buffer.from(bytes).toString('utf8'));
    if (frame) credits.push(frame);
    else received.push({ flowId, n });
  }
  return { received, credits };
}

/** A node that honors its credit, as our links do: a window for each flow that it sends, and a grant after 24 received. */
class HonestNode {
  readonly queue: OutboundQueue;
  readonly #name: string;
  transport: FakeTransport;
  readonly #nodes: readonly HonestNode[];
  readonly #isExact: boolean;
  readonly #credit = new Map<string, number>();
  readonly #backlog = new Map<string, { to: number; size: number }[]>();
  readonly #sent = new Map<string, number>();
  readonly #counts = new Map<string, number>();
  readonly received = new Map<string, number[]>();
  readonly accepted = new Map<string, number[]>();
  connections = 1;

  constructor(
    name: string,
    { queue, transport }: { queue: OutboundQueue; transport: FakeTransport },
    nodes: readonly HonestNode[],
    isExact: boolean,
  ) {
    this.#name = name;
    this.queue = queue;
    this.transport = transport;
    this.#nodes = nodes;
    this.#isExact = isExact;
  }

  get backlog(): number {
    return [...this.#backlog.values()].reduce((sum, { length }) => sum + length, 0);
  }

  send(to: number, size: number, count: number): void {
    const flowId = `${this.#name}-${to}`;
    const backlog = this.#backlog.get(flowId) ?? [];
    this.#backlog.set(flowId, backlog);
    for (let i = 0; i < count; i++) backlog.push({ to, size });
    this.#pump(flowId);
  }

  #pump(flowId: string): void {
    const backlog = this.#backlog.get(flowId) ?? [];
    while (backlog.length > 0 && (this.#credit.get(flowId) ?? LIMITS.creditWindow) > 0) {
      const { to, size } = backlog.shift()!;
      this.#credit.set(flowId, (this.#credit.get(flowId) ?? LIMITS.creditWindow) - 1);
      const n = this.#sent.get(flowId) ?? 0;
      this.#sent.set(flowId, n + 1);
      const target = this.#nodes[to]!;
      if (target.queue.enqueue(message(flowId, n, size), flowId, false)) {
        target.accepted.set(flowId, [...(target.accepted.get(flowId) ?? []), n]);
      }
      expect(this.queue.countReceived(flowId, size, target.queue)).toBe(false);
    }
  }

  /** Reads everything; returns `false` if there was nothing. */
  read(): boolean {
    const { received, credits } = take(this.transport);
    for (const { flowId, n } of received) {
      this.received.set(flowId, [...(this.received.get(flowId) ?? []), n]);
      const count = (this.#counts.get(flowId) ?? 0) + 1;
      this.#counts.set(flowId, count % LIMITS.creditReturnAfter);
      if (count === LIMITS.creditReturnAfter) this.queue.addCredit(flowId, LIMITS.creditWindow);
    }
    for (const { flowId, credits: granted } of credits) {
      const before = this.#credit.get(flowId) ?? LIMITS.creditWindow;
      this.#credit.set(flowId, Math.min(LIMITS.creditWindow, before + granted));
      this.#pump(flowId);
    }
    return received.length + credits.length > 0;
  }

  reconnect(): void {
    this.connections++;
    this.queue.detach();
    this.transport = new FakeTransport();
    for (const flowId of this.#credit.keys()) this.#credit.set(flowId, LIMITS.creditWindow);
    this.#counts.clear();
    this.queue.attach(this.transport, { hasPairFlows: this.#isExact, hasByteCredit: false });
    this.queue.flush();
    for (const flowId of this.#backlog.keys()) this.#pump(flowId);
  }
}

test('honest nodes lose no accepted message, keep the order of each flow, and never deadlock', () => {
  const count = 3;
  const node = fc.integer({ min: 0, max: count - 1 });
  const step = fc.oneof(
    {
      weight: 5,
      arbitrary: fc.record({
        do: fc.constant('send' as const),
        node,
        to: node,
        size: fc.constantFrom(50, 5_000, 65_536, 262_144),
        count: fc.integer({ min: 1, max: 80 }),
      }),
    },
    { weight: 3, arbitrary: fc.record({ do: fc.constant('read' as const), node }) },
    { weight: 2, arbitrary: fc.record({ do: fc.constantFrom('fill' as const, 'drain' as const), node }) },
    { weight: 1, arbitrary: fc.record({ do: fc.constant('reconnect' as const), node }) },
  );
  const limits = fc.constantFrom(
    { queueBytes: MiB, queueTotalBytes: 2 * MiB },
    { queueBytes: 8 * MiB, queueTotalBytes: 12 * MiB },
  );
  fc.assert(
    fc.property(limits, fc.boolean(), fc.array(step, { maxLength: 60 }), (limit, isExact, steps) => {
      const { budget, queues } = makeQueues(count, limit, isExact);
      const nodes: HonestNode[] = [];
      for (const [i, each] of queues.entries()) nodes.push(new HonestNode(`f${i}`, each, nodes, isExact));
      const drain = ({ transport, queue }: HonestNode): void => {
        transport.bufferedBytes = 0;
        queue.flush();
      };
      for (const now of steps) {
        const at = nodes[now.node]!;
        if (now.do === 'send' && now.to !== now.node) at.send(now.to, now.size, now.count);
        else if (now.do === 'read') at.read();
        else if (now.do === 'fill') at.transport.bufferedBytes = FULL;
        else if (now.do === 'drain') drain(at);
        else if (now.do === 'reconnect') {
          // Messages in flight are lost with their connection. This test does not cover them.
          while (at.read());
          at.reconnect();
        }
        expect(budget.queuedBytes).toBeLessThanOrEqual(budget.queueTotalBytes);
        for (const { queue, accepted, received } of nodes) {
          expect(queue.bytes).toBeLessThanOrEqual(budget.queueBytes);
          if (!isExact) continue;
          // No more than a window is added once a flow is long. Each connection of its sender begins with a window.
          for (const [flowId, { length }] of accepted) {
            const waiting = length - (received.get(flowId)?.length ?? 0) - LIMITS.creditWindow;
            const { connections } = nodes[Number(flowId.charAt(1))]!;
            expect(waiting).toBeLessThan(QUEUE.highMessages + LIMITS.creditWindow * connections);
          }
        }
      }
      for (const at of nodes) drain(at);
      for (let isMoving = true; isMoving; ) isMoving = nodes.map((at) => at.read()).includes(true);
      for (const at of nodes) {
        expect(at.backlog).toBe(0);
        expect(at.queue).toMatchObject({ messages: 0, bytes: 0, withheldGrants: 0, hasOverrun: false });
        expect(at.received).toEqual(at.accepted);
      }
      expect(budget.queuedBytes).toBe(0);
    }),
    {
      numRuns: 100,
      examples: [
        [
          { queueBytes: MiB, queueTotalBytes: 2 * MiB },
          true,
          [
            { do: 'send', node: 1, to: 0, size: 50, count: 59 },
            { do: 'send', node: 1, to: 0, size: 50, count: 69 },
            { do: 'reconnect', node: 1 },
          ],
        ],
      ],
    },
  );
});

test('HD10: the credit of a sender is withheld while its flow is long, and granted when it is half empty', () => {
  const { queues } = makeQueues(2);
  const [sender, reader] = queues as [(typeof queues)[0], (typeof queues)[0]];
  reader.transport.bufferedBytes = FULL;
  for (let n = 0; n < 32; n++) {
    reader.queue.enqueue(message('f', n, 65_536), 'f', false);
    sender.queue.countReceived('f', 100, reader.queue);
  }
  expect(take(sender.transport).credits).toEqual([]);
  expect(reader.queue.withheldGrants).toBe(1);
  reader.transport.bufferedBytes = 0;
  reader.queue.flush();
  expect(take(sender.transport).credits).toMatchObject([{ flowId: 'f', credits: 32 }]);
  expect(reader.queue.withheldGrants).toBe(0);
});

test('HD10: credit is granted after 256 KiB of a flow, to a node that bounds its bytes in flight', () => {
  for (const [hasByteCredit, credits] of [
    [true, [{ flowId: 'f', credits: 4 }]],
    [false, []],
  ] as const) {
    const { queues } = makeQueues(2, undefined, true, hasByteCredit);
    const [sender, reader] = queues as [(typeof queues)[0], (typeof queues)[0]];
    for (let n = 0; n < 4; n++) sender.queue.countReceived('f', 65_536, reader.queue);
    expect(take(sender.transport).credits).toMatchObject(credits);
    expect(take(sender.transport).credits).toEqual([]);
  }
});

test('HD10: credit of messages that were refused while it was withheld returns with the grant', () => {
  const { queues } = makeQueues(2, undefined, true, true);
  const [sender, reader] = queues as [(typeof queues)[0], (typeof queues)[0]];
  reader.transport.bufferedBytes = FULL;
  let spent = 0;
  const send = (receiver: OutboundQueue | undefined): void => {
    spent++;
    if (receiver) receiver.enqueue(message('f', spent, 250_000), 'f', false);
    sender.queue.countReceived('f', 250_000, receiver);
  };
  const returned = (): number =>
    take(sender.transport).credits.reduce((sum, { credits }) => sum + credits, 0);
  let credits = 0;
  for (let n = 0; n < 6; n++) send(reader.queue);
  for (let n = 0; n < 5; n++) send(undefined);
  credits += returned();
  expect(credits).toBeLessThan(spent);
  sender.queue.countLinkLocal('f', 100);
  reader.transport.bufferedBytes = 0;
  reader.queue.flush();
  expect(credits + returned()).toBe(spent);
});

test('a large flow does not hold up a small one', () => {
  const { queues } = makeQueues(1);
  const { queue, transport } = queues[0]!;
  transport.bufferedBytes = FULL;
  for (let n = 0; n < 30; n++) queue.enqueue(message('large', n, 65_536), 'large', false);
  for (let n = 0; n < 30; n++) queue.enqueue(message('small', n, 100), 'small', false);
  transport.bufferedBytes = 0;
  queue.flush();
  const order = take(transport).received.map(({ flowId }) => flowId);
  expect(order).toHaveLength(60);
  expect(order.lastIndexOf('small')).toBeLessThan(40);
  expect(order.slice(0, 2)).toEqual(['large', 'small']);
});

test('HD14: many stalled queues share the budget, and a single queue gets its whole bound', () => {
  const limits = { queueBytes: 8 * MiB, queueTotalBytes: 24 * MiB };
  const fill = ({ queue, transport }: { queue: OutboundQueue; transport: FakeTransport }): void => {
    transport.bufferedBytes = FULL;
    for (let n = 0; queue.enqueue(message(`f${n}`, n, 16_384), `f${n}`, true); n++);
  };
  const alone = makeQueues(1, limits);
  fill(alone.queues[0]!);
  expect(alone.queues[0]!.queue.bytes).toBeGreaterThan(8 * MiB - 17_000);

  const many = makeQueues(200, limits);
  for (const each of many.queues) fill(each);
  for (const each of many.queues) fill(each);
  expect(many.budget.queuedBytes).toBeLessThanOrEqual(24 * MiB);
  for (const { queue } of many.queues) queue.close();
  expect(many.budget.queuedBytes).toBe(0);
});

test('requests leave room for answers', () => {
  const { queues } = makeQueues(1, { queueBytes: MiB, queueTotalBytes: 4 * MiB });
  const { queue, transport } = queues[0]!;
  transport.bufferedBytes = FULL;
  for (let n = 0; queue.enqueue(message(`r${n}`, n, 16_384), `r${n}`, false); n++);
  expect(queue.bytes).toBeLessThanOrEqual(MiB * QUEUE.requestShare);
  for (let n = 0; n < 10; n++) expect(queue.enqueue(message('a', n, 16_384), 'a', true)).toBe(true);
});

test('a sender overruns its credit by a message beyond its window, and recovers with the next grant', () => {
  const { queues } = makeQueues(2);
  const [sender, reader] = queues as [(typeof queues)[0], (typeof queues)[0]];
  reader.transport.bufferedBytes = FULL;
  let sent = 0;
  const send = (): boolean => {
    reader.queue.enqueue(message('f', sent++, 65_536), 'f', false);
    return sender.queue.countReceived('f', 100, reader.queue);
  };
  for (let n = 0; n < 32; n++) expect(send()).toBe(false);
  expect(send()).toBe(true);
  expect(send()).toBe(false);
  expect(sender.queue.hasOverrun).toBe(true);
  let recovered = 0;
  sender.queue.onRecovered = () => recovered++;
  reader.queue.detach();
  expect(recovered).toBe(1);
  expect(sender.queue.hasOverrun).toBe(false);
});

test('a message of the sentinel is accepted by a full queue of a disconnected node', () => {
  const { queues } = makeQueues(1, { queueBytes: MiB, queueTotalBytes: 2 * MiB });
  const { queue } = queues[0]!;
  queue.detach();
  for (let n = 0; queue.enqueue(message(`f${n}`, n, 16_384), `f${n}`, true); n++);
  const before = queue.messages;
  for (let n = 0; n < 100; n++) queue.sendControl(message('', n, 400));
  expect(queue.messages).toBe(before + 100);
  expect(queue.isSaturated).toBe(false);
  for (let n = 0; n < 10_000; n++) queue.sendControl(message('', n, 400));
  expect(queue.isSaturated).toBe(true);
  expect(queue.bytes).toBeLessThan(2 * MiB);
});
