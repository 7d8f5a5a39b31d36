// Subscriptions to tasks against a scripted agent: lost connections, missing methods, and agents of naylence.
import { describe, expect, test } from 'vitest';
import { FabricError } from '../errors/error.ts';
import type { TaskEvent } from '../protocol/tasks.ts';
import { collect, errorOf } from '../testing/attach.ts';
import { ManualClock } from '../testing/manual-clock.ts';
import { taskMethods } from './agent-tasks.ts';
import type { CallOptions } from './link-types.ts';
import type { SubscribeOptions } from './task-types.ts';

const ADDRESS = 'worker@fame.fabric';
const status = (state: string, final = false) => ({
  id: 't',
  status: { state, timestamp: '2030-01-01T00:00:00.000Z' },
  final,
});
const artifact = (index: number) => ({ id: 't', artifact: { index, parts: [] } });
const WORKING = status('working');
const DONE = status('completed', true);
const LOST = new FabricError('LINK_CLOSED', 'The connection was lost');

/** An agent whose streams yield the given items in turn; an error as an item fails the stream. */
function agentOf(streams: readonly (readonly unknown[])[], kept: readonly number[][] = []) {
  const clock = new ManualClock();
  const requests: string[] = [];
  const artifacts = [...kept];
  const waiting = [...streams];
  const agent = {
    isOver: false,
    async call(_target: unknown, method: string): Promise<unknown> {
      requests.push(method);
      if (method !== 'tasks/get') return null;
      return { ...WORKING, artifacts: (artifacts.shift() ?? []).map((index) => artifact(index).artifact) };
    },
    async *stream(_target: unknown, method: string, _params: unknown, options: CallOptions = {}) {
      requests.push(method);
      for (const item of waiting.shift() ?? []) {
        options.signal?.throwIfAborted();
        if (item instanceof Error) throw item;
        yield item;
      }
    },
  };
  const subscribe = (options?: SubscribeOptions) =>
    taskMethods(agent, clock).task(ADDRESS).subscribe('t', options);
  const events = async (options?: SubscribeOptions): Promise<string[]> => {
    const reading = collect(subscribe(options));
    reading.catch(() => {});
    await clock.run(60_000, 50);
    return (await reading).map((event) => textOf(event as TaskEvent));
  };
  return { agent, clock, events, requests, subscribe };
}

const textOf = (event: TaskEvent): string =>
  'status' in event ? event.status.state : `#${event.artifact.index}`;

describe('NF7: a subscription to an agent of this software', () => {
  test('yields the state, the kept artifacts and every new event once', async () => {
    const { events, requests } = agentOf([[WORKING, artifact(1), artifact(2), DONE]], [[0, 1]]);
    expect(await events()).toEqual(['working', '#0', '#1', '#2', 'completed']);
    expect(requests).toEqual(['tasks/resubscribe', 'tasks/get']);
  });

  test('yields every piece of an artifact that is sent in pieces', async () => {
    const piece = (text: string) => ({
      id: 't',
      artifact: { index: 0, append: true, parts: [{ type: 'text', text }] },
    });
    const { agent, subscribe } = agentOf([[WORKING, piece('c'), piece('b'), DONE]]);
    agent.call = async () => ({ ...WORKING, artifacts: [piece('a').artifact, piece('b').artifact] });
    const events = (await collect(subscribe())) as TaskEvent[];
    const texts = events.flatMap((event) => ('artifact' in event ? event.artifact.parts : []));
    expect(texts.map((part) => 'text' in part && part.text)).toEqual(['a', 'b', 'c']);
  });

  test('yields the final state last', async () => {
    const { events } = agentOf([[DONE]], [[3, 4]]);
    expect(await events()).toEqual(['#3', '#4', 'completed']);
  });

  test('continues after a lost connection with the artifacts that it missed', async () => {
    const { events, requests } = agentOf(
      [[WORKING, artifact(0), LOST], [LOST], [WORKING, artifact(3), DONE]],
      [[], [0, 1, 2]],
    );
    expect(await events()).toEqual(['working', '#0', 'working', '#1', '#2', '#3', 'completed']);
    expect(requests.filter((method) => method === 'tasks/resubscribe')).toHaveLength(3);
  });

  test('continues when the agent ended it before the task', async () => {
    const { events } = agentOf([[WORKING], [WORKING, DONE]]);
    expect(await events()).toEqual(['working', 'working', 'completed']);
  });

  test('fails when the agent stays away for reconnectMs', async () => {
    const { clock, subscribe, requests } = agentOf([[WORKING]]);
    const failed = errorOf(collect(subscribe({ reconnectMs: 5_000 })));
    await clock.run(4_000, 50);
    const before = requests.length;
    expect(before).toBeGreaterThan(4);
    await clock.run(3_000, 50);
    expect(await failed).toMatchObject({ code: 'NODE_GONE' });
    expect(requests.length).toBeLessThan(before + 6);
  });

  test.each([
    ['an unknown task', new FabricError('TASK_UNKNOWN', 'unknown')],
    ['an unserved address', new FabricError('NO_ROUTE', 'no route')],
    ['too many subscribers', new FabricError('QUOTA_EXCEEDED', 'full')],
  ])('fails at once for %s', async (_case, error) => {
    const { clock, subscribe, requests } = agentOf([[error]]);
    const failed = errorOf(collect(subscribe()));
    await clock.run(100);
    expect(await failed).toBe(error);
    expect(requests).toEqual(['tasks/resubscribe']);
  });

  test('fails when its time limit for an event is over', async () => {
    const error = new FabricError('CALL_TIMEOUT', 'silent');
    const { clock, subscribe } = agentOf([[WORKING, error]]);
    const failed = errorOf(collect(subscribe({ timeoutMs: 1_000 })));
    await clock.run(100);
    expect(await failed).toBe(error);
  });

  test('does not retry on a closed client', async () => {
    const { agent, clock, subscribe } = agentOf([[WORKING, LOST]]);
    agent.isOver = true;
    const failed = errorOf(collect(subscribe()));
    await clock.run(10);
    expect(await failed).toBe(LOST);
  });

  test('ends with the abort reason', async () => {
    const controller = new AbortController();
    const { subscribe } = agentOf([[WORKING, artifact(0)]]);
    const reading = (async () => {
      for await (const _ of subscribe({ signal: controller.signal })) controller.abort(new Error('enough'));
    })();
    expect(await errorOf(reading)).toMatchObject({ message: 'enough' });
  });

  test('skips values that are no events', async () => {
    const { events } = agentOf([
      ['text', 7, { id: 't' }, WORKING, { id: 't', artifact: { parts: [] } }, DONE],
    ]);
    expect(await events()).toEqual(['working', '#0', 'completed']);
  });
});

describe('NF7: a subscription to an agent without tasks/resubscribe', () => {
  const MISSING = [new FabricError('METHOD_NOT_FOUND', 'Method not found')];

  test('uses tasks/sendSubscribe, and tasks/sendUnsubscribe at the end', async () => {
    const { events, requests } = agentOf([MISSING, [WORKING, artifact(0), artifact(0), DONE]]);
    expect(await events()).toEqual(['working', '#0', '#0', 'completed']);
    expect(requests).toEqual(['tasks/resubscribe', 'tasks/sendSubscribe', 'tasks/sendUnsubscribe']);
  });

  test('unsubscribes when the loop is left', async () => {
    const { subscribe, requests } = agentOf([MISSING, [WORKING, artifact(0), DONE]]);
    for await (const event of subscribe()) if ('artifact' in event) break;
    expect(requests.at(-1)).toBe('tasks/sendUnsubscribe');
  });

  test('fails with TASK_UNKNOWN for a task without events', async () => {
    const { clock, subscribe } = agentOf([MISSING, []]);
    const failed = errorOf(collect(subscribe()));
    await clock.run(100);
    expect(await failed).toMatchObject({ code: 'TASK_UNKNOWN' });
  });
});
