// Chat agents through the A2A door over a fabric in memory: tasks, streams, approvals, retries and lists.
import { defineAgent, operation, ToolSet, tool } from '@fame-fabric/agents';
import { callTools, gate, type Scripted } from '@fame-fabric/agents/testing';
import { describe, expect, test } from 'vitest';
import { z } from 'zod';
import { messageOf, rpc, rpcStream, statesIn, textAfter, textIn } from '../testing/a2a-kit.ts';
import { type DoorKit, doorKit } from '../testing/door-kit.ts';
import { a2aDoor } from './a2a-door.ts';

const ID = 'message-00000000-0001';
const OTHER_ID = 'message-00000000-0002';
const ada = { headers: { authorization: 'Bearer fk_ada' } };
const bea = { headers: { authorization: 'Bearer fk_bea' } };

const chat = (replies: Scripted[]): Promise<DoorKit> => doorKit(a2aDoor, { replies });
const send = async (kit: DoorKit, message: object, options = {}) =>
  (await rpc(kit, 'SendMessage', { message }, options)).result.task;

describe('SendMessage', () => {
  test('waits for the end of the turn and answers with its task', async () => {
    await using kit = await chat(['Hello there']);
    const task = await send(kit, messageOf('Hi', ID));
    expect(task).toMatchObject({
      id: expect.stringMatching(/^task_/),
      contextId: expect.stringMatching(/^a2a-/),
      status: {
        state: 'TASK_STATE_COMPLETED',
        timestamp: expect.stringMatching(/^\d{4}-\d\d-\d\dT[\d:]{8}\.\d{3}Z$/),
      },
      artifacts: [{ artifactId: 'answer', parts: [{ text: 'Hello there' }] }],
      history: [{ messageId: ID, role: 'ROLE_USER', parts: [{ text: 'Hi' }] }],
      metadata: { finish: 'stop', model: 'scripted' },
    });
  });

  test('names the conversation and the turn in headers', async () => {
    await using kit = await chat(['Hello']);
    const payload = {
      jsonrpc: '2.0',
      id: 1,
      method: 'SendMessage',
      params: { message: messageOf('Hi', ID) },
    };
    const headers = { 'a2a-version': '1.0' };
    const response = await kit.inject({ method: 'POST', url: '/a2a', headers, payload });
    const { contextId, metadata } = response.json().result.task;
    expect(response.headers).toMatchObject({ 'x-conversation-id': contextId, 'x-turn-id': metadata.turnId });
  });

  test('returns a working task at once with returnImmediately', async () => {
    const hold = gate();
    await using kit = await chat([{ steps: ['Hel', hold, 'lo'] }]);
    const params = { message: messageOf('Hi', ID), configuration: { returnImmediately: true } };
    const { task } = (await rpc(kit, 'SendMessage', params)).result;
    expect(task.status.state).toBe('TASK_STATE_WORKING');
    const stream = await rpcStream(kit, 'SubscribeToTask', { id: task.id });
    const first = await stream.next();
    hold.open();
    const updates = [first!, ...(await stream.rest())];
    expect(statesIn(updates).at(-1)).toBe('COMPLETED');
    expect(textAfter(updates)).toBe('Hello');
  });

  test('continues a context, and keeps the contextId that a client chose', async () => {
    await using kit = await chat(['One', 'Two']);
    const first = await send(kit, messageOf('a', ID, { contextId: 'my-context' }));
    const second = await send(kit, messageOf('b', OTHER_ID, { contextId: 'my-context' }));
    expect([first.contextId, second.contextId]).toEqual(['my-context', 'my-context']);
    expect(second.id).not.toBe(first.id);
    const texts = kit.model.requests[1]!.messages.map(({ content }) => content);
    expect(texts.slice(1)).toEqual(['a', 'One', 'b']);
  });

  test('a message that is sent again joins its turn', async () => {
    await using kit = await chat(['Once']);
    const tasks = await Promise.all([send(kit, messageOf('Hi', ID)), send(kit, messageOf('Hi', ID))]);
    const third = await send(kit, messageOf('Hi', ID));
    expect(new Set([...tasks, third].map(({ id }) => id)).size).toBe(1);
    expect(third).toEqual(tasks[0]);
    expect(kit.model.count).toBe(1);
  });

  test('another text, another caller and a short message id start another task', async () => {
    await using kit = await chat(['1', '2', '3', '4', '5']);
    const tasks = [
      await send(kit, messageOf('Hi', ID), ada),
      await send(kit, messageOf('Hi!', ID), ada),
      await send(kit, messageOf('Hi', ID), bea),
      await send(kit, messageOf('Hi', '1'), ada),
      await send(kit, messageOf('Hi', '1'), ada),
    ];
    expect(new Set(tasks.map(({ contextId }) => contextId)).size).toBe(5);
  });

  test('a failed turn is a failed task', async () => {
    await using kit = await chat([{ steps: [{ fail: new Error('broken') }] }]);
    const task = await send(kit, messageOf('Hi', ID));
    expect(task.status).toMatchObject({ state: 'TASK_STATE_FAILED', message: { role: 'ROLE_AGENT' } });
  });

  test('historyLength limits the history', async () => {
    await using kit = await chat(['Hello']);
    const params = { message: messageOf('Hi', ID), configuration: { historyLength: 0 } };
    const { task } = (await rpc(kit, 'SendMessage', params)).result;
    expect(task.history).toBeUndefined();
    expect((await rpc(kit, 'GetTask', { id: task.id, historyLength: 5 })).result.history).toHaveLength(1);
  });

  test('an agent that cannot report its turns is refused', async () => {
    let runs = 0;
    const run = (): string => `run ${++runs}`;
    const old = defineAgent({ address: 'old@fame.fabric', operations: { run_turn: operation({ run }) } });
    await using kit = await doorKit(a2aDoor, { agents: [old] });
    const { error } = await rpc(kit, 'SendMessage', { message: messageOf('Hi', ID) }, { url: '/a2a/old' });
    expect(error).toMatchObject({ code: -32004 });
    expect(runs).toBe(0);
  });

  test('data becomes JSON, and files are refused', async () => {
    await using kit = await chat(['ok']);
    await send(kit, messageOf('', ID, { parts: [{ text: 'Sum' }, { data: { a: [1, 2] } }] }));
    expect(kit.model.requests[0]!.messages.at(-1)!.content).toBe('Sum\n{"a":[1,2]}');
    const file = messageOf('', OTHER_ID, { parts: [{ raw: 'AA==', mediaType: 'image/png' }] });
    const { error } = await rpc(kit, 'SendMessage', { message: file });
    expect(error).toMatchObject({ code: -32005, data: [{ reason: 'CONTENT_TYPE_NOT_SUPPORTED' }] });
    expect(kit.model.count).toBe(1);
  });
});

describe('streams', () => {
  test('start with the task, and end with its last state', async () => {
    const hold = gate();
    await using kit = await chat([{ steps: ['Hel', hold, 'lo'] }]);
    const stream = await rpcStream(kit, 'SendStreamingMessage', { message: messageOf('Hi', ID) });
    const first = await stream.next();
    expect(first!.task.status.state).toBe('TASK_STATE_WORKING');
    hold.open();
    const updates = [first!, ...(await stream.rest())];
    expect(updates.slice(1).every((update) => update.artifactUpdate || update.statusUpdate)).toBe(true);
    expect(updates.at(-1)!.statusUpdate.status.state).toBe('TASK_STATE_COMPLETED');
    expect(updates.at(-2)!.artifactUpdate.lastChunk).toBe(true);
    expect(textAfter(updates)).toBe('Hello');
  });

  test('the ids of events rise, and are the cursors in their metadata', async () => {
    await using kit = await chat(['Hello there']);
    const updates = await (
      await rpcStream(kit, 'SendStreamingMessage', { message: messageOf('Hi', ID) })
    ).rest();
    const cursors = updates.flatMap(
      ({ artifactUpdate, statusUpdate }) => (artifactUpdate ?? statusUpdate)?.metadata.cursor ?? [],
    );
    expect(updates.slice(1).map(({ sseId }) => Number(sseId))).toEqual(cursors);
    expect([...cursors].sort((a, b) => a - b)).toEqual(cursors);
  });

  test('of one task get the same events, and closing one does not affect the others', async () => {
    const [start, end] = [gate(), gate()];
    await using kit = await chat([{ steps: [start, 'Hel', end, 'lo'] }]);
    const params = { message: messageOf('Hi', ID), configuration: { returnImmediately: true } };
    const { id } = (await rpc(kit, 'SendMessage', params)).result.task;
    const streams = await Promise.all([1, 2, 3].map(() => rpcStream(kit, 'SubscribeToTask', { id })));
    for (const stream of streams) expect((await stream.next())!.task.id).toBe(id);
    start.open();
    for (const stream of streams) expect(textAfter([(await stream.next())!])).toBe('Hel');
    streams[0]!.leave();
    end.open();
    const [second, third] = await Promise.all([streams[1]!.rest(), streams[2]!.rest()]);
    expect(second).toEqual(third);
    expect(textAfter([{ task: { artifacts: [{ parts: [{ text: 'Hel' }] }] } }, ...second])).toBe('Hello');
  });

  test('a client that leaves does not end the turn', async () => {
    const hold = gate();
    await using kit = await chat([{ steps: ['Hel', hold, 'lo'] }]);
    const stream = await rpcStream(kit, 'SendStreamingMessage', { message: messageOf('Hi', ID) });
    const { id } = (await stream.next())!.task;
    stream.leave();
    await hold.reached;
    hold.open();
    const task = await send(kit, messageOf('Hi', ID));
    expect(task.id).toBe(id);
    expect(textIn(task.artifacts)).toBe('Hello');
    expect(kit.model.count).toBe(1);
  });

  test('a subscription to a task that has ended is refused', async () => {
    await using kit = await chat(['Hello']);
    const { id } = await send(kit, messageOf('Hi', ID));
    const { error } = await rpc(kit, 'SubscribeToTask', { id });
    expect(error).toMatchObject({ code: -32004, data: [{ reason: 'UNSUPPORTED_OPERATION' }] });
  });
});

describe('an approval', () => {
  const pay = (ran: string[]) =>
    tool({
      name: 'pay',
      description: 'Pays.',
      parameters: z.object({ to: z.string() }),
      approval: 'always',
      execute: ({ to }) => {
        ran.push(to);
        return `paid ${to}`;
      },
    });
  const withPay = (ran: string[]) =>
    doorKit(a2aDoor, {
      replies: [callTools([{ name: 'pay', arguments: { to: 'Bo' } }]), 'Done.'],
      chat: { tools: new ToolSet([pay(ran)]) },
    });

  test('makes the task input-required, and yes runs the call', async () => {
    const ran: string[] = [];
    await using kit = await withPay(ran);
    const asked = await send(kit, messageOf('Pay Bo', ID));
    expect(asked.status).toMatchObject({
      state: 'TASK_STATE_INPUT_REQUIRED',
      message: {
        parts: [
          { text: 'Approve the call pay({"to":"Bo"})?\nAnswer yes or no.' },
          { data: { approvals: [{ name: 'pay', kind: 'tool', args: { to: 'Bo' } }] } },
        ],
      },
    });
    expect(ran).toEqual([]);
    const { id: taskId, contextId } = asked;
    const unclear = await rpc(kit, 'SendMessage', { message: messageOf('Who is Bo?', OTHER_ID, { taskId }) });
    expect(unclear.error).toMatchObject({ code: -32602 });
    const answer = messageOf('yes', 'answer-000000000001', { taskId });
    const done = await send(kit, answer);
    expect(done).toMatchObject({ id: taskId, contextId, status: { state: 'TASK_STATE_COMPLETED' } });
    expect(textIn(done.artifacts)).toBe('Done.');
    expect(done.history.map(({ role }: { role: string }) => role)).toEqual([
      'ROLE_USER',
      'ROLE_AGENT',
      'ROLE_USER',
    ]);
    expect(await send(kit, answer)).toEqual(done);
    expect(ran).toEqual(['Bo']);
  });

  test('no refuses the call, and its note reaches the model', async () => {
    const ran: string[] = [];
    await using kit = await withPay(ran);
    const { id: taskId } = await send(kit, messageOf('Pay Bo', ID));
    const done = await send(kit, messageOf('No, not today', OTHER_ID, { taskId }));
    expect(done.status.state).toBe('TASK_STATE_COMPLETED');
    expect(ran).toEqual([]);
    expect(JSON.stringify(kit.model.requests[1]!.messages)).toContain('not today');
  });

  test('ends the stream of the message, and a subscription continues to the end of the task', async () => {
    await using kit = await withPay([]);
    const stream = await rpcStream(kit, 'SendStreamingMessage', { message: messageOf('Pay Bo', ID) });
    const updates = await stream.rest();
    expect(statesIn(updates).at(-1)).toBe('INPUT_REQUIRED');
    const { id: taskId } = updates[0]!.task;
    const subscription = await rpcStream(kit, 'SubscribeToTask', { id: taskId });
    expect((await subscription.next())!.task.status.state).toBe('TASK_STATE_INPUT_REQUIRED');
    const data = { approve: true };
    await send(kit, messageOf('', OTHER_ID, { taskId, parts: [{ data }] }));
    expect(statesIn(await subscription.rest())).toEqual(['WORKING', 'COMPLETED']);
  });

  test('of another context is refused', async () => {
    await using kit = await withPay([]);
    const { id: taskId } = await send(kit, messageOf('Pay Bo', ID));
    const message = messageOf('yes', OTHER_ID, { taskId, contextId: 'another' });
    expect((await rpc(kit, 'SendMessage', { message })).error.message).toContain('another context');
  });
});

describe('a task', () => {
  test('that has ended takes no message and cannot be canceled', async () => {
    await using kit = await chat(['Hello']);
    const { id: taskId } = await send(kit, messageOf('Hi', ID));
    const answer = await rpc(kit, 'SendMessage', { message: messageOf('More', OTHER_ID, { taskId }) });
    expect(answer.error).toMatchObject({ code: -32004 });
    expect((await rpc(kit, 'CancelTask', { id: taskId })).error).toMatchObject({
      code: -32002,
      data: [{ reason: 'TASK_NOT_CANCELABLE', domain: 'a2a-protocol.org' }],
    });
  });

  test('is canceled', async () => {
    await using kit = await chat([{ steps: ['Hel', gate()] }]);
    const stream = await rpcStream(kit, 'SendStreamingMessage', { message: messageOf('Hi', ID) });
    const { id } = (await stream.next())!.task;
    await stream.next();
    const { result } = await rpc(kit, 'CancelTask', { id });
    expect(result).toMatchObject({ id, status: { state: 'TASK_STATE_CANCELED' } });
    expect(statesIn(await stream.rest())).toEqual(['CANCELED']);
  });

  test.each(['GetTask', 'CancelTask', 'SubscribeToTask'])(
    '%s: unknown and foreign tasks have the same error',
    async (method) => {
      await using kit = await chat(['Hello']);
      const { id } = await send(kit, messageOf('Hi', ID), ada);
      const foreign = (await rpc(kit, method, { id }, bea)).error;
      const ids = ['task_', 'nonsense', id.slice(0, -4), 'task_WyJjaGF0QGZhbWUuZmFicmljIiwiYyIsInQiXQ'];
      const unknown = await Promise.all(ids.map((one) => rpc(kit, method, { id: one }, ada)));
      for (const { error } of [...unknown, { error: foreign }])
        expect({ ...error, data: [{ ...error.data[0], metadata: {} }] }).toEqual({
          ...foreign,
          data: [{ ...foreign.data[0], metadata: {} }],
        });
      expect(foreign).toMatchObject({ code: -32001, data: [{ reason: 'TASK_NOT_FOUND' }] });
      expect(foreign.message).toBe(unknown[0]!.error.message);
    },
  );
});

describe('ListTasks', () => {
  test('lists the tasks of the caller, latest first, page by page', async () => {
    await using kit = await chat(['1', '2', '3', '4', '5']);
    const mine: string[] = [];
    for (const [index, contextId] of ['x', 'y', 'x', ''].entries()) {
      const task = await send(
        kit,
        messageOf(`m${index}`, `message-00000000-100${index}`, { contextId }),
        ada,
      );
      mine.unshift(task.id);
    }
    await send(kit, messageOf('other', ID), bea);
    const listed: string[] = [];
    let pageToken = '';
    do {
      const { result } = await rpc(kit, 'ListTasks', { pageSize: 3, pageToken }, ada);
      listed.push(...result.tasks.map(({ id }: { id: string }) => id));
      expect(result.tasks.every((task: object) => !('artifacts' in task))).toBe(true);
      expect(result).toMatchObject({ pageSize: 3, nextPageToken: expect.any(String) });
      pageToken = result.nextPageToken;
    } while (pageToken !== '');
    expect(listed.sort()).toEqual(mine.sort());
    const { result } = await rpc(kit, 'ListTasks', { contextId: 'x', includeArtifacts: true }, ada);
    expect(result.tasks.map(({ artifacts }: { artifacts: [] }) => textIn(artifacts))).toEqual(['3', '1']);
    expect(result).toMatchObject({ totalSize: 2, nextPageToken: '' });
  });

  test('filters by state and time', async () => {
    await using kit = await chat(['1', { steps: [{ fail: new Error('broken') }] }]);
    await send(kit, messageOf('a', ID, { contextId: 'x' }));
    await send(kit, messageOf('b', OTHER_ID, { contextId: 'x' }));
    const failed = await rpc(kit, 'ListTasks', { contextId: 'x', status: 'TASK_STATE_FAILED' });
    expect(statesIn(failed.result.tasks.map((task: object) => ({ task })))).toEqual(['FAILED']);
    const later = { contextId: 'x', statusTimestampAfter: '2099-01-01T00:00:00Z' };
    expect((await rpc(kit, 'ListTasks', later)).result.tasks).toEqual([]);
  });

  test('of an unknown context is empty, and invalid parameters are refused', async () => {
    await using kit = await chat([]);
    expect((await rpc(kit, 'ListTasks', { contextId: 'nope' })).result).toEqual({
      tasks: [],
      nextPageToken: '',
      pageSize: 50,
      totalSize: 0,
    });
    for (const wrong of [
      { pageSize: 0 },
      { pageSize: 101 },
      { pageToken: '???' },
      { pageToken: 'AAAA' },
      { status: 'running' },
      { statusTimestampAfter: 'soon' },
      { historyLength: -1 },
      { contextId: 'x'.repeat(257) },
    ])
      expect(
        (await rpc(kit, 'ListTasks', { contextId: 'c', ...wrong })).error.code,
        JSON.stringify(wrong),
      ).toBe(-32602);
  });
});
