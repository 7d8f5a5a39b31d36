// Calls: answers, refusals, deadlines, cancellation, pacing and lost connections.
import { getEventListeners } from 'node:events';
import { describe, expect, it } from 'vitest';
import { type DataFrame, type Envelope, makeEnvelope } from '../protocol/envelope.ts';
import { attach, errorOf, newLink, serve } from '../testing/attach.ts';
import { ManualClock, settle } from '../testing/manual-clock.ts';
import { ScriptedSentinel } from '../testing/scripted-sentinel.ts';
import type { IncomingCall } from './link-types.ts';

/** A sentinel that forwards no requests. */
function silent(): { sentinel: ScriptedSentinel; requests: Envelope<DataFrame>[] } {
  const sentinel = new ScriptedSentinel();
  const requests: Envelope<DataFrame>[] = [];
  sentinel.intercept = (envelope) => {
    if (envelope.frame.type !== 'Data') return true;
    requests.push(envelope as Envelope<DataFrame>);
    return false;
  };
  return { sentinel, requests };
}

const answer = (sentinel: ScriptedSentinel, { corrId, replyTo }: Envelope, payload: object): void =>
  sentinel.send(
    sentinel.node,
    makeEnvelope(
      { type: 'Data', payload: { jsonrpc: '2.0', id: corrId, ...payload } },
      { to: replyTo!, corrId: corrId! },
    ),
  );

describe('a request', () => {
  it('is a complete Data envelope', async () => {
    const { sentinel, requests } = silent();
    const client = await attach(sentinel, { systemId: 'c', sidOf: (path) => `sid of ${path}` });
    const result = client.call('math@fame.fabric', 'add', { x: 3 }, { meta: { who: 'me' } });
    await settle();
    const [request] = requests;
    expect(request).toMatchObject({
      version: '1.0',
      sid: 'sid of /S/c',
      to: 'math@fame.fabric',
      replyTo: expect.stringMatching(/^__rpc__\w{16}@\/S\/c$/),
      rtype: 2,
      traceId: expect.any(String),
      flowId: expect.any(String),
      meta: { who: 'me' },
      frame: { payload: { jsonrpc: '2.0', id: request!.corrId, method: 'add', params: { x: 3 } } },
    });
    // A router reads the fields before the frame only.
    expect(Object.keys(request!).indexOf('flowId')).toBeLessThan(Object.keys(request!).indexOf('frame'));
    answer(sentinel, request!, { result: 7 });
    expect(await result).toBe(7);
  });

  it('keeps one reply address and one flow for all of its calls', async () => {
    const { sentinel, requests } = silent();
    const client = await attach(sentinel);
    const results = [1, 2, 3].map((n) => client.call('a@fame.fabric', 'm', [n]));
    await settle();
    expect(new Set(requests.map(({ replyTo }) => replyTo)).size).toBe(1);
    expect(new Set(requests.map(({ flowId }) => flowId)).size).toBe(1);
    expect(new Set(requests.map(({ corrId }) => corrId)).size).toBe(3);
    for (const request of requests) answer(sentinel, request, {});
    expect(await Promise.all(results)).toEqual([null, null, null]);
  });
});

describe('an answer', () => {
  it('without result is null, with an error rejects with its code and data', async () => {
    const { sentinel, requests } = silent();
    const client = await attach(sentinel);
    const call = async (payload: object): Promise<unknown> => {
      const result = client.call('a@fame.fabric', 'm');
      await settle();
      answer(sentinel, requests.at(-1)!, payload);
      return result;
    };
    expect(await call({ result: null })).toBeNull();
    expect(await call({ result: 0, error: null })).toBe(0);
    expect(await errorOf(call({ error: { code: -32601, message: 'no such thing' } }))).toMatchObject({
      code: 'METHOD_NOT_FOUND',
      message: 'no such thing',
    });
    expect(
      await errorOf(call({ error: { code: -32000, message: 'x', data: { code: 'TURN_IN_PROGRESS' } } })),
    ).toMatchObject({ code: 'TURN_IN_PROGRESS', retryable: true });
    // The fields come from another node and may have any type.
    for (const error of [1, 'text', [], {}, { message: { toString: 1, valueOf: 1 } }]) {
      expect(await errorOf(call({ error }))).toMatchObject({ code: 'INTERNAL' });
    }
  });

  it('that is late, repeated or unexpected is ignored', async () => {
    const { sentinel, requests } = silent();
    const client = await attach(sentinel);
    const result = client.call('a@fame.fabric', 'm');
    await settle();
    answer(sentinel, requests[0]!, { result: 1 });
    answer(sentinel, requests[0]!, { result: 2 });
    answer(sentinel, { ...requests[0]!, corrId: 'unknown' }, { result: 3 });
    expect(await result).toBe(1);
    await settle();
    expect(client.counts.calls).toBe(0);
  });

  it.each([
    ['NODE_GONE', 'NODE_GONE'],
    ['CHILD_UNREACHABLE', 'NODE_GONE'],
    ['ROUTE_CONNECTOR_CLOSED', 'NODE_GONE'],
    ['PEER_UNREACHABLE', 'NODE_GONE'],
    ['crypto_level_violation', 'NO_ROUTE'],
  ])('DeliveryAck with %s rejects with %s; ok:true is no answer', async (wire, code) => {
    const { sentinel, requests } = silent();
    const client = await attach(sentinel);
    const failed = errorOf(client.call('a@fame.fabric', 'm'));
    await settle();
    const { corrId, replyTo } = requests[0]!;
    const ack = (ok: boolean, more: object = {}) =>
      sentinel.send(
        sentinel.node,
        makeEnvelope({ type: 'DeliveryAck', ok, ...more }, { to: replyTo!, corrId: corrId! }),
      );
    ack(true);
    await settle();
    expect(client.counts.calls).toBe(1);
    ack(false, { code: wire, reason: 'because' });
    expect(await failed).toMatchObject({ code, message: 'because' });
  });

  it('with rtype 1 is acknowledged at once, and accepted once', async () => {
    const { sentinel, requests } = silent();
    const client = await attach(sentinel);
    const result = client.call('a@fame.fabric', 'm');
    await settle();
    const { corrId, replyTo } = requests[0]!;
    const reply = makeEnvelope(
      { type: 'Data', payload: { jsonrpc: '2.0', id: corrId, result: 'x' } },
      { to: replyTo!, corrId: corrId!, rtype: 1, replyTo: '__sys__@/S/agent' },
    );
    sentinel.send(sentinel.node, reply);
    sentinel.send(sentinel.node, reply);
    expect(await result).toBe('x');
    await settle();
    const acks = sentinel.framesOf('DeliveryAck');
    expect(acks).toHaveLength(2);
    expect(acks[0]).toMatchObject({ to: '__sys__@/S/agent', corrId, frame: { ok: true, refId: reply.id } });
  });
});

describe('a call', () => {
  it('times out with CALL_TIMEOUT after 30 s or its own timeout, and notifies the callee', async () => {
    const { sentinel } = silent();
    const clock = new ManualClock();
    const client = await attach(sentinel, { clock });
    const [usual, own, never] = [
      errorOf(client.call('a@fame.fabric', 'm')),
      errorOf(client.call('a@fame.fabric', 'm', undefined, { timeoutMs: 500 })),
      errorOf(client.call('a@fame.fabric', 'm', undefined, { timeoutMs: Number.POSITIVE_INFINITY })),
    ];
    await clock.run(510, 10);
    expect(await own).toMatchObject({ code: 'CALL_TIMEOUT', retryable: true });
    expect(client.counts.calls).toBe(2);
    await clock.run(29_000, 500);
    expect(client.counts.calls).toBe(2);
    await clock.run(600, 50);
    expect(await usual).toMatchObject({ code: 'CALL_TIMEOUT' });
    expect((await usual).message).toBe('No answer from a@fame.fabric to m within 30 s');
    expect(sentinel.framesOf('CallCancel').map(({ frame }) => frame.reason)).toEqual(['timeout', 'timeout']);
    await clock.run(100_000, 5_000);
    expect(client.counts.calls).toBe(1);
    await client.close();
    expect(await never).toMatchObject({ code: 'LINK_CLOSED' });
  });

  it('shares one timer with all others', async () => {
    const { sentinel } = silent();
    const clock = new ManualClock();
    const client = await attach(sentinel, { clock });
    const before = clock.timerCount;
    const failed = Array.from({ length: 1_000 }, (_, at) =>
      errorOf(client.call('a@fame.fabric', 'm', undefined, { timeoutMs: 1_000 + at })),
    );
    expect(clock.timerCount).toBe(before + 1);
    await clock.run(2_100, 10);
    for (const error of await Promise.all(failed)) expect(error.code).toBe('CALL_TIMEOUT');
    expect(client.counts.calls).toBe(0);
  });

  it('rejects with the reason of its signal, notifies the callee, and leaves no listener', async () => {
    const { sentinel, requests } = silent();
    const client = await attach(sentinel);
    const abort = new AbortController();
    const failed = errorOf(client.call('a@fame.fabric', 'm', undefined, { signal: abort.signal }));
    await settle();
    expect(getEventListeners(abort.signal, 'abort')).toHaveLength(1);
    const reason = new Error('I changed my mind');
    abort.abort(reason);
    expect(await failed).toBe(reason);
    await settle();
    const [cancel] = sentinel.framesOf('CallCancel');
    expect(cancel).toMatchObject({ frame: { corrId: requests[0]!.corrId, reason: 'aborted' } });
    expect(cancel!.to).toBeUndefined();
    expect(getEventListeners(abort.signal, 'abort')).toHaveLength(0);
    expect(await errorOf(client.call('a@fame.fabric', 'm', undefined, { signal: abort.signal }))).toBe(
      reason,
    );
    expect(requests).toHaveLength(1);
  });

  it('leaves no abort listener behind however it ends', async () => {
    const { sentinel, requests } = silent();
    const client = await attach(sentinel);
    const { signal } = new AbortController();
    for (let n = 0; n < 50; n++) {
      const result = client.call('a@fame.fabric', 'm', undefined, { signal });
      await settle();
      answer(sentinel, requests.at(-1)!, n % 2 ? { result: n } : { error: { code: 1, message: 'x' } });
      await result.catch(() => {});
    }
    expect(getEventListeners(signal, 'abort')).toHaveLength(0);
  });

  it('refuses bad targets, timeouts and ids before anything is sent', async () => {
    const { sentinel, requests } = silent();
    const client = await attach(sentinel);
    expect(await errorOf(client.call('bad address', 'm'))).toMatchObject({ code: 'ADDRESS_INVALID' });
    expect(await errorOf(client.call({ capabilities: [] }, 'm'))).toMatchObject({ code: 'ADDRESS_INVALID' });
    for (const timeoutMs of [0, -1, Number.NaN]) {
      const failed = client.call('a@fame.fabric', 'm', undefined, { timeoutMs });
      expect(await errorOf(failed)).toMatchObject({ code: 'PARAMS_INVALID' });
    }
    const first = errorOf(client.call('a@fame.fabric', 'm', undefined, { id: 'turn-1' }));
    const second = client.call('a@fame.fabric', 'm', undefined, { id: 'turn-1' });
    expect(await errorOf(second)).toMatchObject({ code: 'REQUEST_INVALID' });
    await settle();
    expect(requests.map(({ corrId }) => corrId)).toEqual(['turn-1']);
    await client.close();
    await first;
  });

  it('above 262,144 bytes, or that is not JSON, rejects at once', async () => {
    const { sentinel, requests } = silent();
    const client = await attach(sentinel);
    expect(await errorOf(client.call('a@fame.fabric', 'm', 'x'.repeat(262_144)))).toMatchObject({
      code: 'MESSAGE_TOO_LARGE',
    });
    expect(await errorOf(client.call('a@fame.fabric', 'm', { n: 1n }))).toMatchObject({
      code: 'PROTO_MALFORMED',
    });
    await settle();
    expect(requests).toEqual([]);
    expect(client.counts.calls).toBe(0);
  });

  it('needs a link that is connected', async () => {
    const sentinel = new ScriptedSentinel();
    const link = newLink(sentinel);
    expect(await errorOf(link.call('a@fame.fabric', 'm'))).toMatchObject({ code: 'LINK_CLOSED' });
    await link.connect();
    await link.close();
    expect(await errorOf(link.call('a@fame.fabric', 'm'))).toMatchObject({ code: 'LINK_CLOSED' });
    expect(() => link.send('a@fame.fabric', 1)).toThrow('closed');
    expect(
      await errorOf(
        link.bind(
          'a@fame.fabric',
          serve(() => {}),
        ),
      ),
    ).toMatchObject({ code: 'LINK_CLOSED' });
  });
});

describe('calls to an address of the same link', () => {
  it('do not reach the sentinel, and arrive as copies', async () => {
    const sentinel = new ScriptedSentinel();
    const link = await attach(sentinel);
    const seen: IncomingCall[] = [];
    await link.bind(
      'here@fame.fabric',
      serve((call) => {
        seen.push(call);
        if (call.method === 'wait') return;
        call.reply(call.params);
      }),
    );
    const params = { list: [1] };
    const result = link.call('here@fame.fabric', 'echo', params);
    expect(seen).toEqual([]);
    expect(await result).toEqual(params);
    expect(seen[0]!.params).not.toBe(params);
    const abort = new AbortController();
    const failed = errorOf(link.call('here@fame.fabric', 'wait', undefined, { signal: abort.signal }));
    await settle();
    abort.abort();
    await failed;
    await settle();
    expect(seen[1]!.signal.aborted).toBe(true);
    expect(sentinel.framesOf('Data')).toEqual([]);
    expect(link.counts).toMatchObject({ calls: 0, serving: 0 });
  });

  it('are answered while there is no connection', async () => {
    const sentinel = new ScriptedSentinel();
    const link = await attach(sentinel, { clock: new ManualClock() });
    await link.bind(
      'here@fame.fabric',
      serve((call) => call.reply('yes')),
    );
    sentinel.node.transport.close(1001, '');
    await settle();
    expect(link.state).toBe('reconnecting');
    expect(await link.call('here@fame.fabric', 'm')).toBe('yes');
  });
});

describe('through a foreign sentinel', () => {
  it('at most 24 calls are in flight; the others wait in order, and their timeouts run', async () => {
    const { sentinel, requests } = silent();
    sentinel.software = undefined;
    const clock = new ManualClock();
    const client = await attach(sentinel, { clock });
    const params = { n: 0 };
    const results = Array.from({ length: 100 }, (_, n) => {
      params.n = n;
      const result = client.call('a@fame.fabric', 'm', params, { timeoutMs: n === 60 ? 1_000 : 30_000 });
      return n === 60 ? errorOf(result) : result;
    });
    await settle();
    expect(requests).toHaveLength(24);
    await clock.run(1_100, 100);
    expect(await results[60]).toMatchObject({ code: 'CALL_TIMEOUT' });
    for (let at = 0; at < 99; at++) {
      const request = requests[at]!;
      answer(sentinel, request, { result: (request.frame.payload as { params: { n: number } }).params.n });
      await settle();
      expect(requests.length).toBe(Math.min(at + 25, 99));
    }
    // Each request was copied, although the caller reuses one object.
    expect(await Promise.all(results.filter((_, n) => n !== 60))).toEqual(
      Array.from({ length: 100 }, (_, n) => n).filter((n) => n !== 60),
    );
    // A request that was never sent is not cancelled at the callee.
    expect(sentinel.framesOf('CallCancel')).toEqual([]);
  });

  it('a stream counts only until its first item', async () => {
    const { sentinel, requests } = silent();
    sentinel.software = 'naylence/0.4';
    const client = await attach(sentinel);
    const streams = Array.from({ length: 25 }, () => client.stream('a@fame.fabric', 'm'));
    const firsts = streams.map((stream) => stream.next());
    await settle();
    expect(requests).toHaveLength(24);
    answer(sentinel, requests[0]!, { result: 'item' });
    expect(await firsts[0]).toEqual({ value: 'item', done: false });
    await settle();
    expect(requests).toHaveLength(25);
    await Promise.all(streams.map((stream) => stream.return?.()));
  });

  it('our own sentinel gets all at once', async () => {
    const { sentinel, requests } = silent();
    const client = await attach(sentinel);
    const failed = Array.from({ length: 1_000 }, () => errorOf(client.call('a@fame.fabric', 'm')));
    await settle();
    expect(requests).toHaveLength(1_000);
    await client.close();
    await Promise.all(failed);
  });
});

describe('when the connection is lost', () => {
  const broken = async (options: { resumed?: boolean; id?: string } = {}) => {
    const { sentinel, requests } = silent();
    const clock = new ManualClock();
    const client = await attach(sentinel, { clock, systemId: 'c' });
    const drop = async () => {
      sentinel.node.transport.close(1006, '');
      await settle();
      sentinel.resumed = options.resumed;
      if (options.id) sentinel.id = options.id;
    };
    return { sentinel, requests, clock, client, drop };
  };

  it('calls in flight wait until their timeout for the answer that the sentinel may still deliver', async () => {
    const { sentinel, requests, clock, client, drop } = await broken();
    const result = client.call('a@fame.fabric', 'm');
    const lost = errorOf(client.call('a@fame.fabric', 'n', undefined, { timeoutMs: 5_000 }));
    await settle();
    await drop();
    await clock.run(500, 50);
    expect(client.state).toBe('attached');
    expect(requests).toHaveLength(2);
    answer(sentinel, requests[0]!, { result: 'late but there' });
    expect(await result).toBe('late but there');
    await clock.run(5_000, 100);
    expect(await lost).toMatchObject({ code: 'CALL_TIMEOUT' });
  });

  it.each([
    ['the path is another', { id: 'T' }],
    ['the sentinel began a new session', { resumed: false }],
  ])('they fail at once when %s', async (_why, options) => {
    const { clock, client, drop } = await broken(options);
    const failed = errorOf(client.call('a@fame.fabric', 'm', undefined, { timeoutMs: 60_000 }));
    await settle();
    await drop();
    await clock.run(500, 50);
    expect(await failed).toMatchObject({ code: 'LINK_CLOSED', retryable: true });
  });

  it.each([
    ['the path is the same', {}],
    ['the path is another', { id: 'T' }],
  ])('with resend the same request goes out again when %s', async (_why, options) => {
    const { sentinel, requests, clock, client, drop } = await broken(options);
    const result = client.call('a@fame.fabric', 'turn', { n: 1 }, { id: 'turn-1', resend: true });
    await settle();
    await drop();
    await clock.run(500, 50);
    expect(requests).toHaveLength(2);
    const [first, second] = requests;
    expect(second).toMatchObject({ id: first!.id, corrId: 'turn-1', frame: first!.frame });
    expect(second!.replyTo!.endsWith(`@${client.path}`)).toBe(true);
    answer(sentinel, second!, { result: 'once' });
    expect(await result).toBe('once');
  });

  it.each([
    ['began a new session', false],
    ['resumed the session', true],
  ])(
    'a stream with resend until-item is sent again before its first item, and fails after it, when the sentinel %s',
    async (_why, resumed) => {
      const { sentinel, requests, clock, client, drop } = await broken({ resumed });
      const stream = client.stream('a@fame.fabric', 'turn', {}, { resend: 'until-item', timeoutMs: 60_000 });
      const items = stream[Symbol.asyncIterator]();
      const first = items.next();
      await settle();
      await drop();
      await clock.run(500, 50);
      expect(requests).toHaveLength(2);
      answer(sentinel, requests[1]!, { result: 'one' });
      expect(await first).toEqual({ done: false, value: 'one' });
      const second = errorOf(items.next());
      await drop();
      await clock.run(500, 50);
      expect(requests).toHaveLength(2);
      expect(await second).toMatchObject({ code: 'LINK_CLOSED', retryable: true });
    },
  );

  it('a repeated request that was still queued is sent once', async () => {
    for (const id of ['S', 'T']) {
      const { sentinel, requests, clock, client, drop } = await broken({ id });
      sentinel.grantsCredit = false;
      const results = Array.from({ length: 40 }, (_, n) =>
        client.call('a@fame.fabric', 'turn', { n }, { resend: true }),
      );
      await settle();
      expect(requests).toHaveLength(32);
      requests.length = 0;
      sentinel.grantsCredit = true;
      await drop();
      await clock.run(500, 50);
      expect(requests).toHaveLength(40);
      expect(new Set(requests.map(({ corrId }) => corrId)).size).toBe(40);
      for (const request of requests) answer(sentinel, request, { result: 1 });
      await Promise.all(results);
    }
  });

  it('new calls wait for the attach until their timeout', async () => {
    const { sentinel, requests, clock, client, drop } = await broken();
    await drop();
    const params = { n: 1 };
    const result = client.call('a@fame.fabric', 'm', params);
    const early = errorOf(client.call('a@fame.fabric', 'm', undefined, { timeoutMs: 50 }));
    params.n = 2;
    expect(requests).toHaveLength(0);
    clock.advance(60);
    expect(await early).toMatchObject({ code: 'CALL_TIMEOUT' });
    await clock.run(500, 50);
    expect(requests).toHaveLength(1);
    expect(requests[0]!.frame.payload).toMatchObject({ params: { n: 1 } });
    answer(sentinel, requests[0]!, { result: 'ok' });
    expect(await result).toBe('ok');
  });
});
