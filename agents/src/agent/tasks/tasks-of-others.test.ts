// Tasks that a client or an agent gives to our agents, over real links: `client.task`, `broadcast`, `runMany`, and the same on `link`.
import { isFabricError } from '@fame-fabric/shared';
import { taskMethods } from '@fame-fabric/shared/link';
import { settle } from '@fame-fabric/shared/testing';
import { afterEach, describe, expect, test, vi } from 'vitest';
import { type TestFabric, testFabric } from '../../testing/test-fabric.ts';
import { defineAgent } from '../agent.ts';
import { operation } from '../operation.ts';
import type { TaskHandle } from './task-types.ts';

const WORKER = 'worker@fame.fabric';
let open: TestFabric | undefined;
afterEach(async () => {
  await open?.close();
});

async function fabric() {
  const handles: TaskHandle[] = [];
  const ends: ((outcome: unknown) => void)[] = [];
  const worker = defineAgent({
    address: WORKER,
    tasks: {
      start(_, handle) {
        handles.push(handle);
        return new Promise((resolve, reject) => {
          ends.push((outcome) => (outcome instanceof Error ? reject(outcome) : resolve(outcome)));
        });
      },
    },
  });
  const echo = defineAgent({
    address: 'echo@fame.fabric',
    tasks: {
      async start({ message }) {
        const [part] = message.parts;
        if (part?.type === 'text' && part.text === 'fail') throw new Error('a secret');
        return part?.type === 'text' ? part.text : part?.type === 'data' ? part.data : undefined;
      },
    },
  });
  open = await testFabric([worker, echo]);
  return { handles, ends, tasks: taskMethods(open.link), link: open.link };
}

const errorOf = (promise: Promise<unknown>) =>
  promise.then(
    () => undefined,
    (error: unknown) => error,
  );

describe('NF7: client.task', () => {
  test('starts, follows, reads and cancels a task', async () => {
    const { handles, tasks } = await fabric();
    const worker = tasks.task(WORKER);
    const started = await worker.start('go', { id: 't1', metadata: { a: 1 } });
    expect(started).toMatchObject({ id: 't1', sessionId: 't1', status: { state: 'working' } });
    expect(handles[0]!.params.message).toEqual({ role: 'user', parts: [{ type: 'text', text: 'go' }] });
    handles[0]!.progress({ step: 1 });
    const seen: string[] = [];
    for await (const event of worker.subscribe('t1')) {
      seen.push('status' in event ? event.status.state : `#${event.artifact.index}`);
      if (seen.length === 2) handles[0]!.progress({ step: 2 });
      if (seen.length === 3)
        expect(await worker.cancel('t1')).toMatchObject({ status: { state: 'canceled' } });
    }
    expect(seen).toEqual(['working', '#0', '#1', 'canceled']);
    expect((await worker.get('t1', { historyLength: 0 })).history).toEqual([]);
    expect(await errorOf(worker.get('t2'))).toMatchObject({ code: 'TASK_UNKNOWN' });
    expect(await errorOf(worker.cancel('t1'))).toMatchObject({ code: 'TASK_NOT_CANCELABLE' });
  });

  test('leaving a subscription ends it at the agent, but not the task or another subscription', async () => {
    const { handles, ends, tasks } = await fabric();
    const worker = tasks.task(WORKER);
    await worker.start(null, { id: 't1' });
    const other = (async () => {
      const states: string[] = [];
      for await (const event of worker.subscribe('t1'))
        if ('status' in event) states.push(event.status.state);
      return states;
    })();
    for await (const _ of worker.subscribe('t1')) break;
    await settle();
    handles[0]!.status('working', 'still here');
    ends[0]!('done');
    expect(await other).toEqual(['working', 'working', 'completed']);
  });

  test('run resolves to the text or the data of the final message', async () => {
    const { tasks } = await fabric();
    const echo = tasks.task('echo@fame.fabric');
    expect(await echo.run('hello')).toBe('hello');
    expect(await echo.run({ n: 1 })).toEqual({ n: 1 });
    expect(await echo.run()).toEqual({});
    expect(await echo.run({ role: 'user', parts: [] })).toBeNull();
  });

  test('run reports the events of its task, and fails with the text of the agent', async () => {
    const { handles, ends, tasks } = await fabric();
    const onEvent = vi.fn();
    const running = errorOf(tasks.task(WORKER).run('go', { id: 't1', onEvent }));
    await settle();
    handles[0]!.progress('half');
    await settle();
    ends[0]!(new Error('a secret'));
    const error = await running;
    expect(isFabricError(error) && error.message).toMatch(
      /^Task t1 of worker@fame.fabric ended as failed: The task failed; see/,
    );
    expect(error).toMatchObject({ code: 'TASK_FAILED', details: { taskId: 't1', state: 'failed' } });
    expect(onEvent.mock.calls.map(([event]) => Object.keys(event)[1])).toEqual([
      'status',
      'artifact',
      'status',
    ]);
  });

  test('run fails when the task asks for input, which start answers', async () => {
    const { handles, ends, tasks } = await fabric();
    const worker = tasks.task(WORKER);
    const running = errorOf(worker.run('go', { id: 't1' }));
    await settle();
    const answer = handles[0]!.ask('Which one?');
    expect(await running).toMatchObject({
      code: 'TASK_FAILED',
      message: 'Task t1 of worker@fame.fabric asks for input: Which one?',
      details: { state: 'input-required' },
    });
    await worker.start('the red one', { id: 't1' });
    expect((await answer).parts).toEqual([{ type: 'text', text: 'the red one' }]);
    ends[0]!(undefined);
  });

  test.each(['abort', 'time limit'])('an %s cancels a task that runs', async (cause) => {
    const { handles, tasks } = await fabric();
    const controller = new AbortController();
    const worker = tasks.task(WORKER);
    const options = cause === 'abort' ? { signal: controller.signal } : { timeoutMs: 50 };
    const running = errorOf(worker.run('go', { id: 't1', ...options }));
    await vi.waitFor(() => expect(handles).toHaveLength(1));
    controller.abort(new Error('enough'));
    expect(await running).toMatchObject(cause === 'abort' ? { message: 'enough' } : { code: 'CALL_TIMEOUT' });
    await vi.waitFor(() => expect(handles[0]!.signal.aborted).toBe(true));
  });

  test('sets and reads the destination of notifications', async () => {
    const { link, handles, ends, tasks } = await fabric();
    const received: unknown[] = [];
    await link.bind('inbox@fame.fabric', {
      onCall() {},
      onMessage: (payload) => void received.push(payload),
    });
    const worker = tasks.task(WORKER);
    await worker.start('go', { id: 't1' });
    expect(await errorOf(worker.getPush('t1'))).toMatchObject({ code: 'PARAMS_INVALID' });
    await worker.setPush('t1', { url: 'inbox@fame.fabric' });
    expect(await worker.getPush('t1')).toEqual({ url: 'inbox@fame.fabric' });
    handles[0]!.notify({ note: 1 });
    ends[0]!('done');
    await vi.waitFor(() => expect(received).toHaveLength(2));
    expect(received).toMatchObject([
      { task_id: 't1', note: 1 },
      { status: { state: 'completed' }, final: true },
    ]);
  });

  test('refuses an invalid address', async () => {
    const { tasks } = await fabric();
    expect(() => tasks.task('nothing')).toThrow(/not an address/);
  });
});

describe('NF7: many tasks', () => {
  const ECHO = 'echo@fame.fabric';

  test('runMany and broadcast return a result or an error for each address, in order', async () => {
    const { tasks } = await fabric();
    expect(
      await tasks.runMany([
        [ECHO, 'a'],
        ['missing@fame.fabric', 'b'],
        [ECHO, 'fail'],
        ['x', 'c'],
      ]),
    ).toMatchObject([
      { address: ECHO, ok: true, result: 'a' },
      { address: 'missing@fame.fabric', ok: false, error: { code: 'NO_ROUTE' } },
      { address: ECHO, ok: false, error: { code: 'TASK_FAILED' } },
      { address: 'x', ok: false, error: { code: 'ADDRESS_INVALID' } },
    ]);
    expect(await tasks.broadcast([ECHO, ECHO], 'x')).toEqual([
      { address: ECHO, ok: true, result: 'x' },
      { address: ECHO, ok: true, result: 'x' },
    ]);
    expect(await tasks.runMany([])).toEqual([]);
  });

  test('at most `concurrency` tasks run at once', async () => {
    const { handles, ends, tasks } = await fabric();
    const running = tasks.broadcast(Array(5).fill(WORKER), 'go', { concurrency: 2 });
    for (let done = 0; done < 5; done++) {
      await vi.waitFor(() => expect(handles.length).toBe(Math.min(5, done + 2)));
      await settle();
      expect(handles.length).toBe(Math.min(5, done + 2));
      ends[done]!(`n${done}`);
    }
    expect((await running).map((outcome) => outcome.ok && outcome.result)).toEqual([
      'n0',
      'n1',
      'n2',
      'n3',
      'n4',
    ]);
  });

  test('an abort cancels the tasks that run and starts no other', async () => {
    const { handles, tasks } = await fabric();
    const controller = new AbortController();
    const running = tasks.broadcast(Array(3).fill(WORKER), 'go', {
      concurrency: 1,
      signal: controller.signal,
    });
    await vi.waitFor(() => expect(handles).toHaveLength(1));
    const reason = new Error('enough');
    controller.abort(reason);
    expect(await running).toEqual(Array(3).fill({ address: WORKER, ok: false, error: reason }));
    await vi.waitFor(() => expect(handles[0]!.signal.aborted).toBe(true));
    expect(handles).toHaveLength(1);
  });

  test.each([0, 1.5, 1_001, Number.NaN])('refuses a concurrency of %s', async (concurrency) => {
    const { tasks } = await fabric();
    expect(await errorOf(tasks.broadcast([ECHO], 'x', { concurrency }))).toMatchObject({
      code: 'PARAMS_INVALID',
    });
  });
});

describe('NF6, NF7: on the link of a call', () => {
  test('the tasks of an agent carry the hops of its call, and are cancelled with it', async () => {
    const ttls: unknown[] = [];
    const handles: TaskHandle[] = [];
    const worker = defineAgent({
      address: WORKER,
      tasks: {
        start: (_, handle) => new Promise(() => void handles.push(handle)),
        accept: async (_params, { ttl }) => void ttls.push(ttl),
      },
    });
    const boss = defineAgent({
      address: 'boss@fame.fabric',
      operations: {
        delegate: operation({ run: (_, { link }) => link.broadcast([WORKER, WORKER], 'go') }),
      },
    });
    open = await testFabric([worker, boss]);
    const controller = new AbortController();
    const options = { signal: controller.signal, ttl: 5 };
    const call = errorOf(open.link.call('boss@fame.fabric', 'delegate', {}, options));
    await vi.waitFor(() => expect(handles).toHaveLength(2));
    expect(ttls).toEqual([4, 4]);
    controller.abort(new Error('enough'));
    expect(await call).toMatchObject({ message: 'enough' });
    await vi.waitFor(() => expect(handles.map(({ signal }) => signal.aborted)).toEqual([true, true]));
  });

  test('an agent sends acknowledged messages, and refuses those that it cannot accept', async () => {
    const received: unknown[] = [];
    const inbox = defineAgent({
      address: 'inbox@fame.fabric',
      onMessage: (payload) => void received.push(payload),
    });
    const deaf = defineAgent({ address: 'deaf@fame.fabric' });
    const sender = defineAgent({
      address: 'sender@fame.fabric',
      operations: {
        tell: operation({
          async run(_, { link }) {
            await link.send('inbox@fame.fabric', 'hello', { ack: true });
            const refused = await errorOf(link.send('deaf@fame.fabric', 'hello', { ack: true }));
            return isFabricError(refused) ? refused.code : 'none';
          },
        }),
      },
    });
    open = await testFabric([inbox, deaf, sender]);
    expect(await open.link.call('sender@fame.fabric', 'tell')).toBe('OPERATION_UNSUPPORTED');
    expect(received).toEqual(['hello']);
  });
});
