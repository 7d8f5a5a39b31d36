import { type Clock, FabricError, type Task, type TaskEvent, type TaskSendParams } from '@fame-fabric/shared';
import { settle } from '@fame-fabric/shared/testing';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import type { SafeFetch } from '../../net/safe-fetch.ts';
import { type FakeCallOptions, FakeLink } from '../../testing/fake-link.ts';
import { defineAgent } from '../agent.ts';
import type { Serving } from '../agent-types.ts';
import type { TaskHandle, TaskHandler } from './task-types.ts';

const ADDRESS = 'worker@fame.fabric';

let now = 0;
let wallOffset = 0;
const clock: Clock = {
  now: () => now + wallOffset,
  monotonic: () => now,
  after: () => ({ stop() {} }),
  every: () => ({ stop() {} }),
};

let link: FakeLink;
let serving: Serving;
/** The task that was started last. */
let task: TaskHandle;
let finish: (result?: unknown) => void;
let fail: (error: unknown) => void;
const fetched = vi.fn();

const held: TaskHandler = {
  start(_, handle) {
    task = handle;
    return new Promise((resolve, reject) => {
      finish = resolve;
      fail = reject;
    });
  },
};

async function serve(handler: TaskHandler = held): Promise<void> {
  const safeFetch: SafeFetch = Object.assign(
    async (url: string, request: unknown) => {
      await fetched(url, request);
      return { status: 200, headers: {}, body: '' };
    },
    {
      check(url: string) {
        if (url.includes('forbidden')) throw new FabricError('OUTBOUND_FORBIDDEN', 'The URL is forbidden');
      },
    },
  );
  serving = await defineAgent({ address: ADDRESS, tasks: handler }).serve(link, { clock, safeFetch });
}

beforeEach(async () => {
  now = Date.parse('2030-01-01T00:00:00.000Z');
  wallOffset = 0;
  fetched.mockClear();
  link = new FakeLink();
  await serve();
});
afterEach(() => serving.close());

const message = { role: 'agent', parts: [{ type: 'text', text: 'go' }] };
const rpc = (method: string, params: unknown, options?: FakeCallOptions) =>
  link.start(ADDRESS, method, params, options).done;
const send = (id: string, more: object = {}) => rpc('tasks/send', { id, message, ...more });
const get = async (id: string) => (await rpc('tasks/get', { id })).result as Task;
const subscribe = (id: string, options: FakeCallOptions = {}, method = 'tasks/sendSubscribe') => {
  const events: TaskEvent[] = [];
  const stream = link.start(
    ADDRESS,
    method,
    { id, message },
    {
      isStream: true,
      onItem: (item) => void events.push(JSON.parse(JSON.stringify(item))),
      ...options,
    },
  );
  return { ...stream, events };
};
const states = (events: readonly TaskEvent[]): string[] =>
  events.map((event) => ('status' in event ? event.status.state : `#${event.artifact.index}`));

describe('tasks/send', () => {
  it('starts a task and returns it', async () => {
    const { result } = await send('t1', { sessionId: null, metadata: null, pushNotification: null });
    expect(result).toEqual({
      id: 't1',
      sessionId: 't1',
      status: { state: 'working', timestamp: '2030-01-01T00:00:00.000Z' },
      artifacts: [],
      history: [message],
    });
    finish('done');
    await settle();
    expect((await get('t1')).status).toMatchObject({
      state: 'completed',
      message: { role: 'agent', parts: [{ type: 'text', text: 'done' }] },
    });
  });

  it('converts the result into the final message', async () => {
    const results: [string, unknown, unknown][] = [
      ['data', { sum: 3 }, [{ type: 'data', data: { sum: 3 } }]],
      ['list', [1, 2], [{ type: 'data', data: { result: [1, 2] } }]],
      ['number', 7, [{ type: 'data', data: { result: 7 } }]],
      ['message', { role: 'agent', parts: [] }, []],
      ['nothing', undefined, undefined],
    ];
    for (const [id, result, parts] of results) {
      await send(id);
      finish(result);
      await settle();
      expect((await get(id)).status.message?.parts).toEqual(parts);
    }
  });

  it('refuses a second task of the same id, also after the first ended', async () => {
    await send('t1');
    expect((await send('t1')).error).toMatchObject({ code: -32602, data: { code: 'TASK_EXISTS' } });
    finish();
    await settle();
    expect((await send('t1')).error?.data).toMatchObject({ code: 'TASK_EXISTS' });
  });

  it('refuses a task that `accept` rejects, before it exists', async () => {
    await serving.close();
    await serve({
      ...held,
      async accept({ message: { parts } }: TaskSendParams) {
        if (parts.length === 0) throw new FabricError('PARAMS_INVALID', 'message.parts: nothing to do');
      },
    });
    const { error } = await rpc('tasks/send', { id: 't1', message: { role: 'user', parts: [] } });
    expect(error?.message).toBe('message.parts: nothing to do');
    expect((await rpc('tasks/get', { id: 't1' })).error?.code).toBe(-32001);
  });

  it('fails a task whose code throws, without the text of unknown errors', async () => {
    await send('t1');
    fail(new Error('secret'));
    await send('t2');
    fail(new FabricError('MODEL_AUTH', 'The key was refused'));
    await settle();
    const [first, second] = [await get('t1'), await get('t2')];
    expect(first.status.state).toBe('failed');
    expect(JSON.stringify(first)).not.toContain('secret');
    expect(second.status).toMatchObject({
      state: 'failed',
      message: { parts: [{ text: 'The key was refused' }] },
    });
  });

  it('cuts the history to historyLength', async () => {
    await send('t1');
    task.status('working', 'one');
    task.status('working', 'two');
    const historyOf = async (historyLength?: number | null) =>
      ((await rpc('tasks/get', { id: 't1', historyLength })).result as Task).history?.length;
    expect(await historyOf()).toBe(3);
    expect(await historyOf(null)).toBe(3);
    expect(await historyOf(2)).toBe(2);
    expect(await historyOf(0)).toBe(0);
  });

  it('limits the tasks that run at once', async () => {
    await serving.close();
    await serve({ ...held, maxRunning: 1 });
    await send('t1');
    expect((await send('t2')).error).toMatchObject({ code: -32029, data: { code: 'QUOTA_EXCEEDED' } });
    finish();
    await settle();
    expect((await send('t3')).result).toBeDefined();
  });
});

describe('a task that asks for input', () => {
  it('waits for the next tasks/send of its id', async () => {
    await send('t1');
    const answer = task.ask('Which one?');
    expect((await get('t1')).status).toMatchObject({ state: 'input-required' });
    const reply = { role: 'user', parts: [{ type: 'text', text: 'the red one' }] };
    const { result } = await rpc('tasks/send', { id: 't1', message: reply });
    expect(result).toMatchObject({ status: { state: 'working' } });
    expect(await answer).toEqual(reply);
    expect((await send('t1')).error?.data).toMatchObject({ code: 'TASK_EXISTS' });
  });

  it('rejects its question when it is canceled', async () => {
    await send('t1');
    const answer = task.ask('Which one?');
    await rpc('tasks/cancel', { id: 't1' });
    await expect(answer).rejects.toMatchObject({ code: 'CALL_CANCELLED' });
  });
});

describe('tasks/sendSubscribe', () => {
  it('starts the task, sends its state first, then every event, then ends', async () => {
    const { events, done } = subscribe('t1');
    await settle();
    task.progress({ step: 1 });
    task.progress('two');
    finish('ok');
    expect(await done).toMatchObject({ ended: true });
    expect(events).toMatchObject([
      { id: 't1', status: { state: 'working' }, final: false },
      { id: 't1', artifact: { index: 0, parts: [{ type: 'data', data: { step: 1 } }] } },
      { id: 't1', artifact: { index: 1, parts: [{ type: 'text', text: 'two' }] } },
      { id: 't1', status: { state: 'completed' }, final: true },
    ]);
  });

  it('sends the events that a task publishes before its first await', async () => {
    await serving.close();
    await serve({
      start(_, handle) {
        handle.progress('at once');
      },
    });
    const { events, done } = subscribe('t1');
    await done;
    expect(states(events)).toEqual(['working', '#0', 'completed']);
  });

  it('subscribes to an existing task, and sends every event to every subscriber', async () => {
    await send('t1');
    task.progress('before');
    const first = subscribe('t1');
    const second = subscribe('t1');
    const third = subscribe('t1', {}, 'tasks/resubscribe');
    await settle();
    task.progress('after');
    finish();
    for (const { events, done } of [first, second, third]) {
      await done;
      expect(states(events)).toEqual(['working', '#1', 'completed']);
    }
    expect((await get('t1')).artifacts?.length).toBe(2);
  });

  it('joins a task that is being accepted, and is refused with it', async () => {
    await serving.close();
    const gate = Promise.withResolvers<void>();
    const start = vi.fn(held.start);
    await serve({ start, accept: () => gate.promise });
    const first = subscribe('t1');
    const second = subscribe('t1');
    await settle();
    expect((await send('t1')).error?.data).toMatchObject({ code: 'TASK_EXISTS' });
    gate.resolve();
    await settle();
    finish();
    for (const { events, done } of [first, second]) {
      await done;
      expect(states(events)).toEqual(['working', 'completed']);
    }
    expect(start).toHaveBeenCalledOnce();
    await serving.close();
    await serve({ start, accept: () => Promise.reject(new FabricError('TURN_QUEUE_FULL', 'no')) });
    const refused = [subscribe('t2'), subscribe('t2')];
    for (const { done } of refused) {
      expect((await done).error?.data).toMatchObject({ code: 'TURN_QUEUE_FULL' });
    }
  });

  it('sends the final state to a late subscriber', async () => {
    await send('t1');
    finish();
    await settle();
    const { events, done } = subscribe('t1');
    await done;
    expect(events).toMatchObject([{ status: { state: 'completed' }, final: true }]);
  });

  it('sends a cancel to every subscriber at once', async () => {
    const subscriber = subscribe('t1');
    await settle();
    const { result } = await rpc('tasks/cancel', { id: 't1', metadata: null });
    expect(result).toMatchObject({ id: 't1', status: { state: 'canceled' } });
    await subscriber.done;
    expect(subscriber.events.at(-1)).toMatchObject({ status: { state: 'canceled' }, final: true });
    expect(task.signal.aborted).toBe(true);
    task.progress('too late');
    finish('too late');
    await settle();
    expect((await get('t1')).status.state).toBe('canceled');
    expect((await rpc('tasks/cancel', { id: 't1' })).error?.code).toBe(-32002);
  });

  it('continues when a subscriber leaves', async () => {
    const leaver = subscribe('t1');
    const stayer = subscribe('t1');
    await settle();
    leaver.cancel();
    expect((await leaver.done).error?.data).toMatchObject({ code: 'CALL_CANCELLED' });
    finish();
    await stayer.done;
    expect(states(stayer.events)).toEqual(['working', 'completed']);
    expect(task.signal.aborted).toBe(false);
  });

  it('reads at its own pace, and fails if it is more than 1,000 events behind', async () => {
    const gate = Promise.withResolvers<void>();
    const slow = subscribe('t1', { pace: () => gate.promise });
    await settle();
    for (let i = 0; i < 1_100; i++) task.progress({ i });
    gate.resolve();
    const { error } = await slow.done;
    expect(error?.data).toMatchObject({ code: 'QUOTA_EXCEEDED', retryable: true });
    expect((await get('t1')).artifacts?.length).toBe(100);
    expect((await get('t1')).artifacts?.at(-1)?.index).toBe(1_099);
  });

  it('limits the subscribers of a task', async () => {
    await send('t1');
    const subscribers = Array.from({ length: 64 }, () => subscribe('t1'));
    await settle();
    expect((await subscribe('t1').done).error?.data).toMatchObject({ code: 'QUOTA_EXCEEDED' });
    subscribers[0]!.cancel();
    await subscribers[0]!.done;
    await settle();
    const next = subscribe('t1');
    await settle();
    expect(states(next.events)).toEqual(['working']);
  });
});

describe('tasks/sendUnsubscribe', () => {
  it('ends the subscriptions of its caller only, and answers null', async () => {
    const mine = subscribe('t1', { replyTo: '__rpc__a@/s/a' });
    const other = subscribe('t1', { replyTo: '__rpc__b@/s/b' });
    await settle();
    const { result } = await rpc('tasks/sendUnsubscribe', { id: 't1' }, { replyTo: '__rpc__a@/s/a' });
    expect(result).toBeNull();
    await mine.done;
    task.progress('more');
    finish();
    await other.done;
    expect(states(mine.events)).toEqual(['working']);
    expect(states(other.events)).toEqual(['working', '#0', 'completed']);
  });

  it('answers null for an unknown task', async () => {
    expect((await rpc('tasks/sendUnsubscribe', { id: 'gone' })).result).toBeNull();
  });
});

describe('ended tasks', () => {
  it('are kept for the retention time', async () => {
    await send('t1');
    finish();
    await settle();
    wallOffset = 31 * 86_400_000;
    now += 299_999;
    expect((await get('t1')).status.state).toBe('completed');
    now += 1;
    expect((await rpc('tasks/get', { id: 't1' })).error).toMatchObject({
      code: -32001,
      data: { code: 'TASK_UNKNOWN' },
    });
    expect((await send('t1')).result).toBeDefined();
  });

  it('HD11: are removed in time although the clock was set back', async () => {
    await send('t1');
    finish();
    await settle();
    wallOffset = -86_400_000;
    now += 300_000;
    expect((await rpc('tasks/get', { id: 't1' })).error).toMatchObject({ data: { code: 'TASK_UNKNOWN' } });
  });

  it('are kept up to a limit, and the oldest is dropped first', async () => {
    for (let i = 0; i <= 100; i++) {
      await send(`t${i}`);
      finish();
      await settle();
    }
    expect((await rpc('tasks/get', { id: 't0' })).error?.code).toBe(-32001);
    expect((await get('t1')).status.state).toBe('completed');
    expect((await get('t100')).status.state).toBe('completed');
  });
});

describe('unknown tasks', () => {
  it.each([
    ['tasks/get', {}],
    ['tasks/cancel', {}],
    ['tasks/resubscribe', {}],
    ['tasks/pushNotification/get', {}],
    ['tasks/pushNotification/set', { pushNotificationConfig: { url: 'r@fame.fabric' } }],
  ])('%s answers -32001', async (method, more) => {
    expect((await rpc(method, { id: 'no', ...more })).error).toMatchObject({ code: -32001 });
  });
});

describe('push notifications', () => {
  const config = { url: 'receiver@fame.fabric', token: null, authentication: null };
  const set = (pushNotificationConfig: object) =>
    rpc('tasks/pushNotification/set', { id: 't1', pushNotificationConfig });

  it('go to a Fame address as plain messages', async () => {
    await send('t1');
    expect((await rpc('tasks/pushNotification/get', { id: 't1' })).error?.code).toBe(-32602);
    expect((await set(config)).result).toEqual({ id: 't1', pushNotificationConfig: config });
    expect((await rpc('tasks/pushNotification/get', { id: 't1' })).result).toEqual({
      id: 't1',
      pushNotificationConfig: config,
    });
    task.notify({ message: 'Notification #1' });
    finish();
    await settle();
    expect(link.sent).toMatchObject([
      { to: 'receiver@fame.fabric', payload: { task_id: 't1', message: 'Notification #1' } },
      { to: 'receiver@fame.fabric', payload: { task_id: 't1', status: { state: 'completed' }, final: true } },
    ]);
  });

  it('may be requested with the task itself', async () => {
    await send('t1', { pushNotification: config });
    finish();
    await settle();
    expect(link.sent.length).toBe(1);
  });

  it('go to a URL through the safe fetch, in order, with the token and the bearer credentials', async () => {
    await send('t1');
    await set({
      url: 'https://hooks.example.com/x',
      token: 'tok',
      authentication: { schemes: ['Bearer'], credentials: 'cred' },
    });
    for (let n = 1; n <= 3; n++) task.notify({ n });
    await vi.waitFor(() => expect(fetched).toHaveBeenCalledTimes(3));
    expect(fetched.mock.calls.map(([, { body }]) => JSON.parse(body).n)).toEqual([1, 2, 3]);
    expect(fetched.mock.calls[0]).toMatchObject([
      'https://hooks.example.com/x',
      {
        method: 'POST',
        headers: {
          'content-type': 'application/json',
          'x-a2a-notification-token': 'tok',
          authorization: 'Bearer cred',
        },
      },
    ]);
  });

  it.each([
    ['a string', 'nowhere'],
    ['a reply mailbox', '__rpc__abc@/sentinel/client'],
    ['a system inbox', '__sys__@/sentinel'],
    ['a reply mailbox with a host', '__rpc__abc@fame.fabric'],
    ['a file', 'file:///etc/passwd'],
    ['a forbidden URL', 'https://forbidden.example.com'],
  ])('are refused for %s', async (_, url) => {
    await send('t1');
    expect((await set({ url })).error?.data).toMatchObject({
      code: url.startsWith('https') ? 'OUTBOUND_FORBIDDEN' : 'PARAMS_INVALID',
    });
    expect((await send('t2', { pushNotification: { url } })).error).toBeDefined();
    expect((await rpc('tasks/get', { id: 't2' })).error?.code).toBe(-32001);
  });
});

describe('an agent without tasks', () => {
  it('refuses task methods, but answers an unsubscribe', async () => {
    await serving.close();
    serving = await defineAgent({ address: ADDRESS }).serve(link);
    expect((await send('t1')).error).toMatchObject({ code: -32004, data: { code: 'OPERATION_UNSUPPORTED' } });
    expect((await rpc('tasks/sendUnsubscribe', { id: 't1' })).result).toBeNull();
  });
});

describe('stopping', () => {
  it('drain waits for the notification of a task that ends during the drain', async () => {
    const gate = Promise.withResolvers<void>();
    fetched.mockReturnValueOnce(gate.promise);
    await send('t1', { pushNotification: { url: 'https://hooks.example.com/' } });
    let isDrained = false;
    const drained = serving.drain(1_000).then(() => {
      isDrained = true;
    });
    finish();
    await vi.waitFor(() => expect(fetched).toHaveBeenCalledOnce());
    await settle();
    expect(isDrained).toBe(false);
    gate.resolve();
    await drained;
  });

  it('drain waits for tasks; close fails them and ends their subscriptions', async () => {
    const subscriber = subscribe('t1');
    await settle();
    let isDrained = false;
    const drained = serving.drain(1_000).then(() => {
      isDrained = true;
    });
    await settle();
    expect(isDrained).toBe(false);
    finish();
    await drained;
    expect(states(subscriber.events)).toEqual(['working', 'completed']);

    await serve();
    const second = subscribe('t2');
    await settle();
    await serving.close();
    expect(task.signal.aborted).toBe(true);
    await second.done;
    expect(states(second.events)).toEqual(['working']);
  });
});
