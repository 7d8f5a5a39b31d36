// Streams as their consumer sees them: order, ends, idle deadlines, leaving, backpressure, gaps and leaks.
import { getEventListeners } from 'node:events';
import { describe, expect, it } from 'vitest';
import { type CreditUpdate, type DataFrame, type Envelope, makeEnvelope } from '../protocol/envelope.ts';
import { attach, collect, errorOf, serve } from '../testing/attach.ts';
import { ManualClock, settle } from '../testing/manual-clock.ts';
import { ScriptedSentinel } from '../testing/scripted-sentinel.ts';
import type { IncomingCall, LinkOptions } from './link-types.ts';

async function pair(onCall: (call: IncomingCall) => void, options: Partial<LinkOptions> = {}) {
  const sentinel = new ScriptedSentinel();
  const agent = await attach(sentinel, options);
  const client = await attach(sentinel, options);
  await agent.bind('s@fame.fabric', serve(onCall));
  return { sentinel, agent, client };
}

const count = (n: number) => async (call: IncomingCall) => {
  for (let at = 0; at < n; at++) await call.push({ at });
  call.end();
};

/** A stream whose items the test sends. */
async function byHand(options: Partial<LinkOptions> = {}, software: string | undefined = 'fame-fabric/1') {
  const sentinel = new ScriptedSentinel();
  sentinel.software = software;
  let request: Envelope<DataFrame> | undefined;
  sentinel.intercept = (envelope) => {
    if (envelope.frame.type !== 'Data') return true;
    request = envelope as Envelope<DataFrame>;
    return false;
  };
  const client = await attach(sentinel, options);
  const stream = client.stream('s@fame.fabric', 'm', undefined, { timeoutMs: 10_000 });
  const first = stream.next();
  // Not every test awaits it.
  first.catch(() => {});
  await settle();
  const { corrId = '', replyTo = '' } = request!;
  const send = (payload: object, header: { flowId?: string; seqId?: number } = {}) =>
    sentinel.send(
      sentinel.node,
      makeEnvelope(
        { type: 'Data', payload: { jsonrpc: '2.0', id: corrId, ...payload } },
        { to: replyTo, corrId, ...header },
      ),
    );
  const credits = () => sentinel.framesOf('CreditUpdate').map(({ frame }: { frame: CreditUpdate }) => frame);
  return { sentinel, client, stream, first, send, credits, corrId, request: request! };
}

describe('a stream', () => {
  it('sends its request, with rtype 4, when the first item is read', async () => {
    const { sentinel, client, request } = await byHand();
    expect(request).toMatchObject({ rtype: 4, frame: { payload: { method: 'm' } } });
    const before = sentinel.node.received.length;
    client.stream('s@fame.fabric', 'never asked');
    await settle();
    expect(sentinel.node.received).toHaveLength(before);
  });

  it('yields every item in order and ends', async () => {
    const { client } = await pair(count(2_000));
    const items = await collect(client.stream('s@fame.fabric', 'm'));
    expect(items).toEqual(Array.from({ length: 2_000 }, (_, at) => ({ at })));
  });

  it('ends at a null result, and at a reply without result and error', async () => {
    for (const end of [{ result: null }, {}]) {
      const { stream, first, send, client } = await byHand();
      send({ result: 1 });
      send(end);
      send({ result: 'after the end' });
      expect(await first).toEqual({ value: 1, done: false });
      expect(await collect(stream)).toEqual([]);
      expect(client.counts.calls).toBe(0);
    }
  });

  it('ends with the error of an error reply, after the items before it', async () => {
    const { client } = await pair(async (call) => {
      await call.push('one');
      await call.push('two');
      call.fail(new Error('internals stay here'), 'log-1');
    });
    const items: unknown[] = [];
    const read = async () => {
      for await (const item of client.stream('s@fame.fabric', 'm')) items.push(item);
    };
    const error = await errorOf(read());
    expect(error).toMatchObject({
      code: 'INTERNAL',
      message: 'The operation failed. The id of its log entry is log-1',
    });
    expect(items).toEqual(['one', 'two']);
  });

  it('ends with NODE_GONE after such a negative ack', async () => {
    const { sentinel, stream, first, send, corrId } = await byHand();
    send({ result: 1 });
    await first;
    const next = errorOf(stream.next());
    sentinel.send(
      sentinel.node,
      makeEnvelope({ type: 'DeliveryAck', ok: false, code: 'NODE_GONE', reason: 'left' }, { corrId }),
    );
    expect(await next).toMatchObject({ code: 'NODE_GONE' });
    expect(await stream.next()).toEqual({ value: undefined, done: true });
  });

  it('carries every JSON value except null', async () => {
    const values = [0, '', false, [], {}, 'text', 1.5, [null], { a: null }];
    const { client } = await pair(async (call) => {
      for (const value of values) await call.push(value);
      expect(await errorOf(call.push(null))).toMatchObject({ code: 'PARAMS_INVALID' });
      expect(await errorOf(call.push(undefined))).toMatchObject({ code: 'PARAMS_INVALID' });
      call.end();
    });
    expect(await collect(client.stream('s@fame.fabric', 'm'))).toEqual(values);
  });

  it('allows several reads at once', async () => {
    const { client } = await pair(count(3));
    const stream = client.stream('s@fame.fabric', 'm');
    const results = await Promise.all([stream.next(), stream.next(), stream.next(), stream.next()]);
    expect(results.map(({ value }) => value)).toEqual([{ at: 0 }, { at: 1 }, { at: 2 }, undefined]);
  });
});

describe('the idle deadline', () => {
  it('applies to each item', async () => {
    const clock = new ManualClock();
    const { first, stream, send, client } = await byHand({ clock });
    clock.advance(9_000);
    send({ result: 1 });
    await first;
    const second = stream.next();
    clock.advance(9_000);
    send({ result: 2 });
    await second;
    const third = errorOf(stream.next());
    clock.advance(9_900);
    await settle();
    expect(client.counts.calls).toBe(1);
    clock.advance(200);
    expect(await third).toMatchObject({ code: 'CALL_TIMEOUT' });
    expect((await third).message).toContain('No item');
  });

  it('does not run while items are unread', async () => {
    const clock = new ManualClock();
    const { first, stream, send, client } = await byHand({ clock });
    send({ result: 1 });
    send({ result: 2 });
    await first;
    clock.advance(60_000);
    await settle();
    expect(client.counts.calls).toBe(1);
    expect(await stream.next()).toMatchObject({ value: 2 });
    const idle = errorOf(stream.next());
    clock.advance(10_000);
    expect(await idle).toMatchObject({ code: 'CALL_TIMEOUT' });
  });
});

describe('leaving a stream', () => {
  it.each([
    ['cancel', 'break', 'left'],
    ['cancel', 'abort', 'aborted'],
    ['continue', 'break', 'caller-gone'],
    ['continue', 'abort', 'caller-gone'],
  ] as const)('with onLeave `%s` by %s has the reason %s', async (onLeave, how, reason) => {
    const { sentinel, client } = await pair((call) => void call.push(0));
    const abort = new AbortController();
    const stream = client.stream('s@fame.fabric', 'm', undefined, { signal: abort.signal, onLeave });
    await stream.next();
    if (how === 'abort') abort.abort();
    else await stream.return?.();
    await settle();
    expect(sentinel.framesOf('CallCancel').map(({ frame }) => frame.reason)).toEqual([reason]);
  });

  it.each(['break', 'throw', 'abort', 'return before the first item'])(
    'by %s cancels it at the callee',
    async (how) => {
      const calls: IncomingCall[] = [];
      const { sentinel, client, agent } = await pair(async (call) => {
        calls.push(call);
        for (let at = 0; ; at++) await call.push(at);
      });
      // The scripted sentinel forwards cancels, as ours does.
      sentinel.intercept = (envelope, node) => {
        if (envelope.frame.type !== 'CallCancel') return true;
        const { corrId, reason = '' } = envelope.frame;
        if (node === sentinel.nodes[1]) {
          sentinel.send(sentinel.nodes[0]!, makeEnvelope({ type: 'CallCancel', corrId, reason }));
        }
        return false;
      };
      const abort = new AbortController();
      const stream = client.stream('s@fame.fabric', 'm', undefined, { signal: abort.signal });
      const read = async () => {
        for await (const item of stream) {
          if (item !== 100) continue;
          if (how === 'break') break;
          if (how === 'throw') throw new Error('out');
          abort.abort(new Error('out'));
        }
      };
      if (how === 'return before the first item') {
        const first = stream.next();
        await stream.return?.();
        expect(await first).toEqual({ value: undefined, done: true });
      } else if (how === 'break') await read();
      else expect((await errorOf(read())).message).toBe('out');
      await settle();
      expect(calls[0]!.signal.aborted).toBe(true);
      expect(calls[0]!.signal.reason).toMatchObject({ code: 'CALL_CANCELLED' });
      expect(await errorOf(calls[0]!.push('more'))).toMatchObject({ code: 'CALL_CANCELLED' });
      expect(client.counts).toMatchObject({ calls: 0 });
      expect(agent.counts).toMatchObject({ serving: 0, waiting: 0, flowsSent: 2 });
      expect(getEventListeners(abort.signal, 'abort')).toHaveLength(0);
    },
  );

  it('before its first read sends nothing', async () => {
    const { sentinel, client } = await pair(count(1));
    const before = sentinel.node.received.length;
    const stream = client.stream('s@fame.fabric', 'm');
    await stream.return?.();
    expect(await stream.next()).toEqual({ value: undefined, done: true });
    await settle();
    expect(sentinel.node.received).toHaveLength(before);
  });

  it('of a callee that cannot be notified still grants credit for the items that arrive', async () => {
    const { stream, first, send, credits, corrId } = await byHand();
    send({ result: 0 }, { flowId: corrId, seqId: 0 });
    await first;
    await stream.return?.();
    for (let at = 1; at <= 100; at++) send({ result: at }, { flowId: corrId, seqId: at });
    await settle();
    expect(credits().filter(({ flowId }) => flowId === corrId).length).toBeGreaterThanOrEqual(4);
  });
});

describe('backpressure', () => {
  it('slows the producer of a stream whose consumer is slow, and no other', async () => {
    let pushed = 0;
    const { sentinel, client } = await pair(async (call) => {
      if (call.method === 'other') return call.reply('quick');
      for (; pushed < 5_000; pushed++) await call.push(pushed);
      call.end();
    });
    // A sentinel without a buffer: the producer gets exactly the credit that the reader grants.
    sentinel.grantsCredit = false;
    sentinel.intercept = ({ frame }, node) => {
      if (frame.type === 'CreditUpdate' && node === sentinel.nodes[1]) {
        sentinel.send(sentinel.nodes[0]!, makeEnvelope(frame));
      }
      return true;
    };
    const stream = client.stream('s@fame.fabric', 'm');
    await stream.next();
    await settle();
    const ahead = pushed;
    expect(ahead).toBeLessThan(400);
    await settle();
    expect(pushed).toBe(ahead);
    expect(await client.call('s@fame.fabric', 'other')).toBe('quick');
    const rest = await collect(stream);
    expect(rest).toEqual(Array.from({ length: 4_999 }, (_, at) => at + 1));
  });

  it('grants credit for one message every 4 s, so that the queue of the sentinel moves', async () => {
    const clock = new ManualClock();
    const { first, send, credits, corrId } = await byHand({ clock });
    const own = () => credits().filter(({ flowId }) => flowId === corrId);
    for (let at = 0; at < 320; at++) send({ result: at }, { flowId: corrId, seqId: at });
    await first;
    await settle();
    const before = own().length;
    clock.advance(12_100);
    await settle();
    expect(
      own()
        .slice(before)
        .map((frame) => frame.credits),
    ).toEqual([1, 1, 1]);
  });

  it('does not withhold the credit of a shared flow, and limits the buffer instead', async () => {
    const { client, stream, first, send, credits } = await byHand();
    for (let at = 0; at < 10_001; at++) send({ result: at }, { flowId: 'the only flow of that node' });
    await settle();
    expect(client.counts.calls).toBe(1);
    expect(credits().filter(({ flowId }) => flowId === 'the only flow of that node')).toHaveLength(416);
    send({ result: 'one too many' }, { flowId: 'the only flow of that node' });
    await settle();
    expect(client.counts.calls).toBe(0);
    await first;
    const items: unknown[] = [];
    const error = await errorOf(
      (async () => {
        for await (const item of stream) items.push(item);
      })(),
    );
    expect(error).toMatchObject({ code: 'READER_TOO_SLOW' });
    expect(error.message).toMatch(/read too slowly/);
    expect(items).toHaveLength(10_001);
  });

  it('does not withhold credit from a foreign sentinel, which would slow other calls', async () => {
    const { first, send, credits, corrId } = await byHand({}, 'naylence/0.4');
    for (let at = 0; at < 1_000; at++) send({ result: at }, { flowId: corrId, seqId: at % 7 });
    await first;
    await settle();
    expect(credits().filter(({ flowId }) => flowId === corrId)).toHaveLength(1_000);
  });

  it('limits the unread bytes as well', async () => {
    const { client, first, send } = await byHand();
    const big = 'x'.repeat(200_000);
    for (let at = 0; at < 43; at++) send({ result: big }, { flowId: 'shared' });
    await first;
    await settle();
    expect(client.counts.calls).toBe(0);
  });
});

describe('a gap', () => {
  it('in the item numbers fails the stream', async () => {
    const { stream, first, send, corrId, sentinel } = await byHand();
    send({ result: 'a' }, { flowId: corrId, seqId: 0 });
    send({ result: 'b' }, { flowId: corrId, seqId: 1 });
    send({ result: 'e' }, { flowId: corrId, seqId: 4 });
    expect(await first).toMatchObject({ value: 'a' });
    expect(await stream.next()).toMatchObject({ value: 'b' });
    const error = await errorOf(stream.next());
    expect(error).toMatchObject({ code: 'LINK_CLOSED', retryable: true });
    expect(error.message).toContain('2 items');
    await settle();
    expect(sentinel.framesOf('CallCancel')).toHaveLength(1);
  });

  it('is not reported for repeated items', async () => {
    const { stream, first, send, corrId } = await byHand();
    for (const seqId of [0, 1, 0, 1, 2]) send({ result: seqId }, { flowId: corrId, seqId });
    send({ result: null }, { flowId: corrId, seqId: 3 });
    expect([(await first).value, ...(await collect(stream))]).toEqual([0, 1, 2]);
  });
});

describe('many streams', () => {
  it('leave nothing behind after 100,000 streams, 100 at a time', async () => {
    const { client, agent, sentinel } = await pair(async (call) => {
      await call.push(1);
      call.end();
    });
    sentinel.keepsEnvelopes = false;
    for (let round = 0; round < 1_000; round++) {
      await Promise.all(Array.from({ length: 100 }, () => collect(client.stream('s@fame.fabric', 'm'))));
    }
    await settle();
    expect(client.counts).toMatchObject({ calls: 0, waiting: 0, flowsSent: 2 });
    expect(agent.counts).toMatchObject({ serving: 0, waiting: 0, flowsSent: 2 });
    expect(client.counts.flowsReceived).toBeLessThanOrEqual(4);
    expect(agent.counts.flowsReceived).toBeLessThanOrEqual(4);
  });
});
