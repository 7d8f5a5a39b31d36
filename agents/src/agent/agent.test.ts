import { FabricError, type Logger, silentLog } from '@fame-fabric/shared';
import { CaptureLog, settle } from '@fame-fabric/shared/testing';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { z } from 'zod';
import { FakeLink } from '../testing/fake-link.ts';
import { defineAgent } from './agent.ts';
import type { AgentOptions, Serving } from './agent-types.ts';
import { operation } from './operation.ts';

const ADDRESS = 'test@fame.fabric';

let link: FakeLink;
let serving: Serving | undefined;
beforeEach(() => {
  link = new FakeLink();
});
afterEach(() => serving?.close());

async function serve(options: Omit<AgentOptions, 'address'>, log: Logger = silentLog): Promise<Serving> {
  serving = await defineAgent({ address: ADDRESS, ...options }).serve(link, { log });
  return serving;
}
const start = (method: string, params?: unknown, options = {}) =>
  link.start(ADDRESS, method, params, options);
const call = (method: string, params?: unknown, options = {}) => start(method, params, options).done;

/** A log that reads the code of each error, as a log that serializes errors does. */
function codeReadingLog(): Logger {
  const write = (_message: string, fields: Record<string, unknown> = {}): void =>
    void String((fields.error as { code?: unknown } | null | undefined)?.code);
  const log: Logger = { debug: write, info: write, warn: write, error: write, with: () => log };
  return log;
}

it('an operation learns its caller', async () => {
  await serve({ operations: { who: operation({ run: (_, context) => context.caller }) } });
  expect((await call('who', {}, { principal: 'local' })).result).toEqual({
    principal: 'local',
    roles: [],
    rights: { conversations: 'any' },
    path: '/sentinel/client',
  });
});

describe('calls', () => {
  const add = operation({
    params: z.object({ a: z.number(), b: z.number() }),
    run: ({ a, b }) => a + b,
  });

  it('replies with the result', async () => {
    await serve({ operations: { add } });
    expect(await call('add', { args: [1, 2] })).toMatchObject({ result: 3 });
  });

  it('replies null for undefined', async () => {
    await serve({ operations: { nothing: operation({ run() {} }) } });
    expect((await call('nothing')).result).toBeNull();
  });

  it('names the wrong parameter', async () => {
    await serve({ operations: { add } });
    const { error } = await call('add', { a: 1, b: 'x' });
    expect(error).toMatchObject({ code: -32602, data: { code: 'PARAMS_INVALID' } });
    expect(error?.message).toMatch(/^b: /);
  });

  it('suggests the closest operation for an unknown name', async () => {
    await serve({ operations: { run_turn: add } });
    expect((await call('runTurn')).error).toMatchObject({ code: -32601, data: { code: 'METHOD_NOT_FOUND' } });
    expect((await call('run_tunr')).error?.message).toBe(
      'There is no operation "run_tunr"; did you mean run_turn?',
    );
    expect((await call('zzzzzzzz')).error?.message).toBe(
      'There is no operation "zzzzzzzz". There are: run_turn',
    );
    expect((await call('constructor')).error?.code).toBe(-32601);
  });

  it('passes the data of the call to the operation', async () => {
    const seen = vi.fn();
    await serve({ operations: { look: operation({ run: (_, context) => seen(context) }) } });
    await call('look', undefined, { id: 'call-1', meta: { tenant: 'x' } });
    expect(seen.mock.calls[0]![0]).toMatchObject({
      callId: 'call-1',
      traceId: 'trace',
      meta: { tenant: 'x' },
      address: ADDRESS,
      isStream: false,
      replyTo: '__rpc__test@/sentinel/client',
    });
  });

  it('sends a FabricError with its code and details', async () => {
    const run = (): never => {
      throw new FabricError('CONVERSATION_UNKNOWN', 'No such conversation', { details: { id: 'c1' } });
    };
    await serve({ operations: { fails: operation({ run }) } });
    expect((await call('fails')).error).toEqual({
      code: -32000,
      message: 'No such conversation',
      data: { code: 'CONVERSATION_UNKNOWN', retryable: false, details: { id: 'c1' } },
    });
  });

  it('logs the text of any other error, and sends only its log id to the caller', async () => {
    const log = new CaptureLog();
    const fault = new Error('password=hunter2');
    await serve({ operations: { fails: operation({ run: () => Promise.reject(fault) }) } }, log);
    const { error } = await call('fails');
    expect(error).toMatchObject({ code: -32603, data: { code: 'INTERNAL' } });
    expect(JSON.stringify(error)).not.toContain('hunter2');
    const line = log.lines.find(({ message }) => message === 'operation failed');
    expect(line?.fields).toMatchObject({ method: 'fails', error: fault });
    expect(error?.message).toContain(line?.fields.logId as string);
  });

  it('replies with an error when the result cannot be sent', async () => {
    const cyclic: Record<string, unknown> = {};
    cyclic.self = cyclic;
    await serve({
      operations: {
        big: operation({ run: () => 'x'.repeat(300_000) }),
        cyclic: operation({ run: () => cyclic }),
        bigint: operation({ run: () => 1n }),
      },
    });
    expect((await call('big')).error?.data).toMatchObject({ code: 'MESSAGE_TOO_LARGE' });
    expect((await call('cyclic')).error?.code).toBe(-32603);
    expect((await call('bigint')).error?.code).toBe(-32603);
  });
});

describe('streams', () => {
  const count = (log: string[] = []) =>
    operation({
      params: z.object({ to: z.number().default(Number.POSITIVE_INFINITY) }),
      async *run({ to }, { signal }) {
        try {
          for (let i = 0; i < to && !signal.aborted; i++) {
            yield i;
            await settle();
          }
        } finally {
          log.push('closed');
        }
      },
    });

  it('sends the items and the end', async () => {
    await serve({ operations: { count: count() } });
    expect(await call('count', { to: 4 }, { isStream: true })).toEqual({ items: [0, 1, 2, 3], ended: true });
  });

  it('replies with the first item to a caller that requests one result, and closes the generator', async () => {
    const log: string[] = [];
    await serve({ operations: { count: count(log) } });
    expect((await call('count')).result).toBe(0);
    await vi.waitFor(() => expect(log).toEqual(['closed']));
    expect((await call('count', { to: 0 })).result).toBeNull();
  });

  it('sends one item and the end to a caller that requests a stream of a plain operation', async () => {
    await serve({ operations: { one: operation({ run: () => 'x' }), none: operation({ run: () => null }) } });
    expect(await call('one', undefined, { isStream: true })).toEqual({ items: ['x'], ended: true });
    expect(await call('none', undefined, { isStream: true })).toEqual({ items: [], ended: true });
  });

  it('sends the error of a stream after its items', async () => {
    const breaks = operation({
      async *run() {
        yield 1;
        throw new FabricError('MODEL_UNAVAILABLE', 'gone');
      },
    });
    await serve({ operations: { breaks } });
    const outcome = await call('breaks', undefined, { isStream: true });
    expect(outcome).toMatchObject({ items: [1], error: { message: 'gone' } });
  });

  it('ends a stream with an error instead of an item that is null', async () => {
    const log = new CaptureLog();
    const holes = operation({
      async *run() {
        yield 1;
        yield null;
        yield 3;
      },
    });
    await serve({ operations: { holes } }, log);
    expect(await call('holes', undefined, { isStream: true })).toMatchObject({
      items: [1],
      error: { code: -32603 },
    });
    expect(String(log.lines[0]?.fields.error)).toContain('yielded null');
  });

  it('waits for the reader', async () => {
    let made = 0;
    const gate = Promise.withResolvers<void>();
    const eager = operation({
      async *run() {
        for (;;) yield made++;
      },
    });
    await serve({ operations: { eager } });
    const stream = start('eager', undefined, { isStream: true, pace: () => gate.promise });
    await settle();
    expect(made).toBe(1);
    stream.cancel();
    gate.resolve();
    await stream.done;
  });

  it('closes the generator when the caller cancels', async () => {
    const log: string[] = [];
    await serve({ operations: { count: count(log) }, maxConcurrent: 1 });
    const stream = start('count', undefined, { isStream: true });
    await settle();
    stream.cancel();
    expect((await stream.done).error?.data).toMatchObject({ code: 'CALL_CANCELLED' });
    await vi.waitFor(() => expect(log).toEqual(['closed']));
    expect((await call('count', { to: 1 })).result).toBe(0);
  });
});

describe('concurrency', () => {
  const waiting = () => {
    const ends = new Map<string, () => void>();
    const order: string[] = [];
    const wait = operation({
      params: z.object({ name: z.string(), key: z.string().optional() }),
      key: ({ key }) => key,
      run: ({ name }) => {
        order.push(name);
        return new Promise<void>((resolve) => ends.set(name, resolve));
      },
    });
    return { wait, ends, order };
  };

  it('runs 64 at once and the 65th after one of them', async () => {
    const { wait, ends, order } = waiting();
    await serve({ operations: { wait } });
    for (let i = 0; i < 65; i++) start('wait', { name: `${i}` });
    await settle();
    expect(order.length).toBe(64);
    ends.get('7')!();
    await vi.waitFor(() => expect(order.at(-1)).toBe('64'));
  });

  it('keeps calls of one key in order and runs others beside them', async () => {
    const { wait, ends, order } = waiting();
    await serve({ operations: { wait } });
    for (const name of ['a1', 'a2', 'a3']) start('wait', { name, key: 'a' });
    start('wait', { name: 'b1', key: 'b' });
    await settle();
    expect(order).toEqual(['a1', 'b1']);
    ends.get('a1')!();
    await vi.waitFor(() => expect(order).toEqual(['a1', 'b1', 'a2']));
    ends.get('a2')!();
    await vi.waitFor(() => expect(order).toEqual(['a1', 'b1', 'a2', 'a3']));
  });

  it('runs an immediate operation although the queue is full', async () => {
    const { wait } = waiting();
    const stop = operation({ immediate: true, run: () => 'stopped' });
    await serve({ operations: { wait, stop }, maxConcurrent: 1 });
    start('wait', { name: '1' });
    start('wait', { name: '2' });
    expect((await call('stop')).result).toBe('stopped');
  });

  it('refuses calls beyond the queue limit with NODE_BUSY', async () => {
    const { wait } = waiting();
    await serve({ operations: { wait }, maxConcurrent: 1, maxWaiting: 1 });
    start('wait', { name: '1' });
    start('wait', { name: '2' });
    expect(await call('wait', { name: '3' })).toMatchObject({
      error: { data: { code: 'NODE_BUSY', retryable: true } },
      isRefused: true,
    });
  });

  it('HD10: does not present an operation that ran as refused, even if it fails with NODE_BUSY', async () => {
    const busy = operation({
      run: () => {
        throw new FabricError('NODE_BUSY', 'The agent that it called is busy');
      },
    });
    await serve({ operations: { busy } });
    const outcome = await call('busy');
    expect(outcome.error?.data).toMatchObject({ code: 'NODE_BUSY' });
    expect(outcome.isRefused).toBeUndefined();
  });

  it('does not run a call that was cancelled while it waited', async () => {
    const { wait, ends, order } = waiting();
    await serve({ operations: { wait }, maxConcurrent: 1 });
    start('wait', { name: '1' });
    const second = start('wait', { name: '2' });
    start('wait', { name: '3' });
    second.cancel();
    expect((await second.done).error?.data).toMatchObject({ code: 'CALL_CANCELLED' });
    ends.get('1')!();
    await vi.waitFor(() => expect(order).toEqual(['1', '3']));
  });

  it('aborts the signal with the reason of the cancel', async () => {
    const seen = Promise.withResolvers<unknown>();
    const wait = operation({
      run: (_, { signal }) =>
        new Promise((_resolve, reject) => {
          signal.addEventListener('abort', () => {
            seen.resolve(signal.reason);
            reject(signal.reason);
          });
        }),
    });
    await serve({ operations: { wait } });
    start('wait').cancel('caller-gone');
    expect(await seen.promise).toBe('caller-gone');
  });
});

describe('HD9: immediate calls', () => {
  const from = (caller: string, mailbox = '__rpc__1') => ({ replyTo: `${mailbox}@/sentinel/${caller}` });

  /** A short operation whose calls run until the test ends them, and a long one. */
  const held = () => {
    const started: string[] = [];
    const ends: (() => void)[] = [];
    const params = z.object({ name: z.string() });
    const hold = ({ name }: { name: string }): Promise<string> => {
      started.push(name);
      return new Promise((resolve) => ends.push(() => resolve(name)));
    };
    const follow = operation({
      immediate: true,
      params,
      async *run({ name }) {
        yield await hold({ name });
      },
    });
    const cancel = operation({ immediate: true, mayTakeLong: true, params, run: hold });
    return { read: operation({ immediate: true, params, run: hold }), follow, cancel, started, ends };
  };

  it('run 16 at once for one caller by default, and the others in order', async () => {
    const { read, started, ends } = held();
    await serve({ operations: { read } });
    const names = Array.from({ length: 1_000 }, (_, i) => `${i}`);
    // A mailbox for each call, as links of other implementations make them.
    const calls = names.map((name) => call('read', { name }, from('busy', `__rpc__${name}`)));
    await settle();
    expect(started).toEqual(names.slice(0, 16));
    let most = 0;
    while (ends.length > 0) {
      most = Math.max(most, ends.length);
      ends.shift()!();
      await settle();
    }
    expect(most).toBe(16);
    expect(started).toEqual(names);
    expect((await Promise.all(calls)).map(({ result }) => result)).toEqual(names);
  });

  it('run 64 at once for all callers by default', async () => {
    const { read, started } = held();
    await serve({ operations: { read } });
    for (let i = 0; i < 100; i++) start('read', { name: `${i}` }, from(`caller-${i % 10}`));
    await settle();
    expect(started.length).toBe(64);
  });

  it('of one busy caller do not block those of another', async () => {
    const { read, started, ends } = held();
    const immediateLimits = { maxRunning: 2, maxRunningPerCaller: 2 };
    await serve({ operations: { read }, immediateLimits });
    for (let i = 0; i < 50; i++) start('read', { name: `busy ${i}` }, from('busy'));
    start('read', { name: 'other' }, from('other'));
    ends[0]!();
    ends[1]!();
    await settle();
    expect(started.slice(0, 4).toSorted()).toEqual(['busy 0', 'busy 1', 'busy 2', 'other']);
  });

  it('are refused with NODE_BUSY when the queue of their caller or of the agent is full', async () => {
    const { read, started } = held();
    const immediateLimits = { maxRunningPerCaller: 1, maxWaitingPerCaller: 2, maxWaiting: 3 };
    await serve({ operations: { read }, immediateLimits });
    const busy = { code: 'NODE_BUSY', retryable: true };
    for (let i = 0; i < 3; i++) start('read', { name: `${i}` }, from('a'));
    expect((await call('read', { name: '3' }, from('a'))).error?.data).toMatchObject(busy);
    for (let i = 0; i < 2; i++) start('read', { name: `${i}` }, from('b'));
    expect((await call('read', { name: '2' }, from('b'))).error?.data).toMatchObject(busy);
    start('read', { name: 'c' }, from('c'));
    await settle();
    expect(started).toEqual(['0', '0', 'c']);
  });

  it('2,500 open streams of one caller block neither its reads nor its cancellations', async () => {
    const { read, follow, cancel, started, ends } = held();
    await serve({ operations: { read, follow, cancel } });
    const streams = Array.from({ length: 2_500 }, (_, i) =>
      call('follow', { name: `${i}` }, { ...from('a'), isStream: true }),
    );
    await settle();
    expect(started.length).toBe(2_500);
    const short = [call('read', { name: 'r' }, from('a')), call('cancel', { name: 'c' }, from('a'))];
    await settle();
    expect(started.slice(2_500)).toEqual(['r', 'c']);
    for (const end of ends) end();
    expect((await Promise.all(short)).map(({ result }) => result)).toEqual(['r', 'c']);
    expect((await Promise.all(streams)).every(({ items }) => items.length === 1)).toBe(true);
  });

  it('that may take long are refused at once beyond their limit, and release their slots', async () => {
    const { follow, cancel, started, ends } = held();
    await serve({ operations: { follow, cancel }, immediateLimits: { maxOpen: 3, maxOpenPerCaller: 2 } });
    const open = (name: string, caller: string) =>
      start('follow', { name }, { ...from(caller), isStream: true });
    const first = open('0', 'a');
    open('1', 'a');
    expect((await open('2', 'a').done).error?.data).toMatchObject({ code: 'NODE_BUSY', retryable: true });
    open('3', 'b');
    expect((await open('4', 'b').done).error?.message).toMatch(/too many open calls of follow/);
    start('cancel', { name: 'c' }, from('a'));
    await settle();
    expect(started).toEqual(['0', '1', '3', 'c']);
    ends[0]!();
    await first.done;
    await settle();
    open('5', 'b');
    await settle();
    expect(started.at(-1)).toBe('5');
  });

  it('leave the queue when they are cancelled, and when the agent closes', async () => {
    const { read, started } = held();
    const agent = await serve({ operations: { read }, immediateLimits: { maxRunning: 1 } });
    start('read', { name: '0' });
    const second = start('read', { name: '1' });
    const third = start('read', { name: '2' });
    second.cancel();
    expect((await second.done).error?.data).toMatchObject({ code: 'CALL_CANCELLED' });
    await agent.close();
    expect((await third.done).error?.data).toMatchObject({ code: 'NODE_GONE' });
    expect(started).toEqual(['0']);
  });

  it('are answered before a drain ends, queued ones too', async () => {
    const { read, ends } = held();
    const agent = await serve({ operations: { read }, immediateLimits: { maxRunning: 1 } });
    const calls = ['0', '1'].map((name) => call('read', { name }));
    const drained = agent.drain(10_000);
    ends[0]!();
    await settle();
    ends[1]!();
    await drained;
    expect((await Promise.all(calls)).map(({ result }) => result)).toEqual(['0', '1']);
  });
});

describe('messages', () => {
  it('reach onMessage, whose result is sent back', async () => {
    await serve({ onMessage: (payload) => ({ got: payload }) });
    expect(await link.deliver(ADDRESS, 'hi')).toEqual({ got: 'hi' });
  });

  it('whose handler throws do not stop the agent', async () => {
    const log = new CaptureLog();
    const onMessage = (): never => {
      throw new Error('bad message');
    };
    await serve({ onMessage, operations: { ok: operation({ run: () => true }) } }, log);
    expect(await link.deliver(ADDRESS, {})).toBeUndefined();
    expect(log.lines[0]?.message).toBe('message handler failed');
    expect((await call('ok')).result).toBe(true);
  });
});

// P10. Messages that a stranger may send. After each of them the agent serves as before.
describe('28 hostile messages', () => {
  const deep = (levels: number): unknown => JSON.parse('['.repeat(levels) + ']'.repeat(levels));
  const rpc: [string, string, unknown][] = [
    ['an unknown method', 'no_such', {}],
    ['an empty method', '', {}],
    ['a method of 100,000 characters', 'm'.repeat(100_000), {}],
    ['__proto__ as method', '__proto__', {}],
    ['constructor as method', 'constructor', {}],
    ['toString as method', 'toString', {}],
    ['a method with control characters', 'add\u0000\r\n\u001b[2J', {}],
    ['params that are a number', 'add', 5],
    ['params that are a string', 'add', 'rm -rf'],
    ['params that are true', 'add', true],
    ['params that are null', 'add', null],
    ['args that are not a list', 'add', { args: 7 }],
    ['kwargs that are a list', 'add', { kwargs: [1] }],
    ['10,000 arguments', 'add', { args: Array.from({ length: 10_000 }, () => 1) }],
    ['10,000 names', 'add', Object.fromEntries(Array.from({ length: 10_000 }, (_, i) => [`k${i}`, i]))],
    ['params 64 deep', 'add', { args: [deep(60)] }],
    ['__proto__ in params', 'add', JSON.parse('{"__proto__":{"a":1,"b":2}}')],
    ['a call that throws', 'throws', {}],
    ['a call that throws null', 'throwsNull', {}],
    ['a call that throws an error with hostile getters', 'throwsHostile', {}],
    ['a task without an id', 'tasks/send', {}],
    ['a task whose parts are null', 'tasks/send', { id: 'x', message: { role: 'user', parts: null } }],
    ['a task whose code throws', 'tasks/send', { id: 't', message: { role: 'user', parts: [] } }],
    [
      'a push notification to a reply mailbox',
      'tasks/pushNotification/set',
      { id: 't', pushNotificationConfig: { url: '__rpc__x@/a/b' } },
    ],
    ['an unsubscribe of nothing', 'tasks/sendUnsubscribe', { id: 'no' }],
  ];
  const plain: [string, unknown][] = [
    ['null', null],
    ['a string that makes the handler throw', 'boom'],
    ['a rejected handler', 'reject'],
  ];
  const operations = {
    add: operation({ params: z.object({ a: z.number(), b: z.number() }), run: ({ a, b }) => a + b }),
    throws: operation({
      run() {
        throw new Error('boom');
      },
    }),
    throwsNull: operation({ run: () => Promise.reject(null) }),
    throwsHostile: operation({
      run() {
        const error = new Error('x');
        Object.defineProperty(error, 'code', {
          get() {
            throw new Error('gotcha');
          },
        });
        throw error;
      },
    }),
  };
  const declaration = {
    operations,
    tasks: {
      start() {
        throw new Error('boom');
      },
    },
    onMessage(payload: unknown) {
      if (payload === 'boom') throw new Error('boom');
      if (payload === 'reject') return Promise.reject(new Error('boom'));
      return undefined;
    },
  };
  const stillServes = async (): Promise<void> => {
    expect((await call('add', { a: 20, b: 22 })).result).toBe(42);
    expect(link.bound.has(ADDRESS)).toBe(true);
  };

  it('are 28', () => expect(rpc.length + plain.length).toBe(28));

  it.each(rpc)(
    '%s, as call and as stream, is answered, and the agent continues',
    async (_, method, params) => {
      await serve(declaration, codeReadingLog());
      for (const isStream of [false, true]) {
        const outcome = await call(method, params, { isStream });
        expect(outcome.ended).toBe(true);
        expect(outcome.error?.message.length ?? 0).toBeLessThan(600);
        await stillServes();
      }
    },
  );

  it.each(plain)('after %s as a plain message the agent continues', async (_, payload) => {
    await serve(declaration);
    await link.deliver(ADDRESS, payload);
    await stillServes();
  });
});

describe('listeners', () => {
  it('on the signals of calls are removed when the calls end', async () => {
    const look = operation({ run: async (_, { signal }) => void signal.aborted });
    const items = operation({
      async *run() {
        yield 1;
      },
    });
    await serve({ operations: { look, items }, maxConcurrent: 1 });
    const added = vi.spyOn(AbortSignal.prototype, 'addEventListener');
    const removed = vi.spyOn(AbortSignal.prototype, 'removeEventListener');
    const methods = Array.from({ length: 100 }, (_, i) => (i % 2 ? 'look' : 'items'));
    await Promise.all(methods.map((method) => call(method, {}, { isStream: method === 'items' })));
    await settle();
    expect(added.mock.calls.length).toBeGreaterThan(100);
    const listeners = new Set(added.mock.calls.map(([, listener]) => listener));
    for (const [, listener] of removed.mock.calls) listeners.delete(listener);
    expect(listeners.size).toBe(0);
    added.mockRestore();
    removed.mockRestore();
  });
});

describe('starting and stopping', () => {
  it('binds the address with its capabilities, after onStart', async () => {
    const steps: string[] = [];
    await serve({
      capabilities: ['fame.capability.math'],
      onStart: ({ address }) => void steps.push(`start ${address}, bound: ${link.bound.has(ADDRESS)}`),
      onStop: () => void steps.push('stop'),
    });
    expect(link.bound.get(ADDRESS)?.capabilities).toEqual(['fame.capability.math']);
    await serving?.close();
    await serving?.close();
    expect(steps).toEqual([`start ${ADDRESS}, bound: false`, 'stop']);
    expect(link.bound.size).toBe(0);
  });

  it('closes what onStart opened when the address cannot be bound', async () => {
    const onStop = vi.fn();
    const first = await serve({});
    await expect(defineAgent({ address: ADDRESS, onStop }).serve(link)).rejects.toMatchObject({
      code: 'ADDRESS_IN_USE',
    });
    expect(onStop).toHaveBeenCalledOnce();
    serving = first;
  });

  it('drain releases the address, refuses calls in flight and lets running ones finish', async () => {
    const gate = Promise.withResolvers<string>();
    const stopped = vi.fn();
    await serve({ operations: { wait: operation({ run: () => gate.promise }) }, onStop: stopped });
    const running = start('wait');
    const bound = link.bound.get(ADDRESS)!;
    const drained = serving!.drain(10_000);
    expect(link.bound.has(ADDRESS)).toBe(false);
    link.bound.set(ADDRESS, bound);
    expect((await call('wait')).error?.data).toMatchObject({ code: 'LINK_DRAINING', retryable: true });
    expect(stopped).not.toHaveBeenCalled();
    gate.resolve('done');
    expect((await running.done).result).toBe('done');
    await drained;
    expect(stopped).toHaveBeenCalledOnce();
  });

  it('close ends running and waiting calls with NODE_GONE and aborts their signals', async () => {
    const aborted = vi.fn();
    const wait = operation({
      run: (_, { signal }) => new Promise(() => signal.addEventListener('abort', aborted)),
    });
    await serve({ operations: { wait }, maxConcurrent: 1 });
    const running = start('wait');
    const waiting = start('wait');
    await serving!.close();
    expect((await running.done).error?.data).toMatchObject({ code: 'NODE_GONE' });
    expect((await waiting.done).error?.data).toMatchObject({ code: 'NODE_GONE' });
    expect(aborted).toHaveBeenCalledOnce();
  });

  it('refuses an address that does not follow the grammar', () => {
    expect(() => defineAgent({ address: 'unknown' })).toThrow(
      expect.objectContaining({ code: 'ADDRESS_INVALID' }),
    );
  });
});

describe('the card', () => {
  it('is derived from the declaration', async () => {
    await serve({
      description: 'Adds.',
      version: '2.1.0',
      operations: {
        add: operation({ description: 'Adds two numbers.', run: () => 0 }),
        count: operation({ async *run() {} }),
      },
      card: { provider: { organization: 'Example' } },
    });
    const { result } = await call('agent.get_card', {});
    expect(result).toEqual({
      name: 'test',
      description: 'Adds.',
      url: ADDRESS,
      version: '2.1.0',
      provider: { organization: 'Example' },
      capabilities: { streaming: true, pushNotifications: false, stateTransitionHistory: false },
      defaultInputModes: ['text'],
      defaultOutputModes: ['text'],
      skills: [
        { id: 'add', name: 'add', description: 'Adds two numbers.' },
        { id: 'count', name: 'count', tags: ['stream'] },
      ],
    });
  });
});
