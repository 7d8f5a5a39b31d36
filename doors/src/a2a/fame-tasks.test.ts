// Agents with task methods through the A2A door over a fabric in memory.
import { defineAgent, type TaskHandler } from '@fame-fabric/agents';
import { gate } from '@fame-fabric/agents/testing';
import { describe, expect, test } from 'vitest';
import { type Json, messageOf, rpc, rpcStream, statesIn, textAfter } from '../testing/a2a-kit.ts';
import { type DoorKit, doorKit } from '../testing/door-kit.ts';
import { a2aDoor } from './a2a-door.ts';

const ID = 'message-00000000-0001';
const OTHER_ID = 'message-00000000-0002';
const options = { url: '/a2a/worker@fame.fabric' };
const ada = { ...options, headers: { authorization: 'Bearer fk_ada' } };
const bea = { ...options, headers: { authorization: 'Bearer fk_bea' } };

const worker = (start: TaskHandler['start']): Promise<DoorKit> =>
  doorKit(a2aDoor, {
    agents: [defineAgent({ address: 'worker@fame.fabric', description: 'Works.', tasks: { start } })],
  });
const send = async (kit: DoorKit, message: Json, caller = options): Promise<Json> =>
  (await rpc(kit, 'SendMessage', { message }, caller)).result.task;

test('a task has the artifacts, the message and the state of the agent', async () => {
  await using kit = await worker((params, task) => {
    task.progress({ name: 'notes', parts: [{ type: 'text', text: 'one' }] });
    task.progress({ total: 2 });
    task.progress({
      parts: [{ type: 'file', file: { name: 'a.txt', mimeType: 'text/plain', bytes: 'aGk=' } }],
    });
    return `did ${JSON.stringify(params.message.parts)}`;
  });
  const parts = [{ text: 'Go' }, { data: { a: 1 } }, { data: [1] }];
  const task = await send(kit, messageOf('', ID, { parts, metadata: { tag: 'x' } }));
  expect(task).toMatchObject({
    contextId: task.id,
    status: {
      state: 'TASK_STATE_COMPLETED',
      message: {
        role: 'ROLE_AGENT',
        parts: [{ text: expect.stringContaining('{"type":"data","data":{"value":[1]}') }],
      },
    },
    artifacts: [
      { artifactId: 'artifact-0', name: 'notes', parts: [{ text: 'one' }] },
      { artifactId: 'artifact-1', parts: [{ data: { total: 2 } }] },
      { artifactId: 'artifact-2', parts: [{ raw: 'aGk=', filename: 'a.txt', mediaType: 'text/plain' }] },
    ],
  });
  expect(task.history[0]).toMatchObject({ messageId: ID, role: 'ROLE_USER', metadata: { tag: 'x' } });
  expect((await rpc(kit, 'GetTask', { id: task.id, historyLength: 1 }, options)).result.history).toHaveLength(
    1,
  );
});

test('a task that asks for input is answered with a message on the same task', async () => {
  await using kit = await worker(async (_params, task) => {
    const answer = await task.ask('Which one?');
    return { chosen: answer.parts[0] };
  });
  const asked = await send(kit, messageOf('Go', ID, { contextId: 'ctx' }));
  expect(asked).toMatchObject({
    contextId: 'ctx',
    status: { state: 'TASK_STATE_INPUT_REQUIRED', message: { parts: [{ text: 'Which one?' }] } },
  });
  const taskId = asked.id;
  const wrong = messageOf('Red', OTHER_ID, { taskId, contextId: 'another' });
  expect((await rpc(kit, 'SendMessage', { message: wrong }, options)).error.code).toBe(-32602);
  const answer = messageOf('Red', OTHER_ID, { taskId });
  const done = await send(kit, answer);
  expect(done).toMatchObject({ id: taskId, contextId: 'ctx', status: { state: 'TASK_STATE_COMPLETED' } });
  expect(await send(kit, answer)).toEqual(done);
  const late = messageOf('Blue', 'message-00000000-0003', { taskId });
  expect((await rpc(kit, 'SendMessage', { message: late }, options)).error.code).toBe(-32004);
});

test('a message that is sent again runs one task', async () => {
  let runs = 0;
  await using kit = await worker(() => `run ${++runs}`);
  const tasks = await Promise.all([send(kit, messageOf('Go', ID)), send(kit, messageOf('Go', ID))]);
  expect(tasks[0]).toEqual(tasks[1]);
  expect((await send(kit, messageOf('Go', ID))).id).toBe(tasks[0]!.id);
  expect((await send(kit, messageOf('Go on', ID))).id).not.toBe(tasks[0]!.id);
  expect(runs).toBe(2);
});

describe('streams', () => {
  test('have the task first, then every artifact and the final state, once', async () => {
    const hold = gate();
    await using kit = await worker(async (_params, task) => {
      task.progress('a');
      task.progress({ index: 0, append: true, parts: [{ type: 'text', text: 'b' }] });
      await hold.wait;
      task.progress({ index: 0, append: true, parts: [{ type: 'text', text: 'c' }] });
    });
    const stream = await rpcStream(kit, 'SendStreamingMessage', { message: messageOf('Go', ID) }, options);
    const first = (await stream.next())!;
    const subscriptions = await Promise.all(
      [1, 2].map(() => rpcStream(kit, 'SubscribeToTask', { id: first.task.id }, options)),
    );
    const firsts = await Promise.all(subscriptions.map((one) => one.next()));
    hold.open();
    const updates = [first, ...(await stream.rest())];
    expect(statesIn(updates)).toEqual(['WORKING', 'COMPLETED']);
    expect(textAfter(updates)).toBe('abc');
    for (const [index, subscription] of subscriptions.entries()) {
      const all = [firsts[index]!, ...(await subscription.rest())];
      expect(statesIn(all)).toEqual(['WORKING', 'COMPLETED']);
      expect(textAfter(all)).toBe('abc');
    }
  });

  test('of a message end where the task asks for input, and subscriptions do not', async () => {
    await using kit = await worker(async (_params, task) => {
      await task.ask('Well?');
    });
    const message = messageOf('Go', ID);
    const updates = await (await rpcStream(kit, 'SendStreamingMessage', { message }, options)).rest();
    expect(statesIn(updates).at(-1)).toBe('INPUT_REQUIRED');
    const { id: taskId } = updates[0]!.task;
    const subscription = await rpcStream(kit, 'SubscribeToTask', { id: taskId }, options);
    await subscription.next();
    await send(kit, messageOf('Yes', OTHER_ID, { taskId }));
    expect(statesIn(await subscription.rest())).toEqual(['WORKING', 'COMPLETED']);
  });
});

test('a task is canceled once', async () => {
  await using kit = await worker(async (_params, task) => task.ask('Well?'));
  const { id } = await send(kit, messageOf('Go', ID));
  expect((await rpc(kit, 'CancelTask', { id }, options)).result.status.state).toBe('TASK_STATE_CANCELED');
  expect((await rpc(kit, 'CancelTask', { id }, options)).error.code).toBe(-32002);
});

test('the tasks of others are unknown', async () => {
  await using kit = await worker(() => 'done');
  const { id } = await send(kit, messageOf('Go', ID), ada);
  const foreign = (await rpc(kit, 'GetTask', { id }, bea)).error;
  const unknown = (await rpc(kit, 'GetTask', { id: 'nope' }, ada)).error;
  expect(foreign).toMatchObject({ code: -32001, message: unknown.message });
  const message = messageOf('More', OTHER_ID, { taskId: id });
  expect((await rpc(kit, 'SendMessage', { message }, bea)).error.code).toBe(-32001);
});

test('an agent may answer with a message instead of a task', async () => {
  await using kit = await worker(() => ({
    role: 'agent',
    parts: [{ type: 'text', text: 'Short answer' }],
    metadata: { a2aResponse: 'message' },
  }));
  const { result } = await rpc(kit, 'SendMessage', { message: messageOf('Go', ID) }, options);
  expect(result.task).toBeUndefined();
  expect(result.message).toMatchObject({ role: 'ROLE_AGENT', parts: [{ text: 'Short answer' }] });
  expect(result.message.taskId).toBeUndefined();
});

test('version 0.3 has files and data in its own form over HTTP+JSON', async () => {
  await using kit = await worker((_params, task) => {
    task.progress({ total: 2 });
    task.progress({ parts: [{ type: 'file', file: { mimeType: 'text/plain', bytes: 'aGk=' } }] });
    task.progress({ parts: [{ type: 'file', file: { uri: 'https://example.org/a' } }] });
    return 'done';
  });
  const message = { messageId: ID, role: 'ROLE_USER', content: [{ text: 'Go' }] };
  const response = await kit.inject({
    method: 'POST',
    url: `${options.url}/v1/message:send`,
    headers: { 'content-type': 'application/json' },
    payload: { message },
  });
  const { task } = response.json();
  expect(task.artifacts.flatMap(({ parts }: Json) => parts)).toEqual([
    { data: { data: { total: 2 } } },
    { file: { fileWithBytes: 'aGk=', mimeType: 'text/plain' } },
    { file: { fileWithUri: 'https://example.org/a' } },
  ]);
  expect(task.status.message).toMatchObject({ role: 'ROLE_AGENT', content: [{ text: 'done' }] });
});

test('files are refused before the agent is called', async () => {
  await using kit = await worker(() => 'done');
  const message = messageOf('', ID, {
    parts: [{ url: 'https://example.org/a.png', mediaType: 'image/png' }],
  });
  expect((await rpc(kit, 'SendMessage', { message }, options)).error.code).toBe(-32005);
});

describe('ListTasks', () => {
  test('has the tasks of the caller, page by page', async () => {
    await using kit = await worker(() => 'done');
    const ids: string[] = [];
    for (let n = 0; n < 5; n++) {
      const contextId = n === 2 ? 'ctx' : '';
      ids.push((await send(kit, messageOf(`${n}`, `message-00000000-100${n}`, { contextId }), ada)).id);
    }
    await send(kit, messageOf('other', ID), bea);
    const listed: string[] = [];
    let pageToken = '';
    do {
      const { result } = await rpc(kit, 'ListTasks', { pageSize: 2, pageToken }, ada);
      listed.push(...result.tasks.map(({ id }: Json) => id));
      expect(result).toMatchObject({ pageSize: 2, totalSize: 5 });
      pageToken = result.nextPageToken;
    } while (pageToken !== '');
    expect(listed.toSorted()).toEqual(ids.toSorted());
    const { result } = await rpc(kit, 'ListTasks', { contextId: 'ctx' }, ada);
    expect(result.tasks.map(({ id }: Json) => id)).toEqual([ids[2]]);
    const failed = await rpc(kit, 'ListTasks', { status: 'TASK_STATE_FAILED' }, ada);
    expect(failed.result).toMatchObject({ tasks: [], nextPageToken: '' });
  });
});

describe('push notifications', () => {
  const url = 'https://hooks.example.com/a2a';
  const config = (id: string, fields: Json = {}): Json => ({ id, url, token: 'tok', ...fields });
  const asking = () => worker(async (_params, task) => task.ask('Well?'));

  test('are in the card, and their configurations are kept by the agent', async () => {
    await using kit = await asking();
    const card = (await kit.inject({ url: '/a2a/worker@fame.fabric/.well-known/agent-card.json' })).json();
    expect(card.capabilities.pushNotifications).toBe(true);
    const authentication = { scheme: 'Bearer', credentials: 'secret' };
    const configuration = { taskPushNotificationConfig: config('first', { authentication }) };
    const sent = await rpc(kit, 'SendMessage', { message: messageOf('Go', ID), configuration }, options);
    const { id: taskId } = sent.result.task;
    const created = await rpc(kit, 'CreateTaskPushNotificationConfig', { taskId, url }, options);
    expect(created.result).toEqual({ id: expect.stringMatching(/./), taskId, url });
    const first = { ...config('first'), taskId, authentication };
    const get = (id: string) => rpc(kit, 'GetTaskPushNotificationConfig', { taskId, id }, options);
    expect((await get('first')).result).toEqual(first);
    expect((await get('nope')).error.code).toBe(-32001);
    const listed = await rpc(kit, 'ListTaskPushNotificationConfigs', { taskId }, options);
    expect(listed.result.configs).toEqual([first, created.result]);
    for (let n = 0; n < 2; n++)
      expect(await rpc(kit, 'DeleteTaskPushNotificationConfig', { taskId, id: 'first' }, options)).toEqual({
        jsonrpc: '2.0',
        id: 1,
        result: null,
      });
    expect((await get('first')).error.code).toBe(-32001);
  });

  test('over HTTP+JSON', async () => {
    await using kit = await asking();
    const { id } = await send(kit, messageOf('Go', ID));
    const base = `${options.url}/v1/tasks/${id}/pushNotificationConfigs`;
    const headers = { 'a2a-version': '1.0', 'content-type': 'application/json' };
    const payload = JSON.stringify(config('one'));
    expect((await kit.inject({ method: 'POST', url: base, headers, payload })).statusCode).toBe(201);
    expect((await kit.inject({ url: base, headers })).json().configs).toHaveLength(1);
    expect((await kit.inject({ url: `${base}/one`, headers })).json()).toEqual({
      ...config('one'),
      taskId: id,
    });
    expect(
      (await kit.inject({ method: 'DELETE', url: `${base}/one`, headers: { 'a2a-version': '1.0' } }))
        .statusCode,
    ).toBe(204);
    expect((await kit.inject({ url: `${base}/one`, headers })).statusCode).toBe(404);
  });

  test('over HTTP+JSON of version 0.3', async () => {
    await using kit = await asking();
    const { id } = await send(kit, messageOf('Go', ID));
    const base = `${options.url}/v1/tasks/${id}/pushNotificationConfigs`;
    const headers = { 'a2a-version': '0.3', 'content-type': 'application/json' };
    const authentication = { schemes: ['Bearer'], credentials: 'secret' };
    const payload = { pushNotificationConfig: { ...config('one'), authentication } };
    const created = await kit.inject({ method: 'POST', url: base, headers, payload });
    const expected = { name: `tasks/${id}/pushNotificationConfigs/one`, ...payload };
    expect([created.statusCode, created.json()]).toEqual([201, expected]);
    expect((await kit.inject({ url: base, headers })).json()).toEqual({ configs: [expected] });
    expect((await kit.inject({ url: `${base}/one`, headers })).json()).toEqual(expected);
    expect(
      (await kit.inject({ method: 'DELETE', url: `${base}/one`, headers: { 'a2a-version': '0.3' } }))
        .statusCode,
    ).toBe(204);
  });

  test.each<[string, Json]>([
    ['a private address', { url: 'https://192.168.0.1/' }],
    ['plain HTTP', { url: 'http://hooks.example.com/' }],
    ['an address of the fabric', { url: 'receiver@fame.fabric' }],
    ['no URL', { url: '' }],
    ['a long URL', { url: `https://hooks.example.com/${'x'.repeat(2_048)}` }],
    ['a scheme with a line break', { authentication: { scheme: 'Bearer\r\nx: y', credentials: 'c' } }],
    ['long credentials', { authentication: { scheme: 'Bearer', credentials: 'c'.repeat(4_097) } }],
  ])('to %s are refused', async (_name, fields) => {
    await using kit = await asking();
    const { id: taskId } = await send(kit, messageOf('Go', ID));
    const { error } = await rpc(
      kit,
      'CreateTaskPushNotificationConfig',
      { taskId, ...config('x'), ...fields },
      options,
    );
    expect(error.code).toBe(-32602);
  });

  test('of a foreign task are unknown', async () => {
    await using kit = await asking();
    const { id: taskId } = await send(kit, messageOf('Go', ID), ada);
    for (const method of [
      'CreateTaskPushNotificationConfig',
      'ListTaskPushNotificationConfigs',
      'DeleteTaskPushNotificationConfig',
    ])
      expect((await rpc(kit, method, { taskId, ...config('x') }, bea)).error.code, method).toBe(-32001);
  });
});
