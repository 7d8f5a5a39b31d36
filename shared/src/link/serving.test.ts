// Serving: requests, messages, acknowledgements, cancellation and queued replies.
import { describe, expect, it, vi } from 'vitest';
import { FabricError } from '../errors/error.ts';
import {
  type DataFrame,
  type Envelope,
  type EnvelopeHeader,
  type Frame,
  makeEnvelope,
} from '../protocol/envelope.ts';
import { attach, errorOf, serve } from '../testing/attach.ts';
import { CaptureLog } from '../testing/capture-log.ts';
import { ManualClock, settle } from '../testing/manual-clock.ts';
import { ScriptedSentinel } from '../testing/scripted-sentinel.ts';
import type { IncomingCall, LinkOptions, Service } from './link-types.ts';

const CALLER = '__rpc__caller@/S/caller';

/** An agent at `a@fame.fabric`, and a sentinel that sends requests to it and records its answers. */
async function served(service: Service, options: Partial<LinkOptions> = {}) {
  const sentinel = new ScriptedSentinel();
  const answers: Envelope<DataFrame>[] = [];
  const acks: Envelope[] = [];
  sentinel.intercept = (envelope) => {
    if (envelope.frame.type === 'Data') answers.push(envelope as Envelope<DataFrame>);
    else if (envelope.frame.type === 'DeliveryAck') acks.push(envelope);
    else return true;
    return false;
  };
  const agent = await attach(sentinel, { systemId: 'a', ...options });
  await agent.bind('a@fame.fabric', service);
  let nth = 0;
  const request = (method: string, header: Partial<EnvelopeHeader> = {}, params?: unknown) => {
    const corrId = header.corrId ?? `c${nth++}`;
    const payload = { jsonrpc: '2.0', id: corrId, method, params };
    const envelope = makeEnvelope(
      { type: 'Data', payload },
      { to: 'a@fame.fabric', replyTo: CALLER, corrId, rtype: 2, traceId: 't', ...header },
    );
    sentinel.send(sentinel.node, envelope);
    return envelope;
  };
  const cancel = (corrId: string, header: Partial<EnvelopeHeader> = {}) =>
    sentinel.send(sentinel.node, makeEnvelope({ type: 'CallCancel', corrId, reason: 'caller-gone' }, header));
  const message = (payload: unknown, header: Partial<EnvelopeHeader> = {}) => {
    const envelope = makeEnvelope({ type: 'Data', payload }, { to: 'a@fame.fabric', ...header });
    sentinel.send(sentinel.node, envelope);
    return envelope;
  };
  return { sentinel, agent, answers, acks, request, cancel, message };
}

const payloadOf = (envelope: Envelope<DataFrame> | undefined) =>
  envelope?.frame.payload as {
    id: unknown;
    result?: unknown;
    error?: { code: number; data: { code: string } };
  };

describe('a request', () => {
  it("becomes an IncomingCall, and its reply goes to the caller's replyTo", async () => {
    let seen: IncomingCall | undefined;
    const { request, answers } = await served(
      serve((call) => {
        seen = call;
        call.reply({ ok: true });
        call.reply('again');
        call.fail(new Error('again'));
        call.end();
      }),
      { sidOf: () => 'sid' },
    );
    request('add', { meta: { k: 1 } }, { args: [1] });
    await settle();
    expect(seen).toMatchObject({
      address: 'a@fame.fabric',
      id: 'c0',
      method: 'add',
      params: { args: [1] },
      isStream: false,
      replyTo: CALLER,
      traceId: 't',
      meta: { k: 1 },
    });
    expect(answers).toHaveLength(1);
    expect(answers[0]).toMatchObject({
      to: CALLER,
      replyTo: '__sys__@/S/a',
      corrId: 'c0',
      traceId: 't',
      sid: 'sid',
      frame: { payload: { jsonrpc: '2.0', id: 'c0', result: { ok: true } } },
    });
    expect(answers[0]!.rtype).toBeUndefined();
  });

  it('keeps the type of its JSON-RPC id, and needs none', async () => {
    const { sentinel, answers, message } = await served(serve((call) => call.reply(call.id)));
    const ask = (id: unknown) =>
      message({ jsonrpc: '2.0', id, method: 'm' }, { corrId: 'corr', replyTo: CALLER, rtype: 2 });
    for (const id of [7, 'x', undefined, null, { deep: 1 }]) {
      ask(id);
      await settle();
    }
    expect(answers.map((answer) => payloadOf(answer).id)).toEqual([7, 'x', 'corr', 'corr', 'corr']);
    expect(sentinel.node.transport.bufferedBytes).toBe(0);
  });

  it('without replyTo is served and not answered', async () => {
    const seen = vi.fn((call: IncomingCall) => call.reply(1));
    const { message, answers, agent } = await served(serve(seen));
    message({ jsonrpc: '2.0', id: 1, method: 'm' });
    await settle();
    expect(seen).toHaveBeenCalledOnce();
    expect(answers).toEqual([]);
    expect(agent.counts.serving).toBe(0);
  });

  it('whose service throws or rejects is answered with INTERNAL and logged', async () => {
    const log = new CaptureLog();
    const { request, answers } = await served(
      serve((call) => {
        if (call.method === 'later') return Promise.reject(new Error('later')) as never;
        throw new Error(call.method);
      }),
      { log },
    );
    request('now');
    request('later');
    await settle();
    expect(answers.map((answer) => payloadOf(answer).error!.data.code)).toEqual(['INTERNAL', 'INTERNAL']);
    expect(JSON.stringify(answers)).not.toContain('"now"');
    const lines = log.lines.filter(({ level }) => level === 'error');
    expect(lines).toHaveLength(2);
    expect(JSON.stringify(answers[0])).toContain(lines[0]!.fields.logId);
  });

  it('for a participant without a binding is refused with NO_ROUTE at once', async () => {
    const { request, acks, answers } = await served(serve((call) => call.reply(1)));
    const sentRequest = request('m', { to: 'missing@/S/a' });
    await settle();
    expect(answers).toEqual([]);
    expect(acks).toHaveLength(1);
    expect(acks[0]).toMatchObject({
      to: CALLER,
      corrId: sentRequest.corrId,
      flowFlags: 4,
      frame: { ok: false, code: 'NO_ROUTE', refId: sentRequest.id },
    });
  });

  it('that is repeated while it is served is served once', async () => {
    const calls: IncomingCall[] = [];
    const { request, answers } = await served(serve((call) => calls.push(call)));
    request('m', { corrId: 'same' });
    request('m', { corrId: 'same' });
    await settle();
    expect(calls).toHaveLength(1);
    calls[0]!.reply(1);
    await settle();
    expect(answers).toHaveLength(1);
    request('m', { corrId: 'same' });
    await settle();
    expect(calls).toHaveLength(2);
  });

  it("with the corrId of another caller's call is served separately", async () => {
    const calls: IncomingCall[] = [];
    const { request, answers, cancel, agent } = await served(serve((call) => calls.push(call)));
    const other = '__rpc__other@/S/other';
    request('m', { corrId: 'same' });
    request('m', { corrId: 'same', replyTo: other });
    await settle();
    expect(calls.map((call) => call.replyTo)).toEqual([CALLER, other]);
    // The cancel is ambiguous, so no call is cancelled.
    cancel('same');
    await settle();
    expect(calls.map((call) => call.signal.aborted)).toEqual([false, false]);
    cancel('same', { replyTo: other });
    await settle();
    expect(calls.map((call) => call.signal.aborted)).toEqual([false, true]);
    cancel('same');
    await settle();
    expect(calls[0]!.signal.aborted).toBe(true);
    expect(answers).toEqual([]);
    expect(agent.counts.serving).toBe(0);
  });
});

describe('a reply', () => {
  it('above 262,144 bytes becomes the error MESSAGE_TOO_LARGE', async () => {
    const { request, answers } = await served(
      serve((call) =>
        call.isStream
          ? void call.push('x'.repeat(300_000)).catch(call.fail.bind(call))
          : call.reply('x'.repeat(300_000)),
      ),
    );
    request('m');
    request('m', { rtype: 4 });
    await settle();
    expect(answers.map((answer) => payloadOf(answer).error!.data.code)).toEqual([
      'MESSAGE_TOO_LARGE',
      'MESSAGE_TOO_LARGE',
    ]);
  });

  it('that is not JSON, or an error that is too large, becomes a smaller error', async () => {
    const { request, answers } = await served(
      serve((call) => {
        if (call.method === 'bigint') call.reply({ n: 1n });
        else call.fail(Object.assign(new Error(), { name: 'x' }), 'y'.repeat(300_000));
      }),
    );
    request('bigint');
    request('huge error');
    await settle();
    expect(answers.map((answer) => payloadOf(answer).error!.data.code)).toEqual([
      'INTERNAL',
      'MESSAGE_TOO_LARGE',
    ]);
  });

  it('of a unary operation that was called as a stream is one item and the end', async () => {
    const { request, answers } = await served(
      serve((call) => call.reply(call.method === 'none' ? null : 'x')),
    );
    request('one', { rtype: 4, corrId: 'a' });
    request('none', { rtype: 4, corrId: 'b' });
    await settle();
    expect(answers.map((answer) => [answer.corrId, payloadOf(answer).result])).toEqual([
      ['a', 'x'],
      ['a', null],
      ['b', null],
    ]);
  });

  it('of a streaming operation that was called as unary is its first item', async () => {
    const { request, answers } = await served(
      serve(async (call) => {
        await call.push('first');
        expect(await errorOf(call.push('second'))).toMatchObject({ code: 'CALL_CANCELLED' });
        call.end();
      }),
    );
    request('m');
    await settle();
    expect(answers.map((answer) => payloadOf(answer).result)).toEqual(['first']);
  });
});

describe('the flows of replies', () => {
  it('are one for all unary replies to a caller, and one with numbered items for each stream', async () => {
    const { request, answers, sentinel } = await served(
      serve(async (call) => {
        if (!call.isStream) return call.reply(1);
        if (call.method === 'fails') return call.fail(new Error('x'));
        for (let at = 0; at < 3; at++) await call.push(at);
        call.end();
      }),
    );
    request('m', { corrId: 'u1' });
    request('m', { corrId: 'u2', replyTo: CALLER.replace('@', '2@') });
    request('m', { corrId: 'u3', replyTo: `${CALLER}2` });
    request('m', { corrId: 's1', rtype: 4 });
    request('fails', { corrId: 's2', rtype: 4 });
    await settle();
    const main = sentinel.node.received[0]!.flowId;
    const [pair, other] = ['u1', 'u3'].map((id) => answers.find(({ corrId }) => corrId === id)!.flowId);
    expect(new Set([main, pair, other, undefined]).size).toBe(4);
    const flows = answers.map(({ corrId, flowId, seqId }) => [corrId, flowId, seqId]);
    expect(flows.filter(([corrId]) => corrId !== 's1')).toEqual([
      ['u1', pair, undefined],
      ['u2', pair, undefined],
      ['u3', other, undefined],
      // The error in place of all items: a caller that repeats its call may have received some of an earlier process.
      ['s2', 's2', undefined],
    ]);
    expect(flows.filter(([corrId]) => corrId === 's1')).toEqual([0, 1, 2, 3].map((seq) => ['s1', 's1', seq]));
  });

  it('each stop after 32 messages without credit, and continue with credit', async () => {
    const pushed: Record<string, number> = { s1: 0, s2: 0 };
    const { request, answers, sentinel } = await served(
      serve(async (call) => {
        for (let at = 0; at < 100; at++) {
          await call.push(at);
          pushed[call.id] = at + 1;
        }
        call.end();
      }),
    );
    sentinel.grantsCredit = false;
    request('m', { corrId: 's1', rtype: 4 });
    request('m', { corrId: 's2', rtype: 4 });
    await settle();
    expect(pushed).toEqual({ s1: 32, s2: 32 });
    sentinel.grantCredit(sentinel.node, 's2');
    await settle();
    expect(pushed).toEqual({ s1: 32, s2: 64 });
    sentinel.grantCredit(sentinel.node, 's1');
    sentinel.grantCredit(sentinel.node, 's1');
    sentinel.grantCredit(sentinel.node, 's1');
    await settle();
    // Three grants at once still make a window of 32: the first sent the queued items, then 32 more follow.
    const got = answers.filter(({ corrId }) => corrId === 's1').length;
    expect(got).toBeGreaterThanOrEqual(64);
    expect(got).toBeLessThan(70);
    expect(answers.filter(({ corrId }) => corrId === 's2')).toHaveLength(64);
  });

  it('limit the items of a producer that does not await push', async () => {
    const { request, sentinel, agent } = await served(
      serve((call) => {
        for (let at = 0; at < 1_032; at++) void call.push(at);
        void errorOf(call.push('one too many')).then((error) => call.fail(error));
      }),
    );
    sentinel.grantsCredit = false;
    request('m', { rtype: 4 });
    await settle();
    expect(agent.counts).toMatchObject({ waiting: 1_001, serving: 0 });
  });
});

describe('a cancel', () => {
  it('aborts the signal of its call with the reason, before or after its first use', async () => {
    const calls: IncomingCall[] = [];
    const { request, cancel, answers, agent } = await served(serve((call) => calls.push(call)));
    request('m', { corrId: 'early' });
    request('m', { corrId: 'late' });
    await settle();
    const aborted = vi.fn();
    calls[0]!.signal.addEventListener('abort', aborted);
    cancel('early');
    cancel('late');
    cancel('unknown');
    await settle();
    expect(aborted).toHaveBeenCalledOnce();
    for (const { signal } of calls) {
      expect(signal.reason).toMatchObject({ code: 'CALL_CANCELLED', details: { reason: 'caller-gone' } });
    }
    for (const call of calls) call.reply('too late');
    await settle();
    expect(answers).toEqual([]);
    expect(agent.counts.serving).toBe(0);
  });

  it('rejects the pending push and drops the queued items', async () => {
    let waiting: Promise<Error> | undefined;
    const { request, cancel, sentinel, agent } = await served(
      serve(async (call) => {
        for (let at = 0; at < 32; at++) await call.push(at);
        waiting = errorOf(call.push('no credit'));
      }),
    );
    sentinel.grantsCredit = false;
    request('m', { corrId: 's', rtype: 4 });
    await settle();
    expect(agent.counts).toMatchObject({ waiting: 1, flowsSent: 3 });
    cancel('s');
    expect(await waiting).toMatchObject({ code: 'CALL_CANCELLED' });
    expect(agent.counts).toMatchObject({ waiting: 0, flowsSent: 2 });
  });
});

describe('HD8: open calls', () => {
  const codesOf = (answers: Envelope<DataFrame>[]) =>
    answers.map((answer) => payloadOf(answer).error?.data.code);

  it('of one caller are at most 4,096, and end with it', async () => {
    const calls: IncomingCall[] = [];
    const { request, answers, agent, cancel, sentinel } = await served(serve((call) => calls.push(call)));
    sentinel.keepsEnvelopes = false;
    for (let n = 0; n < 5_000; n++) request('subscribe', { corrId: `s${n}`, rtype: 4 });
    request('m', { corrId: 'unary' });
    await settle();
    expect(calls).toHaveLength(4_096);
    expect(agent.counts).toMatchObject({ serving: 4_096, pairFlows: 1 });
    expect(codesOf(answers)).toEqual([...Array(904).fill('QUOTA_EXCEEDED'), 'NODE_BUSY']);
    request('m', { corrId: 'other', replyTo: '__rpc__x@/S/other' });
    await settle();
    expect(calls.at(-1)?.id).toBe('other');
    for (const { id } of calls) cancel(id);
    await settle();
    expect(agent.counts.serving).toBe(0);
    request('m', { corrId: 'again' });
    await settle();
    expect(calls.at(-1)?.id).toBe('again');
  });

  it('of all callers are at most 32,768', async () => {
    const { request, answers, agent, sentinel } = await served(serve(() => {}));
    sentinel.keepsEnvelopes = false;
    for (let n = 0; n < 32_800; n++) {
      request('m', { corrId: `c${n}`, rtype: 4, replyTo: `__rpc__x@/S/${n % 20}` });
    }
    await settle();
    expect(agent.counts.serving).toBe(32_768);
    expect(codesOf(answers)).toEqual(Array(32).fill('QUOTA_EXCEEDED'));
  });

  it('keep the flow of their caller, whose credit is still counted after hours', async () => {
    const calls: IncomingCall[] = [];
    const clock = new ManualClock();
    const { request, answers, agent } = await served(
      serve((call) => calls.push(call)),
      { clock },
    );
    for (let n = 0; n < 40; n++) request('m', { corrId: `c${n}` });
    await settle();
    await clock.run(7_200_000, 15_000);
    for (const call of calls) void call.reply(1);
    await settle();
    expect(answers).toHaveLength(40);
    expect(agent.counts).toMatchObject({ serving: 0, waiting: 0 });
  });

  /** Three open calls of an agent whose sentinel restarts without its session. */
  const restarted = async () => {
    const calls: IncomingCall[] = [];
    const clock = new ManualClock();
    const parts = await served(
      serve((call) => calls.push(call)),
      { clock },
    );
    const reasons: unknown[] = [];
    for (const corrId of ['turn', 'unary', 'stream']) {
      parts.request('m', { corrId, rtype: corrId === 'stream' ? 4 : 2 });
    }
    await settle();
    for (const call of calls) {
      call.signal.addEventListener('abort', () =>
        reasons.push([call.id, (call.signal.reason as FabricError).details?.reason]),
      );
    }
    parts.sentinel.resumed = false;
    parts.sentinel.node.transport.close(1006, '');
    await clock.run(1_000);
    expect(parts.agent.state).toBe('attached');
    return { ...parts, calls, clock, reasons };
  };

  it('end 30 s after the sentinel lost the session, unless their caller sends the request again', async () => {
    const { request, clock, reasons, agent, answers, calls } = await restarted();
    expect(agent.counts.serving).toBe(3);
    await clock.run(20_000);
    request('m', { corrId: 'turn' });
    await clock.run(8_500);
    expect(reasons).toEqual([]);
    await clock.run(1_500);
    expect(reasons).toEqual([
      ['unary', 'caller-gone'],
      ['stream', 'caller-gone'],
    ]);
    expect(calls).toHaveLength(3);
    void calls[0]!.reply('late');
    await settle();
    expect(answers.map((answer) => [answer.corrId, payloadOf(answer).result])).toEqual([['turn', 'late']]);
    expect(agent.counts.serving).toBe(0);
  });

  it('continue if the sentinel still has the session', async () => {
    const calls: IncomingCall[] = [];
    const clock = new ManualClock();
    const { request, sentinel, agent } = await served(
      serve((call) => calls.push(call)),
      { clock },
    );
    request('m');
    await settle();
    sentinel.resumed = true;
    sentinel.node.transport.close(1006, '');
    await clock.run(120_000, 1_000);
    expect(agent.counts.serving).toBe(1);
  });
});

describe('a message that is not a request', () => {
  it('goes to onMessage, whose result or promised result goes to replyTo', async () => {
    const onMessage = vi.fn((payload: unknown) => {
      if (payload === 'later') return Promise.resolve({ later: true });
      return payload === 'nothing' ? null : { now: true };
    });
    const { message, answers } = await served({ onCall: () => {}, onMessage });
    message('now', { replyTo: CALLER, corrId: 'c' });
    message('later', { replyTo: CALLER });
    message('nothing', { replyTo: CALLER });
    message('no replyTo');
    message({ jsonrpc: '1.0', method: 'not ours' });
    await settle();
    expect(onMessage).toHaveBeenCalledTimes(5);
    expect(answers.map(({ to, corrId, frame }) => [to, corrId, frame.payload])).toEqual([
      [CALLER, 'c', { now: true }],
      [CALLER, undefined, { later: true }],
    ]);
  });

  it('whose handler fails is logged, and the link continues', async () => {
    const log = new CaptureLog();
    const { message, request, answers } = await served(
      {
        onCall: (call) => call.reply('alive'),
        onMessage: (payload) => {
          if (payload === 'later') return Promise.reject(new Error('x'));
          if (payload === 'unsendable') return { n: 1n };
          throw new Error('x');
        },
      },
      { log },
    );
    message('now');
    message('later');
    message('unsendable', { replyTo: CALLER });
    await settle();
    expect(log.messages('error')).toEqual(Array(3).fill('a message handler failed'));
    request('m');
    await settle();
    expect(payloadOf(answers[0]).result).toBe('alive');
  });

  it('is sent by send(), to other nodes and to addresses of the same link', async () => {
    const onMessage = vi.fn();
    const { agent, answers } = await served({ onCall: () => {}, onMessage });
    agent.send('other@fame.fabric', { a: 1 });
    agent.send('a@fame.fabric', { b: 2 });
    await settle();
    expect(answers[0]).toMatchObject({ to: 'other@fame.fabric', frame: { payload: { a: 1 } } });
    expect(answers).toHaveLength(1);
    expect(onMessage).toHaveBeenCalledWith({ b: 2 }, expect.objectContaining({ to: 'a@fame.fabric' }));
    expect(() => agent.send('garbage', 1)).toThrow(/not an address/);
    expect(() => agent.send('a@fame.fabric', 'x'.repeat(300_000))).toThrow(/limit/);
  });
});

describe('HD27: a payload that is no request', () => {
  const awaited = { replyTo: CALLER, corrId: 'c', rtype: 2 };
  const faulty: [string, unknown][] = [
    ['null', null],
    ['a text', 'echo'],
    ['a number', 7],
    ['an empty list', []],
    ['a list that is no batch', [1, 2]],
    ['a request without jsonrpc', { id: 'c', method: 'm' }],
    ['a method that is a number', { jsonrpc: '2.0', id: 'c', method: 5 }],
    ['a request without a method', { jsonrpc: '2.0', id: 'c' }],
    ['a method that is null', { jsonrpc: '2.0', id: 'c', method: null }],
    ['a batch', [{ jsonrpc: '2.0', id: 'c', method: 'm' }]],
  ];
  const codes = (answers: Envelope<DataFrame>[]) =>
    answers.map((answer) => [
      answer.to,
      answer.corrId,
      payloadOf(answer).id,
      payloadOf(answer).error?.data.code,
    ]);
  const invalid = [CALLER, 'c', 'c', 'REQUEST_INVALID'];

  it.each(faulty)(
    'HD27: %s is answered with REQUEST_INVALID if an answer is awaited',
    async (_what, payload) => {
      const { message, answers, agent } = await served(serve((call) => call.reply(1)));
      message(payload, awaited);
      message(payload, { ...awaited, rtype: 4 });
      await settle();
      expect(codes(answers)).toEqual([invalid, invalid]);
      expect(payloadOf(answers[0]).error!.code).toBe(-32600);
      expect(agent.counts).toMatchObject({ serving: 0, flowsSent: 2 });
    },
  );

  it('HD27: a faulty request or a batch with an id is answered without rtype, also beside a message handler', async () => {
    const onMessage = vi.fn((payload: unknown) => payload);
    const { message, answers } = await served({ onCall: () => {}, onMessage });
    message({ jsonrpc: '2.0', id: 'c', method: 5 }, { replyTo: CALLER, corrId: 'c' });
    message([{ jsonrpc: '2.0', id: 'c', method: 'm' }], { replyTo: CALLER, corrId: 'c' });
    await settle();
    expect(codes(answers)).toEqual([invalid, invalid]);
    expect(onMessage).not.toHaveBeenCalled();
  });

  it('HD27: a handler without an answer, or one that fails, leaves no sender waiting', async () => {
    const log = new CaptureLog();
    const { message, answers } = await served(
      {
        onCall: () => {},
        onMessage: (payload) => {
          if (payload === 'nothing') return undefined;
          if (payload === 'later') return Promise.reject(new Error('x'));
          if (payload === 'busy') throw new FabricError('NODE_BUSY', 'later');
          if (payload === 'unsendable') return { n: 1n };
          throw new Error('x');
        },
      },
      { log },
    );
    for (const payload of ['nothing', 'now', 'busy', 'unsendable', 'later']) message(payload, awaited);
    await settle();
    expect(codes(answers).map(([, , , code]) => code)).toEqual([
      'REQUEST_INVALID',
      'INTERNAL',
      'NODE_BUSY',
      'PROTO_MALFORMED',
      'INTERNAL',
    ]);
    expect(log.messages('error')).toHaveLength(2);
    expect(JSON.stringify(answers[1])).toContain(
      log.lines.find(({ level }) => level === 'error')!.fields.logId,
    );
  });

  it('HD27: a notification is served and never answered, faulty or not', async () => {
    const onCall = vi.fn((call: IncomingCall) => call.reply(1));
    const { message, answers, acks } = await served(serve(onCall));
    message({ jsonrpc: '2.0', method: 'm' }, { replyTo: CALLER });
    message({ jsonrpc: '2.0', method: 'm' }, { replyTo: CALLER });
    message({ jsonrpc: '2.0', method: 5 }, { replyTo: CALLER });
    message([{ jsonrpc: '2.0', method: 'm' }], { replyTo: CALLER });
    message('plain', { replyTo: CALLER, corrId: 'c' });
    message(null, { corrId: 'c', rtype: 2 });
    await settle();
    expect(onCall).toHaveBeenCalledTimes(2);
    expect([...answers, ...acks]).toEqual([]);
  });

  it('HD27: an answer never gets a reply, regardless of its form', async () => {
    const { message, answers, acks, agent } = await served({
      onCall: (call) => call.reply(1),
      onMessage: (payload) => payload,
    });
    const mailbox = { ...awaited, to: 'a@fame.fabric' };
    message({ jsonrpc: '2.0', id: 'c', result: 1 }, mailbox);
    message({ jsonrpc: '2.0', id: 'c', result: 1, method: null }, mailbox);
    message({ jsonrpc: '2.0', id: 'c', error: { code: 1, message: 'x' }, method: 5 }, mailbox);
    message([{ jsonrpc: '2.0', id: 'c', result: 1 }], mailbox);
    await settle();
    expect([...answers, ...acks]).toEqual([]);
    // The answer to a message has no replyTo: two handlers would answer each other endlessly.
    message('ping', awaited);
    await settle();
    expect(answers).toHaveLength(1);
    expect(answers[0]!.replyTo).toBeUndefined();
    // Nor is an answer in another form, when it arrives in the mailbox of this node.
    agent.call('other@fame.fabric', 'm').catch(() => {});
    await settle();
    message('pong', { ...awaited, to: answers[1]!.replyTo });
    await settle();
    expect(answers).toHaveLength(2);
    expect(acks).toEqual([]);
  });

  it('HD27: a KeyRequest or SecureOpen with a corrId is refused, and an announcement is not', async () => {
    const { sentinel, acks } = await served(serve(() => {}));
    const frames: Frame[] = [
      { type: 'KeyRequest' },
      { type: 'SecureOpen' },
      { type: 'KeyAnnounce', physicalPath: '/S/other', keys: [] },
      { type: 'SecureAccept' },
      { type: 'SecureClose' },
    ];
    for (const frame of frames) {
      sentinel.send(sentinel.node, makeEnvelope(frame, { replyTo: CALLER, corrId: frame.type }));
      sentinel.send(sentinel.node, makeEnvelope(frame, { replyTo: CALLER }));
    }
    await settle();
    expect(acks.map(({ to, corrId, frame }) => [to, corrId, (frame as { code?: string }).code])).toEqual([
      [CALLER, 'KeyRequest', 'OPERATION_UNSUPPORTED'],
      [CALLER, 'SecureOpen', 'OPERATION_UNSUPPORTED'],
    ]);
  });
});

describe('an at-least-once peer', () => {
  it('c89, MS29: is answered when another node has used the same envelope id', async () => {
    const { request, answers } = await served(serve((call) => call.reply(call.params)));
    request('add', { id: '1', corrId: '1', rtype: 3 }, [1]);
    request('add', { id: '1', corrId: '1', rtype: 3, replyTo: '__rpc__other@/S/other' }, [2]);
    request('add', { id: '1', corrId: '1', rtype: 3 }, [1]); // resent, because its acknowledgement was lost
    await settle();
    expect(answers.map((answer) => [answer.to, payloadOf(answer).result])).toEqual([
      [CALLER, [1]],
      ['__rpc__other@/S/other', [2]],
    ]);
  });

  it('gets an acknowledgement for each repetition, and is served once', async () => {
    const onMessage = vi.fn();
    const calls: IncomingCall[] = [];
    const { message, sentinel, acks } = await served({ onCall: (call) => void calls.push(call), onMessage });
    const sent = message('x', { rtype: 1, replyTo: '__sys__@/S/peer', corrId: 'c' });
    const sentRequest = message(
      { jsonrpc: '2.0', id: 'r', method: 'm' },
      { rtype: 3, replyTo: CALLER, corrId: 'r' },
    );
    sentinel.send(sentinel.node, sent);
    sentinel.send(sentinel.node, sentRequest);
    await settle();
    calls[0]!.reply(1);
    sentinel.send(sentinel.node, sentRequest);
    await settle();
    expect(onMessage).toHaveBeenCalledOnce();
    expect(calls).toHaveLength(1);
    expect(acks).toHaveLength(5);
    expect(acks[0]).toMatchObject({
      to: '__sys__@/S/peer',
      corrId: 'c',
      frame: { type: 'DeliveryAck', ok: true, refId: sent.id },
    });
  });
});

describe('a service that journals', () => {
  async function journaling(more: Partial<Service> = {}) {
    const calls: IncomingCall[] = [];
    const service: Service = {
      onCall: (call) => void calls.push(call),
      isDurable: (payload) => JSON.stringify(payload).includes('durable'),
      ...more,
    };
    return { calls, ...(await served(service)) };
  }
  const request = { jsonrpc: '2.0', id: 'r', method: 'durable' };
  const header = { rtype: 3, replyTo: CALLER, corrId: 'r' };

  it('acknowledges a request by itself, and each repetition of it', async () => {
    const { calls, message, sentinel, acks, answers } = await journaling();
    const sent = message(request, header);
    await settle();
    expect(acks).toEqual([]);
    calls[0]!.acknowledge?.();
    await settle();
    expect(acks).toMatchObject([{ to: CALLER, corrId: 'r', frame: { ok: true, refId: sent.id } }]);
    // The acknowledgement was lost while the request is open, and later after its answer.
    sentinel.send(sentinel.node, sent);
    await settle();
    calls[0]!.reply('first');
    sentinel.send(sentinel.node, sent);
    await settle();
    expect(calls).toHaveLength(2);
    calls[1]!.acknowledge?.();
    calls[1]!.reply('first');
    await settle();
    expect(acks).toHaveLength(3);
    expect(answers.map((answer) => payloadOf(answer).result)).toEqual(['first', 'first']);
  });

  it('gets a request once that is repeated before its acknowledgement', async () => {
    const { calls, message, sentinel, acks } = await journaling();
    const sent = message(request, header);
    sentinel.send(sentinel.node, sent);
    await settle();
    expect(calls).toHaveLength(1);
    expect(acks).toEqual([]);
    calls[0]!.acknowledge?.();
    await settle();
    expect(acks).toHaveLength(1);
  });

  it('has nothing to acknowledge for a sender that does not ask for it, and the link acknowledges other requests', async () => {
    const { calls, message, acks } = await journaling();
    message(request, { ...header, rtype: 2 });
    message({ jsonrpc: '2.0', id: 'o', method: 'other' }, { ...header, corrId: 'o' });
    await settle();
    expect(calls.map(({ acknowledge }) => acknowledge)).toEqual([undefined, undefined]);
    expect(acks).toMatchObject([{ corrId: 'o' }]);
  });

  it('that refuses a message does not acknowledge it, and the sender learns the reason', async () => {
    const { message, acks } = await journaling({
      onMessage: async () => {
        throw new FabricError('STORE_FULL', 'The store is full');
      },
    });
    message('durable', { rtype: 1, replyTo: '__sys__@/S/peer', corrId: 'c' });
    await settle();
    expect(acks).toMatchObject([{ corrId: 'c', frame: { ok: false, code: 'STORE_FULL' } }]);
  });

  it('does not journal an answer that came late, and the link acknowledges it', async () => {
    const onMessage = vi.fn();
    const { message, acks } = await journaling({ onMessage });
    message({ jsonrpc: '2.0', id: 'durable', result: 1 }, { rtype: 1, replyTo: CALLER, corrId: 'c' });
    await settle();
    expect(onMessage).not.toHaveBeenCalled();
    expect(acks).toMatchObject([{ corrId: 'c', frame: { ok: true } }]);
  });

  it('gets the acknowledgement of a message with it', async () => {
    const acknowledgements: (() => void)[] = [];
    const { message, acks } = await journaling({
      onMessage: (_payload, _envelope, acknowledge) => void acknowledgements.push(acknowledge!),
    });
    message('durable', { rtype: 1, replyTo: '__sys__@/S/peer', corrId: 'c' });
    await settle();
    expect(acks).toEqual([]);
    acknowledgements[0]!();
    await settle();
    expect(acks).toMatchObject([{ to: '__sys__@/S/peer', corrId: 'c' }]);
  });
});

describe('while there is no connection', () => {
  const away = async (id: string) => {
    const calls: IncomingCall[] = [];
    const [clock, log] = [new ManualClock(), new CaptureLog()];
    const parts = await served(
      serve((call) => calls.push(call)),
      { clock, log },
    );
    for (const corrId of ['one', 'two', 'three']) parts.request('m', { corrId });
    parts.request('m', { corrId: 'stream', rtype: 4 });
    await settle();
    parts.sentinel.node.transport.close(1006, '');
    await settle();
    parts.sentinel.id = id;
    return { ...parts, calls, clock, log };
  };

  it('replies and items are queued, and sent if the path stays the same', async () => {
    const { calls, answers, clock, agent } = await away('S');
    for (const call of calls.slice(0, 3)) call.reply(call.id);
    const pushed = calls[3]!.push('item');
    calls[3]!.end();
    expect(agent.counts).toMatchObject({ waiting: 5, serving: 0 });
    expect(answers).toEqual([]);
    await clock.run(500, 50);
    await pushed;
    expect(answers.map(({ corrId }) => corrId)).toEqual(['one', 'two', 'three', 'stream', 'stream']);
    expect(agent.counts).toMatchObject({ waiting: 0, flowsSent: 2 });
  });

  it('replies and items are dropped with one log line if the path changes, and open calls are cancelled', async () => {
    const { calls, answers, clock, agent, log } = await away('T');
    for (const call of calls.slice(0, 2)) call.reply(call.id);
    await clock.run(500, 50);
    expect(answers).toEqual([]);
    expect(agent.counts).toMatchObject({ waiting: 0, serving: 0, flowsSent: 2 });
    expect(log.lines.filter(({ message }) => message.includes('path'))).toEqual([
      {
        level: 'warn',
        message: expect.any(String),
        fields: { previousPath: '/S/a', path: '/T/a', dropped: 2 },
      },
    ]);
    expect(calls[2]!.signal.reason).toMatchObject({ details: { reason: 'caller-gone' } });
  });

  it('messages to one node are queued up to the bound of its queue', async () => {
    const { agent, sentinel, clock } = await away('S');
    const text = 'x'.repeat(200_000);
    for (let at = 0; at < 41; at++) agent.send('x@fame.fabric', text);
    expect(() => agent.send('x@fame.fabric', text)).toThrow(/82\d{5} bytes to this node are already queued/);
    agent.send('y@fame.fabric', 'has its own bound');
    expect(agent.counts.waiting).toBe(42);
    await clock.run(500, 50);
    expect(sentinel.framesOf('Data')).toHaveLength(42);
  });
});
