import { randomBytes } from 'node:crypto';
import { AgentError, FabricError } from '@fame-fabric/shared';
import { CaptureLog, ManualClock, settle } from '@fame-fabric/shared/testing';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { z } from 'zod';
import { MemoryStore } from '../../store/memory-store.ts';
import { type FakeCallOptions, FakeLink } from '../../testing/fake-link.ts';
import { defineAgent } from '../agent.ts';
import type { AgentOptions, ServeOptions, Serving } from '../agent-types.ts';
import { type Delivery, type OperationContext, operation } from '../operation.ts';
import { StateKeys } from '../state/state-keys.ts';

const ADDRESS = 'shop@fame.fabric';
const REPLY_TO = '__rpc__test@/sentinel/client';

let clock: ManualClock;
let log: CaptureLog;
let store: MemoryStore;
let link: FakeLink;
let servings: Serving[];
beforeEach(() => {
  clock = new ManualClock();
  log = new CaptureLog();
  store = new MemoryStore({ clock });
  link = new FakeLink();
  servings = [];
});
afterEach(async () => {
  for (const serving of servings) await serving.close();
});

/** A value that is not JSON. */
const circular: unknown[] = [];
circular.push(circular);

type Run = (args: { n: number }, context: OperationContext) => unknown;

async function serve(
  run: Run,
  more: Partial<AgentOptions> = {},
  options: ServeOptions = {},
): Promise<Serving> {
  const pay = operation({ params: z.object({ n: z.number() }), durable: true, run });
  const agent = defineAgent({ address: ADDRESS, operations: { pay }, store, ...more });
  const serving = await agent.serve(link, { clock, log, ...options });
  servings.push(serving);
  return serving;
}

/** Simulates a crash of the process of the agent, and serves the agent in another one on the same store. */
async function crash(run: Run, more: Partial<AgentOptions> = {}): Promise<void> {
  await store.close();
  store = new MemoryStore({ clock, sharedWith: store });
  link = new FakeLink();
  await serve(run, more);
  await settle();
}

const start = (id: string, n: unknown = 1, options: FakeCallOptions = {}) =>
  link.start(ADDRESS, 'pay', { n }, { id, ...options });
const call = (id: string, n: unknown = 1, options: FakeCallOptions = {}) => start(id, n, options).done;
const stored = (id: string) => store.getRequest(ADDRESS, id);

/** A function that records its runs. The test ends each of them. */
function gate() {
  const runs: { n: number; delivery: Delivery | undefined; signal: AbortSignal }[] = [];
  const ends: PromiseWithResolvers<unknown>[] = [];
  const run: Run = ({ n }, { delivery, signal }) => {
    runs.push({ n, delivery, signal });
    const end = Promise.withResolvers<unknown>();
    ends.push(end);
    return end.promise;
  };
  return { runs, ends, run };
}

describe('a durable request', () => {
  test('is in the store before it is acknowledged and run, and runs once for all calls with its id', async () => {
    const { runs, ends, run } = gate();
    await serve(run);
    const order: string[] = [];
    const first = start('r1', 1, {
      onAcknowledged: () => order.push(`acknowledged after ${runs.length} runs`),
    });
    expect(order).toEqual([]);
    await settle();
    expect(order).toEqual(['acknowledged after 0 runs']);
    expect(await stored('r1')).toMatchObject({ state: 'open', attempt: 1, method: 'pay' });
    const second = start('r1');
    await settle();
    ends[0]!.resolve('paid');
    expect([(await first.done).result, (await second.done).result]).toEqual(['paid', 'paid']);
    expect((await call('r1')).result).toBe('paid');
    expect(runs).toMatchObject([{ n: 1, delivery: { id: 'r1', attempt: 1 } }]);
    expect(await stored('r1')).toMatchObject({ state: 'completed', params: { text: '' } });
  });

  test('with the id of another one and other parameters is refused', async () => {
    const { runs, run } = gate();
    await serve(run);
    start('r1');
    await settle();
    const other = await call('r1', 2);
    expect(other).toMatchObject({ isRefused: true, error: { data: { code: 'REQUEST_CONFLICT' } } });
    expect(runs).toHaveLength(1);
  });

  test('is one of its principal: others have requests with the same id, and cannot take the id of one', async () => {
    await serve(({ n }) => n);
    const results = async (n: number, principal?: string): Promise<unknown> =>
      (await call('r1', n, principal === undefined ? {} : { principal })).result;
    expect([await results(1), await results(2, 'ada'), await results(3, 'eve')]).toEqual([1, 2, 3]);
    const ids = (await store.listRequests()).map(({ id }) => id);
    expect(new Set(ids).size).toBe(3);
    const ofAda = ids.find((id) => id !== 'r1')!;
    for (const principal of [undefined, 'eve']) {
      const other = await call(ofAda, 4, principal === undefined ? {} : { principal });
      expect(other.result).toBe(4);
    }
    expect(await results(2, 'ada')).toBe(2);
  });

  test('without an id runs as one of its own', async () => {
    await serve(({ n }) => n);
    expect([(await call('', 1)).result, (await call('', 1)).result]).toEqual([1, 1]);
    expect(await store.listRequests()).toHaveLength(2);
  });

  test('with faulty parameters or a long id is refused before it is stored', async () => {
    await serve(({ n }) => n);
    expect((await call('r1', 'x')).error).toMatchObject({ data: { code: 'PARAMS_INVALID' } });
    expect((await call('x'.repeat(600))).error).toMatchObject({ data: { code: 'REQUEST_INVALID' } });
    expect(await store.listRequests()).toEqual([]);
  });

  test('that the store cannot take is refused and not acknowledged', async () => {
    await serve(({ n }) => n);
    await store.close();
    const acknowledged: string[] = [];
    const { error } = await call('r1', 1, { onAcknowledged: () => acknowledged.push('r1') });
    expect(error).toMatchObject({ data: { code: 'STORE_UNAVAILABLE' } });
    expect(acknowledged).toEqual([]);
  });

  test('knows its caller, and has its own context', async () => {
    const seen: unknown[] = [];
    await serve(async (_, context) => {
      const { callId, replyTo, traceId, address, isStream } = context;
      seen.push(await context.caller, { callId, replyTo, traceId, address, isStream });
    });
    expect((await call('r1', 1, { principal: 'local' })).result).toBeNull();
    expect(seen).toEqual([
      expect.objectContaining({ principal: 'local', path: '/sentinel/client' }),
      { callId: 'r1', replyTo: REPLY_TO, traceId: 'trace', address: ADDRESS, isStream: false },
    ]);
  });
});

describe('an outcome', () => {
  test('is also an error with a code, which every call with the id gets', async () => {
    let runs = 0;
    await serve(() => {
      runs += 1;
      throw new AgentError('OUT_OF_STOCK', 'No lamps are left', { details: { left: 0 } });
    });
    const [first, again] = [await call('r1'), await call('r1')];
    expect(first.error).toMatchObject({ message: 'No lamps are left', data: { code: 'OUT_OF_STOCK' } });
    expect(again.error).toEqual(first.error);
    expect(runs).toBe(1);
    expect(await stored('r1')).toMatchObject({ state: 'failed' });
  });

  test.each([
    ['a circular value', () => circular, 'INTERNAL'],
    ['more than an envelope', () => 'x'.repeat(300_000), 'MESSAGE_TOO_LARGE'],
    [
      'a stream',
      () =>
        (async function* () {
          yield 1;
        })(),
      'INTERNAL',
    ],
  ])('of a run that returns %s is an error', async (_, run, code) => {
    await serve(run);
    expect((await call('r1')).error).toMatchObject({ data: { code } });
  });

  test('is kept for a day', async () => {
    let runs = 0;
    await serve(() => (runs += 1));
    const sweep = () => store.sweep({ trashedBefore: { at: 0, runningMs: 0 } });
    await call('r1');
    clock.advance(86_399_000);
    await sweep();
    expect((await call('r1')).result).toBe(1);
    clock.advance(1_000);
    await sweep();
    expect((await call('r1')).result).toBe(2);
  });
});

describe('a run that fails', () => {
  test('is repeated after 1 s and 5 s with the same id, and then the request is dead', async () => {
    const runs: unknown[] = [];
    const run: Run = (_, { delivery }) => {
      runs.push(delivery);
      throw new Error('no network');
    };
    await serve(run);
    const answer = call('r1');
    await settle();
    await clock.run(999);
    expect(runs).toHaveLength(1);
    await clock.run(1);
    expect(runs).toHaveLength(2);
    await clock.run(5_000);
    expect(await answer).toMatchObject({
      error: { data: { code: 'REQUEST_DEAD' }, message: 'The request was given up: it failed 3 times' },
    });
    expect(runs).toEqual([1, 2, 3].map((attempt) => ({ id: 'r1', attempt })));
    expect((await call('r1')).error).toMatchObject({ data: { code: 'REQUEST_DEAD' } });
    expect(runs).toHaveLength(3);
    expect(await stored('r1')).toMatchObject({ state: 'dead', attempt: 3 });
    // No message of the error reaches the caller or the store.
    expect(JSON.stringify(await stored('r1'))).not.toContain('no network');
  });

  test('with a retryable error is repeated too, and can succeed', async () => {
    await serve((_, { delivery }) => {
      if (delivery?.attempt === 1) throw new FabricError('NO_ROUTE', 'No agent serves bank@fame.fabric');
      return delivery?.attempt;
    });
    const answer = call('r1');
    await settle();
    await clock.run(1_000);
    expect((await answer).result).toBe(2);
  });

  test('a dead request that a person revives runs again', async () => {
    let isBroken = true;
    await serve(() => {
      if (isBroken) throw new Error('broken');
      return 'repaired';
    });
    void call('r1');
    await settle();
    await clock.run(1_000);
    await clock.run(5_000);
    isBroken = false;
    expect(await store.reviveRequest(ADDRESS, 'r1')).toBe(true);
    await clock.run(5_000);
    expect(await stored('r1')).toMatchObject({ state: 'completed', attempt: 1 });
    expect(link.sent.at(-1)).toEqual({
      to: REPLY_TO,
      corrId: 'r1',
      payload: { jsonrpc: '2.0', id: 'r1', result: 'repaired' },
    });
  });
});

describe('after a crash', () => {
  test('a request runs again with its id, and the caller of the dead process is answered', async () => {
    const before = gate();
    await serve(before.run);
    start('r1', 7);
    start('r2', 8);
    await settle();
    expect(before.runs).toHaveLength(2);
    const runs: unknown[] = [];
    await crash(async ({ n }, context) => {
      runs.push([n, context.delivery, (await context.caller)?.principal]);
      return n;
    });
    expect(runs).toEqual([
      [7, { id: 'r1', attempt: 2 }, 'anonymous'],
      [8, { id: 'r2', attempt: 2 }, 'anonymous'],
    ]);
    expect(link.sent).toEqual(
      [7, 8].map((n, i) => {
        const id = `r${i + 1}`;
        return { to: REPLY_TO, corrId: id, payload: { jsonrpc: '2.0', id, result: n } };
      }),
    );
    // The first process lost the requests, so its late outcomes are not recorded.
    for (const { resolve } of before.ends) resolve('late');
    await settle();
    expect((await call('r1', 7)).result).toBe(7);
    expect(runs).toHaveLength(2);
  });

  test('a caller that asks again joins the run, and gets its outcome once', async () => {
    await serve(gate().run);
    start('r1');
    await settle();
    const after = gate();
    await crash(after.run);
    const again = start('r1', 1, { replyTo: '__rpc__new@/sentinel/client' });
    await settle();
    after.ends[0]!.resolve('paid');
    expect((await again.done).result).toBe('paid');
    expect([after.runs.length, link.sent]).toEqual([1, []]);
  });

  test('in its third run a request is dead, and a request that never ran is not', async () => {
    await serve(gate().run, { maxConcurrent: 1 });
    start('r1');
    start('waiting');
    await settle();
    const gates = [gate(), gate(), gate()];
    for (const { run } of gates) await crash(run, { maxConcurrent: 1 });
    expect(gates.map(({ runs }) => runs.map(({ delivery }) => delivery))).toEqual([
      [{ id: 'r1', attempt: 2 }],
      [{ id: 'r1', attempt: 3 }],
      [{ id: 'waiting', attempt: 1 }],
    ]);
    expect(await call('r1')).toMatchObject({
      error: { data: { code: 'REQUEST_DEAD' }, message: expect.stringContaining('3 crashes') },
    });
  });

  test('a request whose operation is gone is dead, and its parameters are kept', async () => {
    await serve(gate().run);
    start('r1');
    await settle();
    await crash(({ n }) => n, { operations: { other: operation({ durable: true, run: () => 1 }) } });
    await clock.run(10_000);
    expect(await stored('r1')).toMatchObject({ state: 'dead', params: { text: '{"n":1}' } });
  });

  test('requests of another process are taken over when it ends, and not before', async () => {
    await serve(gate().run);
    start('r1');
    await settle();
    const mine = gate();
    const second = new MemoryStore({ clock, sharedWith: store });
    link = new FakeLink();
    await serve(mine.run, { store: second });
    expect(await call('r1')).toMatchObject({ isRefused: true, error: { data: { code: 'NODE_BUSY' } } });
    await clock.run(5_000);
    expect(mine.runs).toHaveLength(0);
    await store.close();
    await clock.run(5_000);
    expect(mine.runs).toMatchObject([{ delivery: { id: 'r1', attempt: 2 } }]);
  });
});

describe('a stop', () => {
  test('leaves waiting and interrupted requests to the next process, and counts no run', async () => {
    const { run, runs } = gate();
    const serving = await serve(run, { maxConcurrent: 1 });
    const answers = [call('r1'), call('r2')];
    await settle();
    const drained = serving.drain(1_000);
    await settle();
    await clock.run(1_000);
    await drained;
    for (const answer of answers) expect((await answer).error).toMatchObject({ data: { code: 'NODE_GONE' } });
    expect(runs).toHaveLength(1);
    expect(runs[0]!.signal.aborted).toBe(true);
    expect(await store.listRequests({ state: 'open' })).toMatchObject([{ attempt: 0 }, { attempt: 0 }]);
    const after = gate();
    await crash(after.run);
    expect(after.runs.map(({ delivery }) => delivery?.attempt)).toEqual([1, 1]);
  });

  test('waits for a run that ends in time', async () => {
    const { run, ends } = gate();
    const serving = await serve(run);
    const answer = call('r1');
    await settle();
    const drained = serving.drain(1_000);
    ends[0]!.resolve('paid');
    await drained;
    expect((await answer).result).toBe('paid');
  });
});

describe('a cancellation', () => {
  test('by the last caller ends the request with the outcome CALL_CANCELLED', async () => {
    const { run, runs, ends } = gate();
    await serve(run);
    const [first, second] = [start('r1'), start('r1')];
    await settle();
    first.cancel('aborted');
    await settle();
    expect(runs[0]!.signal.aborted).toBe(false);
    second.cancel('aborted');
    await settle();
    expect(runs[0]!.signal.aborted).toBe(true);
    ends[0]!.resolve('late');
    await settle();
    expect(await stored('r1')).toMatchObject({ state: 'cancelled' });
    expect((await call('r1')).error).toMatchObject({ data: { code: 'CALL_CANCELLED' } });
    expect(runs).toHaveLength(1);
  });

  test('of a waiting request prevents its run', async () => {
    const { run, runs, ends } = gate();
    await serve(run, { maxConcurrent: 1 });
    void call('r1');
    const waiting = start('r2');
    await settle();
    waiting.cancel('aborted');
    await settle();
    ends[0]!.resolve(1);
    await settle();
    expect(runs).toHaveLength(1);
    expect(await stored('r2')).toMatchObject({ state: 'cancelled', attempt: 0 });
  });

  test('does not follow from a lost connection', async () => {
    const { run, runs, ends } = gate();
    await serve(run);
    start('r1').cancel('caller-gone');
    await settle();
    expect(runs[0]!.signal.aborted).toBe(false);
    ends[0]!.resolve('paid');
    await settle();
    expect((await call('r1')).result).toBe('paid');
  });
});

describe('a deadline', () => {
  test('ends a request that runs or waits', async () => {
    const { run, runs } = gate();
    await serve(run, { maxConcurrent: 1 });
    const meta = { 'timeout-ms': 500 };
    const answers = [call('r1', 1, { meta }), call('r2', 1, { meta })];
    await settle();
    await clock.run(500);
    for (const answer of answers)
      expect((await answer).error).toMatchObject({ data: { code: 'CALL_TIMEOUT' } });
    expect(runs).toHaveLength(1);
    expect(await store.listRequests({ state: 'failed' })).toHaveLength(2);
  });

  test('that passed while no process ran ends the request without a run', async () => {
    await serve(gate().run);
    start('r1', 1, { meta: { 'timeout-ms': 500 } });
    await settle();
    const first = store;
    await first.close();
    clock.advance(600);
    const after = gate();
    await crash(after.run);
    await clock.run(1);
    expect(after.runs).toHaveLength(0);
    expect(await stored('r1')).toMatchObject({ state: 'failed' });
  });
});

describe('the queue', () => {
  test('runs requests with one key in order, and at most maxConcurrent at once', async () => {
    const { run, runs, ends } = gate();
    const pay = operation({
      params: z.object({ n: z.number() }),
      durable: true,
      key: ({ n }) => (n < 10 ? 'small' : undefined),
      run,
    });
    await serve(run, { operations: { pay }, maxConcurrent: 2 });
    for (const [i, n] of [1, 2, 11, 12].entries()) start(`r${i}`, n);
    await settle();
    expect(runs.map(({ n }) => n)).toEqual([1, 11]);
    ends[1]!.resolve(0);
    await settle();
    expect(runs.map(({ n }) => n)).toEqual([1, 11, 12]);
    ends[0]!.resolve(0);
    await settle();
    expect(runs.map(({ n }) => n)).toEqual([1, 11, 12, 2]);
  });

  test('refuses requests at its limit with NODE_BUSY', async () => {
    await serve(gate().run, { maxConcurrent: 1, maxWaiting: 1 });
    start('r1');
    start('r2');
    expect(await call('r3')).toMatchObject({ isRefused: true, error: { data: { code: 'NODE_BUSY' } } });
  });
});

test('parameters and outcomes are encrypted with the key of the state', async () => {
  const keys = new StateKeys([randomBytes(32)]);
  const { run, ends } = gate();
  await serve(run, {}, { stateKeys: keys });
  const answer = call('r1', 4_711);
  await settle();
  const open = await stored('r1');
  ends[0]!.resolve('the outcome');
  expect((await answer).result).toBe('the outcome');
  expect((await call('r1', 4_711)).result).toBe('the outcome');
  const text = JSON.stringify([open, await stored('r1')]);
  expect(text).not.toContain('4711');
  expect(text).not.toContain('the outcome');
});

test('a durable operation cannot be a stream or immediate', () => {
  const stream = {
    durable: true,
    run: async function* () {
      yield 1;
    },
  };
  expect(() => operation(stream)).toThrow(/cannot be a stream/);
  expect(() => operation({ durable: true, immediate: true, run: () => 1 })).toThrow(/cannot be immediate/);
});

describe('durable messages', () => {
  const header = { id: 'm1', replyTo: REPLY_TO, corrId: 'c1', rtype: 3 };
  type OnMessage = NonNullable<AgentOptions['onMessage']>;
  const listen = (onMessage: OnMessage) => serve(() => 1, { durableMessages: true, onMessage });

  test('are stored before they are acknowledged, and handled once for each sender', async () => {
    const seen: unknown[] = [];
    await listen(async (payload, envelope, { delivery }) => {
      seen.push([payload, envelope.id, delivery]);
      return { got: payload };
    });
    const acknowledged: unknown[] = [];
    const deliver = (more = {}) =>
      link.deliver(ADDRESS, 'hello', { ...header, ...more }, () => acknowledged.push(seen.length));
    expect(await deliver()).toEqual({ got: 'hello' });
    expect(await deliver()).toEqual({ got: 'hello' });
    await deliver({ replyTo: '__rpc__other@/sentinel/other' });
    expect(seen).toEqual([
      ['hello', 'm1', { id: `${REPLY_TO} m1`, attempt: 1 }],
      ['hello', 'm1', { id: '__rpc__other@/sentinel/other m1', attempt: 1 }],
    ]);
    expect(acknowledged).toEqual([0, 1, 1]);
  });

  test('run again after a crash, and the answer is sent to the sender', async () => {
    const never = new Promise(() => undefined);
    await listen(() => never);
    const lost = link.deliver(ADDRESS, { n: 1 }, header) as Promise<unknown>;
    lost.catch(() => undefined);
    await settle();
    await crash(() => 1, {
      durableMessages: true,
      onMessage: (payload, envelope, { delivery }) => [payload, envelope.corrId, delivery?.attempt],
    });
    expect(link.sent).toEqual([{ to: REPLY_TO, corrId: 'c1', payload: [{ n: 1 }, 'c1', 2] }]);
  });

  test('whose handler fails are dead after three runs', async () => {
    await listen(() => {
      throw new Error('broken');
    });
    const answer = link.deliver(ADDRESS, 'hello', header) as Promise<unknown>;
    const failed = expect(answer).rejects.toMatchObject({ code: 'REQUEST_DEAD' });
    await settle();
    await clock.run(1_000);
    await clock.run(5_000);
    await failed;
  });
});
