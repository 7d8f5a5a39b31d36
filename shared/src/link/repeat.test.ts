// Requests that were refused with NODE_BUSY are repeated until the deadline. A request that was executed is not.
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { FabricError } from '../errors/error.ts';
import { type DataFrame, type Envelope, makeEnvelope } from '../protocol/envelope.ts';
import { rpcError, rpcRefusal } from '../protocol/rpc.ts';
import { attach, collect, errorOf, serve } from '../testing/attach.ts';
import { ManualClock, settle } from '../testing/manual-clock.ts';
import { ScriptedSentinel } from '../testing/scripted-sentinel.ts';
import type { LinkOptions } from './link-types.ts';

// Fixed delays, so that no attempt is in flight at the deadline.
beforeEach(() => {
  vi.spyOn(Math, 'random').mockReturnValue(0.5);
});
afterEach(() => {
  vi.restoreAllMocks();
});

const BUSY = new FabricError('NODE_BUSY', 'The queue is full');

async function caller(options: Partial<LinkOptions> = {}) {
  const sentinel = new ScriptedSentinel();
  const clock = new ManualClock();
  const requests: Envelope<DataFrame>[] = [];
  sentinel.intercept = (envelope) => {
    if (envelope.frame.type !== 'Data') return true;
    requests.push(envelope as Envelope<DataFrame>);
    return false;
  };
  const client = await attach(sentinel, { clock, ...options });
  const toCaller = ({ corrId, replyTo }: Envelope) => ({ to: replyTo!, corrId: corrId! });
  const nack = (request: Envelope) => {
    const frame = {
      type: 'DeliveryAck',
      ok: false,
      code: 'NODE_BUSY',
      reason: 'full',
      refId: request.id,
    } as const;
    sentinel.send(sentinel.node, makeEnvelope(frame, toCaller(request)));
  };
  const send = (request: Envelope, payload: object, flowId?: string, seqId?: number) =>
    sentinel.send(
      sentinel.node,
      makeEnvelope({ type: 'Data', payload }, { ...toCaller(request), flowId, seqId } as Partial<Envelope>),
    );
  const result = (request: Envelope, value: unknown) =>
    send(request, { jsonrpc: '2.0', id: request.corrId, result: value });
  return { sentinel, clock, requests, client, nack, send, result };
}

const paramsOf = ({ frame }: Envelope<DataFrame>): unknown => (frame.payload as { params: unknown }).params;

describe('HD10: a request that was refused with NODE_BUSY', () => {
  it('by a sentinel is repeated with growing delays, as it was, and answered', async () => {
    const { client, clock, requests, nack, result } = await caller();
    const params = { n: 1 };
    const answer = client.call('a@fame.fabric', 'm', params);
    params.n = 2;
    for (let n = 1; n <= 4; n++) {
      await settle();
      expect(requests).toHaveLength(n);
      nack(requests.at(-1)!);
      await settle();
      expect(requests).toHaveLength(n);
      await clock.run(20 * 2 ** n);
    }
    expect(requests).toHaveLength(5);
    expect(requests.map(paramsOf)).toEqual(Array(5).fill({ n: 1 }));
    expect(new Set(requests.map(({ id, corrId }) => `${id} ${corrId}`)).size).toBe(1);
    result(requests.at(-1)!, 'done');
    expect(await answer).toBe('done');
    await clock.run(10_000);
    expect(requests).toHaveLength(5);
    expect(client.counts.calls).toBe(0);
  });

  it('by the callee is repeated with another id, because the callee ignores an id that it knows', async () => {
    const { client, clock, requests, send, result } = await caller({ deliveryProfile: 'at-least-once' });
    const answer = client.call('a@fame.fabric', 'm');
    await settle();
    send(requests[0]!, rpcRefusal(requests[0]!.corrId!, BUSY));
    await clock.run(20);
    const [first, second] = requests;
    expect(second!.corrId).toBe(first!.corrId);
    expect(second!.id).not.toBe(first!.id);
    result(second!, 'done');
    expect(await answer).toBe('done');
  });

  it('fails with the refusal at the deadline', async () => {
    const { client, clock, requests, nack, sentinel } = await caller();
    sentinel.intercept = (envelope) => {
      if (envelope.frame.type === 'Data') nack(envelope);
      requests.push(envelope as Envelope<DataFrame>);
      return false;
    };
    const failed = errorOf(client.call('a@fame.fabric', 'm', undefined, { timeoutMs: 5_000 }));
    await clock.run(4_900, 5);
    expect(client.counts.calls).toBe(1);
    await clock.run(200, 5);
    expect(await failed).toMatchObject({ code: 'NODE_BUSY', message: 'full' });
    expect(requests.length).toBeGreaterThan(8);
    expect(requests.length).toBeLessThan(40);
    expect(sentinel.framesOf('CallCancel')).toEqual([]);
  });

  it('is no longer repeated after its signal aborted', async () => {
    const { client, clock, requests, nack } = await caller();
    const abort = new AbortController();
    const failed = errorOf(client.call('a@fame.fabric', 'm', undefined, { signal: abort.signal }));
    await settle();
    nack(requests[0]!);
    await settle();
    abort.abort(new Error('enough'));
    expect((await failed).message).toBe('enough');
    await clock.run(5_000);
    expect(requests).toHaveLength(1);
  });

  it('waits for the next connection if this one is lost meanwhile', async () => {
    const { client, clock, requests, nack, result, sentinel } = await caller();
    const answer = client.call('a@fame.fabric', 'm');
    await settle();
    nack(requests[0]!);
    await settle();
    sentinel.resumed = false;
    sentinel.isDown = true;
    sentinel.node.transport.close(1006, '');
    await clock.run(500);
    expect(requests).toHaveLength(1);
    sentinel.isDown = false;
    await clock.run(10_000, 50);
    expect(requests).toHaveLength(2);
    result(requests[1]!, 'done');
    expect(await answer).toBe('done');
  });

  it('as a stream is repeated until its first item', async () => {
    const { client, clock, requests, send, nack } = await caller();
    const items = collect(client.stream('a@fame.fabric', 'm'));
    await settle();
    const corrId = requests[0]!.corrId!;
    nack(requests[0]!);
    await clock.run(20);
    send(requests[1]!, rpcRefusal(corrId, BUSY), corrId, 0);
    await clock.run(40);
    expect(requests).toHaveLength(3);
    send(requests[2]!, { jsonrpc: '2.0', id: corrId, result: 1 }, corrId, 0);
    send(requests[2]!, { jsonrpc: '2.0', id: corrId, result: 2 }, corrId, 1);
    send(requests[2]!, { jsonrpc: '2.0', id: corrId, result: null }, corrId, 2);
    expect(await items).toEqual([1, 2]);
  });

  it('as a stream is not repeated after an item', async () => {
    const { client, clock, requests, send } = await caller();
    const failed = errorOf(collect(client.stream('a@fame.fabric', 'm')));
    await settle();
    const corrId = requests[0]!.corrId!;
    send(requests[0]!, { jsonrpc: '2.0', id: corrId, result: 1 }, corrId, 0);
    send(requests[0]!, rpcRefusal(corrId, BUSY), corrId, 1);
    expect(await failed).toMatchObject({ code: 'NODE_BUSY' });
    await clock.run(5_000);
    expect(requests).toHaveLength(1);
  });
});

describe('HD10: a request that was executed', () => {
  it('and failed with NODE_BUSY is not repeated', async () => {
    const { client, clock, requests, send } = await caller();
    const failed = errorOf(client.call('a@fame.fabric', 'm'));
    await settle();
    // From an operation whose own call failed, or from a node of version 0.1.
    send(requests[0]!, rpcError(requests[0]!.corrId!, BUSY));
    expect(await failed).toMatchObject({ code: 'NODE_BUSY' });
    await clock.run(5_000);
    expect(requests).toHaveLength(1);
  });

  it('is neither repeated nor failed by the refusal of an answer with the same id', async () => {
    const { client, clock, requests, sentinel, result } = await caller();
    const answer = client.call('a@fame.fabric', 'm', undefined, { id: 'turn-1' });
    await settle();
    const frame = {
      type: 'DeliveryAck',
      ok: false,
      code: 'NODE_BUSY',
      reason: 'closed',
      refId: 'x',
    } as const;
    sentinel.send(sentinel.node, makeEnvelope(frame, { to: `__sys__@${client.path}`, corrId: 'turn-1' }));
    await clock.run(5_000);
    expect(requests).toHaveLength(1);
    result(requests[0]!, 'done');
    expect(await answer).toBe('done');
  });

  it('is not repeated if the callee refused a request of its own', async () => {
    const sentinel = new ScriptedSentinel();
    const clock = new ManualClock();
    const [inner, outer, client] = await Promise.all([1, 2, 3].map(() => attach(sentinel, { clock })));
    let refused = 0;
    await inner!.bind(
      'inner@fame.fabric',
      serve((call) => {
        refused++;
        call.refuse(BUSY);
      }),
    );
    let executed = 0;
    await outer!.bind(
      'outer@fame.fabric',
      serve((call) => {
        executed++;
        outer!
          .call('inner@fame.fabric', 'm', undefined, { timeoutMs: 1_000 })
          .then(call.reply, (error) => call.fail(error));
      }),
    );
    const failed = errorOf(client!.call('outer@fame.fabric', 'm'));
    await clock.run(2_000, 10);
    expect(await failed).toMatchObject({ code: 'NODE_BUSY' });
    await clock.run(5_000);
    expect(executed).toBe(1);
    expect(refused).toBeGreaterThan(3);
  });
});
