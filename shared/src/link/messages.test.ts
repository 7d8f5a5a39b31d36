// Messages that are not calls: acknowledged ones are resent until their receiver accepts them, and it handles each of them once.
import { describe, expect, test, vi } from 'vitest';
import { FabricError } from '../errors/error.ts';
import { type Envelope, makeEnvelope } from '../protocol/envelope.ts';
import { attach, errorOf } from '../testing/attach.ts';
import { ManualClock, settle } from '../testing/manual-clock.ts';
import { ScriptedSentinel } from '../testing/scripted-sentinel.ts';
import type { Service } from './link-types.ts';

const TO = 'receiver@fame.fabric';
const ACK = { ack: true } as const;

async function fabric(service: Partial<Service> = {}) {
  const clock = new ManualClock();
  const sentinel = new ScriptedSentinel();
  const receiver = await attach(sentinel, { systemId: 'receiver', clock });
  const receiverNode = sentinel.node;
  await receiver.bind(TO, { onCall: (call) => call.fail(new Error('not a message')), ...service });
  const sender = await attach(sentinel, { systemId: 'sender', clock });
  const senderNode = sentinel.node;
  const sent = () => sentinel.framesOf('Data', senderNode);
  const acks = () => sentinel.framesOf('DeliveryAck', receiverNode);
  return { clock, sentinel, receiver, sender, sent, acks };
}

/** Drops the first `count` envelopes of one type. */
function lose(sentinel: ScriptedSentinel, type: 'Data' | 'DeliveryAck', count: number): void {
  sentinel.intercept = ({ frame }) => (frame.type === type && count-- > 0 ? false : undefined);
}

describe('NF6: an acknowledged message', () => {
  test('resolves when the receiver has accepted it', async () => {
    const onMessage = vi.fn();
    const { sender, sent, acks } = await fabric({ onMessage });
    await sender.send(TO, { hello: 1 }, ACK);
    expect(onMessage).toHaveBeenCalledWith({ hello: 1 }, expect.anything());
    const [message] = sent();
    expect(message).toMatchObject({ rtype: 1, replyTo: expect.stringMatching(/^__rpc__/) });
    expect(acks()).toMatchObject([
      { corrId: message!.corrId, frame: { type: 'DeliveryAck', ok: true, refId: message!.id } },
    ]);
    expect(sender.counts.unacknowledged).toBe(0);
  });

  test.each(['Data', 'DeliveryAck'] as const)(
    'is resent when its %s is lost, and handled once',
    async (type) => {
      const onMessage = vi.fn();
      const { clock, sender, sentinel, sent } = await fabric({ onMessage });
      lose(sentinel, type, 2);
      const payload = { n: 1 };
      const sending = sender.send(TO, payload, ACK);
      payload.n = 2;
      await clock.run(4_000);
      await sending;
      expect(new Set(sent().map(({ id }) => id)).size).toBe(1);
      expect(sent()).toHaveLength(3);
      expect(onMessage.mock.calls.map(([value]) => value)).toEqual([{ n: 1 }]);
    },
  );

  test('fails with CALL_TIMEOUT when no acknowledgement arrives in time', async () => {
    const { clock, sender, sentinel, sent } = await fabric({ onMessage: vi.fn() });
    lose(sentinel, 'Data', 1_000);
    const failed = errorOf(sender.send(TO, 'x', { ...ACK, timeoutMs: 10_000 }));
    await clock.run(9_900);
    expect(sender.counts.unacknowledged).toBe(1);
    await clock.run(200);
    expect(await failed).toMatchObject({
      code: 'CALL_TIMEOUT',
      message: `The message to ${TO} was sent 4 times and not acknowledged within 10 s`,
    });
    await clock.run(60_000);
    expect(sent()).toHaveLength(4);
  });

  test('fails with the refusal of the sentinel', async () => {
    const { sender } = await fabric();
    expect(await errorOf(sender.send('missing@fame.fabric', 'x', ACK))).toMatchObject({ code: 'NO_ROUTE' });
  });

  test('fails with the refusal of a receiver that handles no messages', async () => {
    const { sender, acks } = await fabric();
    expect(await errorOf(sender.send(TO, 'x', ACK))).toMatchObject({
      code: 'OPERATION_UNSUPPORTED',
      message: `${TO} does not handle messages that are not calls`,
    });
    expect(acks()).toHaveLength(1);
  });

  test('is resent to a busy receiver, and accepted later', async () => {
    let refusals = 2;
    const accepted: unknown[] = [];
    const { clock, sender } = await fabric({
      onMessage(payload) {
        if (refusals-- > 0) throw new FabricError('NODE_BUSY', 'The queue is full');
        accepted.push(payload);
      },
    });
    const sending = sender.send(TO, 'x', ACK);
    await clock.run(1_500);
    expect(accepted).toEqual([]);
    await clock.run(3_000);
    await sending;
    expect(accepted).toEqual(['x']);
  });

  test('fails with NODE_BUSY when a receiver is busy until the time limit', async () => {
    const { clock, sender } = await fabric({
      onMessage() {
        throw new FabricError('NODE_BUSY', 'The queue is full');
      },
    });
    const failed = errorOf(sender.send(TO, 'x', { ...ACK, timeoutMs: 5_000 }));
    await clock.run(5_000);
    expect(await failed).toMatchObject({ code: 'NODE_BUSY', message: 'The queue is full' });
  });

  test('is acknowledged although its handler fails later', async () => {
    const { sender } = await fabric({ onMessage: () => Promise.reject(new Error('a fault')) });
    await sender.send(TO, 'x', ACK);
  });

  test('ends with the abort reason, and is not resent', async () => {
    const { clock, sender, sentinel, sent } = await fabric({ onMessage: vi.fn() });
    lose(sentinel, 'Data', 1_000);
    const controller = new AbortController();
    const failed = errorOf(sender.send(TO, 'x', { ...ACK, signal: controller.signal }));
    await settle();
    controller.abort(new Error('enough'));
    expect(await failed).toMatchObject({ message: 'enough' });
    await clock.run(60_000);
    expect(sent()).toHaveLength(1);
    expect(await errorOf(sender.send(TO, 'x', { ...ACK, signal: controller.signal }))).toMatchObject({
      message: 'enough',
    });
  });

  test('waits for a lost connection, and takes the new path for its acknowledgement', async () => {
    const onMessage = vi.fn();
    const { clock, sender, sentinel } = await fabric({ onMessage });
    lose(sentinel, 'Data', 1);
    const sending = sender.send(TO, 'x', ACK);
    await settle();
    sentinel.node.transport.close(1006, '');
    sentinel.intercept = ({ frame }) => {
      if (frame.type === 'NodeAttach' && frame.systemId === 'sender') sentinel.id = 'T';
      return undefined;
    };
    await clock.run(5_000, 50);
    await sending;
    const [, { replyTo }] = onMessage.mock.calls[0] as [unknown, Envelope];
    expect(replyTo).toContain('@/T/sender');
  });

  test('goes to a receiver with all of the capabilities', async () => {
    const { sender, sentinel, sent } = await fabric({ onMessage: vi.fn() });
    const controller = new AbortController();
    sentinel.intercept = ({ frame }) => (frame.type === 'Data' ? false : undefined);
    const failed = errorOf(
      sender.send({ capabilities: ['a', 'b'] }, 'x', { ...ACK, signal: controller.signal }),
    );
    await settle();
    expect(sent()).toMatchObject([{ capabilities: ['a', 'b'], rtype: 1 }]);
    expect(sent()[0]).not.toHaveProperty('to');
    controller.abort(new Error('seen'));
    await failed;
  });

  test('refuses a faulty target, time limit and hop count', async () => {
    const { sender } = await fabric();
    expect(await errorOf(sender.send('nothing', 'x', ACK))).toMatchObject({ code: 'ADDRESS_INVALID' });
    const faulty = sender.send(TO, 'x', { ...ACK, timeoutMs: -1 });
    expect(await errorOf(faulty)).toMatchObject({ code: 'PARAMS_INVALID' });
    expect(await errorOf(sender.send(TO, 'x', { ...ACK, ttl: 0 }))).toMatchObject({ code: 'HOPS_EXCEEDED' });
    expect(await errorOf(sender.send(TO, 1n, ACK))).toMatchObject({ code: 'PROTO_MALFORMED' });
    await sender.close();
    expect(await errorOf(sender.send(TO, 'x', ACK))).toMatchObject({ code: 'LINK_CLOSED' });
  });

  test('fails when its link is closed', async () => {
    const { sender, sentinel } = await fabric({ onMessage: vi.fn() });
    lose(sentinel, 'Data', 1_000);
    const failed = errorOf(sender.send(TO, 'x', ACK));
    await settle();
    await sender.close();
    expect(await failed).toMatchObject({ code: 'LINK_CLOSED' });
  });
});

describe('a plain message', () => {
  test('is sent once, also to capabilities', async () => {
    const onMessage = vi.fn();
    const { clock, sender, sent, acks } = await fabric({ onMessage });
    expect(sender.send(TO, 'x')).toBeUndefined();
    sender.send({ capabilities: ['a'] }, 'y');
    await clock.run(60_000);
    expect(sent()).toHaveLength(2);
    expect(sent()[1]).toMatchObject({ capabilities: ['a'] });
    expect(onMessage).toHaveBeenCalledOnce();
    expect(acks()).toEqual([]);
    expect(() => sender.send('nothing', 'x')).toThrow(/not an address/);
  });
});

test('a message to the mailbox of this node that is no answer is acknowledged, so that its sender does not repeat it', async () => {
  const { receiver, sender, sentinel } = await fabric({ onMessage: () => 'an answer' });
  await sender.send(TO, 'x', ACK);
  await settle();
  const receiverNode = sentinel.nodes.find(({ systemId }) => systemId === 'receiver')!;
  const [answer] = sentinel.framesOf('Data', receiverNode);
  expect(answer!.frame).toMatchObject({ payload: 'an answer' });
  const senderNode = sentinel.nodes.find(({ systemId }) => systemId === 'sender')!;
  sentinel.send(
    senderNode,
    makeEnvelope(
      { type: 'Data', payload: 'late' },
      { to: answer!.to!, replyTo: `__sys__@${receiver.path}`, rtype: 1, corrId: 'c', id: 'late' },
    ),
  );
  await settle();
  expect(sentinel.framesOf('DeliveryAck', senderNode)).toMatchObject([
    { frame: { ok: true, refId: 'late' } },
  ]);
});
