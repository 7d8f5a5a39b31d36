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

test('files are refused before the agent is called', async () => {
  await using kit = await worker(() => 'done');
  const message = messageOf('', ID, {
    parts: [{ url: 'https://example.org/a.png', mediaType: 'image/png' }],
  });
  expect((await rpc(kit, 'SendMessage', { message }, options)).error.code).toBe(-32005);
});

test('an agent without tasks supports no messages', async () => {
  await using kit = await doorKit(a2aDoor, { agents: [defineAgent({ address: 'worker@fame.fabric' })] });
  const { error } = await rpc(kit, 'SendMessage', { message: messageOf('Go', ID) }, options);
  expect(error).toMatchObject({ code: -32004, data: [{ metadata: { code: expect.any(String) } }] });
});
