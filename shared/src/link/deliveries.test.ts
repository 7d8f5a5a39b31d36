import { describe, expect, test, vi } from 'vitest';
import { type DataFrame, type Envelope, makeEnvelope } from '../protocol/envelope.ts';
import { attach, serve } from '../testing/attach.ts';
import { ManualClock, settle } from '../testing/manual-clock.ts';
import { ScriptedSentinel } from '../testing/scripted-sentinel.ts';
import type { IncomingCall } from './link-types.ts';

const CALLER = '__rpc__caller@/S/caller';

async function atLeastOnce() {
  const clock = new ManualClock();
  const sentinel = new ScriptedSentinel();
  const sent: Envelope<DataFrame>[] = [];
  sentinel.intercept = (envelope) => {
    if (envelope.frame.type !== 'Data') return true;
    sent.push(envelope as Envelope<DataFrame>);
    return false;
  };
  const link = await attach(sentinel, { systemId: 'a', clock, deliveryProfile: 'at-least-once' });
  const acknowledge = ({ id, corrId, replyTo }: Envelope): void => {
    sentinel.send(
      sentinel.node,
      makeEnvelope(
        { type: 'DeliveryAck', ok: true, refId: id },
        { to: replyTo!, ...(corrId ? { corrId } : {}) },
      ),
    );
  };
  return { clock, sentinel, sent, link, acknowledge };
}

describe('at-least-once', () => {
  test('a request is repeated unchanged until it is acknowledged', async () => {
    const { clock, sent, link, acknowledge } = await atLeastOnce();
    const call = link.call('b@fame.fabric', 'add', {}, { timeoutMs: 120_000 });
    call.catch(() => {});
    await settle();
    expect(sent).toHaveLength(1);
    expect(sent[0]?.rtype).toBe(3);
    await clock.run(1_000);
    await clock.run(2_000);
    expect(sent.map(({ id, ts }) => [id, ts])).toEqual(Array(3).fill([sent[0]?.id, sent[0]?.ts]));
    acknowledge(sent[0]!);
    await clock.run(60_000);
    expect(sent).toHaveLength(3);
    await link.close();
  });

  test('a request is sent at most 6 times, and its call keeps its own deadline', async () => {
    const { clock, sent, link } = await atLeastOnce();
    const call = link.call('b@fame.fabric', 'add', {}, { timeoutMs: 60_000 });
    const failed = expect(call).rejects.toMatchObject({ code: 'CALL_TIMEOUT', details: { method: 'add' } });
    await clock.run(61_000, 500);
    expect(sent).toHaveLength(6);
    await failed;
    await link.close();
  });

  test('an answer is repeated until it is acknowledged, and a repeated request is handled once', async () => {
    const { clock, sent, link, sentinel, acknowledge } = await atLeastOnce();
    const onCall = vi.fn((call: IncomingCall) => call.reply(7));
    await link.bind('a@fame.fabric', serve(onCall));
    const payload = { jsonrpc: '2.0', id: 'c', method: 'add', params: {} };
    const header = { to: 'a@fame.fabric', replyTo: CALLER, corrId: 'c', rtype: 3 };
    const request = makeEnvelope({ type: 'Data', payload }, header);
    sentinel.send(sentinel.node, request);
    await settle();
    sentinel.send(sentinel.node, request); // the acknowledgement was lost, and the handler has finished
    await settle();
    expect(onCall).toHaveBeenCalledTimes(1);
    expect(sent).toHaveLength(1);
    expect(sent[0]).toMatchObject({ rtype: 1, to: CALLER, frame: { payload: { result: 7 } } });
    await clock.run(1_000);
    expect(sent.map(({ id }) => id)).toEqual([sent[0]?.id, sent[0]?.id]);
    acknowledge(sent[0]!);
    await clock.run(60_000);
    expect(sent).toHaveLength(2);
    await link.close();
  });

  test('the items of a stream are sent one by one', async () => {
    const { sent, link, sentinel, acknowledge } = await atLeastOnce();
    await link.bind(
      'a@fame.fabric',
      serve(async (call) => {
        for (const item of [1, 2]) await call.push(item);
        call.end();
      }),
    );
    const payload = { jsonrpc: '2.0', id: 's', method: 'count', params: {} };
    const header = { to: 'a@fame.fabric', replyTo: CALLER, corrId: 's', rtype: 5 };
    sentinel.send(sentinel.node, makeEnvelope({ type: 'Data', payload }, header));
    const results = () => sent.map(({ frame }) => (frame.payload as { result: unknown }).result);
    await settle();
    expect(results()).toEqual([1]);
    acknowledge(sent[0]!);
    await settle();
    expect(results()).toEqual([1, 2]);
    acknowledge(sent[1]!);
    await settle();
    expect(results()).toEqual([1, 2, null]);
    await link.close();
  });
});
