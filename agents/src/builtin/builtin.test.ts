import { Link, silentLog, type Task, type TaskEvent } from '@fame-fabric/shared';
import { ScriptedSentinel } from '@fame-fabric/shared/testing';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { AgentWorker } from '../agent/worker.ts';
import { collect } from '../testing/chunks.ts';
import { echoAgent } from './echo-agent.ts';
import { mathAgent } from './math-agent.ts';

const MATH = 'math@fame.fabric';
const ECHO = 'echo@fame.fabric';

let worker: AgentWorker;
let client: Link;
const notified: unknown[] = [];

beforeAll(async () => {
  const sentinel = new ScriptedSentinel();
  const link = () => new Link({ url: 'memory://s', dial: sentinel.dial });
  worker = new AgentWorker([echoAgent(), mathAgent()], { link: link(), log: silentLog });
  await worker.start();
  client = link();
  await client.connect();
  const receiver = { onCall() {}, onMessage: (payload: unknown) => void notified.push(payload) };
  await client.bind('receiver@fame.fabric', receiver);
});
afterAll(async () => {
  await worker.drain(1_000);
  await client.close();
});

const countDown = (id: string, data: object) => ({
  id,
  message: { role: 'agent', parts: [{ type: 'data', data }] },
});

describe('echo', () => {
  it.each([['text'], [0], [false], [[1, 2]], [{ a: { b: 1 } }], [null]])('returns %j', async (value) => {
    expect(await client.call(ECHO, 'echo', { args: [value] })).toEqual(value);
  });
});

describe('math', () => {
  it('adds and multiplies with named and with positional arguments', async () => {
    expect(await client.call(MATH, 'add', { x: 2, y: 3 })).toBe(5);
    expect(await client.call(MATH, 'multiply', { args: [4], kwargs: { y: 5 } })).toBe(20);
    await expect(client.call(MATH, 'add', { x: 2 })).rejects.toMatchObject({ code: 'PARAMS_INVALID' });
  });

  it('streams Fibonacci numbers', async () => {
    expect(await collect(client.stream(MATH, 'fib_stream', { n: 10 }))).toEqual([
      0, 1, 1, 2, 3, 5, 8, 13, 21, 34,
    ]);
    expect(await client.call(MATH, 'fib_stream', { n: 10 })).toBe(0);
  });

  it('counts until the caller cancels', async () => {
    for await (const n of client.stream(MATH, 'count')) if (n === 100) break;
    expect(await client.call(MATH, 'add', { x: 1, y: 1 })).toBe(2);
  });

  it('counts down in the background, with progress and notifications', async () => {
    const params = countDown('t1', { steps: 3, stepMs: 1 });
    const events = (await collect(
      client.stream(MATH, 'tasks/sendSubscribe', {
        ...params,
        pushNotification: { url: 'receiver@fame.fabric' },
      }),
    )) as TaskEvent[];
    expect(events.length).toBe(5);
    expect(events[0]).toMatchObject({ status: { state: 'working' }, final: false });
    expect(events[3]).toMatchObject({
      artifact: { parts: [{ data: { progress: 'step 3/3 complete', left: 0 } }] },
    });
    expect(events[4]).toMatchObject({ status: { state: 'completed' }, final: true });
    expect(notified).toMatchObject([
      { task_id: 't1', message: 'Notification #1' },
      { task_id: 't1', message: 'Notification #2' },
      { task_id: 't1', message: 'Notification #3' },
      { task_id: 't1', status: { state: 'completed' }, final: true },
    ]);
  });

  it('cancels a count-down', async () => {
    await client.call(MATH, 'tasks/send', countDown('t2', { steps: 1_000, stepMs: 60_000 }));
    const task = (await client.call(MATH, 'tasks/cancel', { id: 't2' })) as Task;
    expect(task.status.state).toBe('canceled');
    await expect(client.call(MATH, 'tasks/cancel', { id: 't2' })).rejects.toMatchObject({
      code: 'TASK_NOT_CANCELABLE',
    });
  });

  it('refuses invalid parameters of a count-down', async () => {
    await expect(client.call(MATH, 'tasks/send', countDown('t3', { steps: 'many' }))).rejects.toMatchObject({
      code: 'PARAMS_INVALID',
      message: expect.stringContaining('steps'),
    });
  });

  it('serves its agent card', async () => {
    expect(await client.call(MATH, 'agent.get_card')).toMatchObject({
      name: 'math',
      url: MATH,
      capabilities: { streaming: true, pushNotifications: true },
      skills: [{ id: 'add' }, { id: 'multiply' }, { id: 'fib_stream' }, { id: 'count' }],
    });
  });
});
