// The Tasks extension: a turn that outlives the request of its client.
import { ToolSet, tool } from '@fame-fabric/agents';
import { callChunks, gate } from '@fame-fabric/agents/testing';
import { expect, test } from 'vitest';
import { z } from 'zod';
import { type DoorKit, doorKit } from '../testing.ts';
import { mcpDoor } from './mcp-door.ts';

const META = {
  'io.modelcontextprotocol/protocolVersion': '2026-07-28',
  'io.modelcontextprotocol/clientInfo': { name: 'test', version: '1.0.0' },
};
const TASKS = { extensions: { 'io.modelcontextprotocol/tasks': {} } };

/** Sends a request. Returns the status and the message. */
async function post(
  kit: DoorKit,
  method: string,
  params: Record<string, unknown>,
  { capabilities = TASKS as object, as = 'ada' } = {},
) {
  const name = params.name ?? params.taskId;
  const response = await kit.inject({
    method: 'POST',
    url: '/mcp',
    headers: {
      authorization: `Bearer fk_${as}`,
      accept: 'application/json, text/event-stream',
      'mcp-protocol-version': '2026-07-28',
      'mcp-method': method,
      ...(typeof name === 'string' ? { 'mcp-name': name } : {}),
    },
    payload: {
      jsonrpc: '2.0',
      id: 1,
      method,
      params: { ...params, _meta: { ...META, 'io.modelcontextprotocol/clientCapabilities': capabilities } },
    },
  });
  const { result, error } = response.json();
  return { status: response.statusCode, result, error };
}

const ask = { name: 'ask_agent', arguments: { message: 'Hi' } };

test('a turn that takes long is a task, and the task has the result in the end', async () => {
  const pause = gate();
  await using kit = await doorKit(mcpDoor, { replies: [['One', pause, ' two']] });
  const { result: task } = await post(kit, 'tools/call', ask);
  expect(task).toMatchObject({ resultType: 'task', status: 'working', ttlMs: null, pollIntervalMs: 1_000 });
  expect(task).not.toHaveProperty('content');
  const { taskId } = task;
  expect((await post(kit, 'tasks/get', { taskId })).result).toMatchObject({
    resultType: 'complete',
    status: 'working',
  });
  pause.open();
  await expect.poll(async () => (await post(kit, 'tasks/get', { taskId })).result.status).toBe('completed');
  expect((await post(kit, 'tasks/get', { taskId })).result.result).toMatchObject({
    content: [{ type: 'text', text: 'One two' }],
    structuredContent: { answer: 'One two', state: 'completed' },
  });
});

test('a short turn is answered directly', async () => {
  await using kit = await doorKit(mcpDoor, { replies: ['Hello'] });
  const { result } = await post(kit, 'tools/call', ask);
  expect(result).toMatchObject({ resultType: 'complete', content: [{ text: 'Hello' }] });
});

test('a client that does not declare the extension gets no task and may not ask for one', async () => {
  await using kit = await doorKit(mcpDoor, { replies: ['Hello'] });
  const { status, error } = await post(kit, 'tasks/get', { taskId: 'task_x' }, { capabilities: {} });
  expect(status).toBe(400);
  expect(error).toMatchObject({
    code: -32021,
    data: { requiredCapabilities: { extensions: { 'io.modelcontextprotocol/tasks': {} } } },
  });
});

test('tasks/cancel cancels the turn', async () => {
  const pause = gate();
  await using kit = await doorKit(mcpDoor, { replies: [['One', pause]] });
  const { taskId } = (await post(kit, 'tools/call', ask)).result;
  expect((await post(kit, 'tasks/cancel', { taskId })).result).toMatchObject({ resultType: 'complete' });
  await expect.poll(async () => (await post(kit, 'tasks/get', { taskId })).result.status).toBe('cancelled');
  expect((await post(kit, 'tasks/cancel', { taskId })).error).toBeUndefined();
});

test('a task of another principal does not exist', async () => {
  const pause = gate();
  await using kit = await doorKit(mcpDoor, { replies: [['One', pause]] });
  const { taskId } = (await post(kit, 'tools/call', ask)).result;
  for (const method of ['tasks/get', 'tasks/cancel', 'tasks/update'])
    expect((await post(kit, method, { taskId, inputResponses: {} }, { as: 'bea' })).error).toMatchObject({
      code: -32602,
      message: 'Task not found',
    });
  expect((await post(kit, 'tasks/get', { taskId: 'task_x' })).error).toMatchObject({ code: -32602 });
  expect((await post(kit, 'tasks/get', { taskId })).result.status).toBe('working');
});

test('a task asks a person, and tasks/update has the answer', async () => {
  const paid: number[] = [];
  const pay = tool({
    name: 'pay',
    description: 'Pays.',
    parameters: z.object({ usd: z.number() }),
    approval: 'always',
    execute({ usd }) {
      paid.push(usd);
      return 'paid';
    },
  });
  const pause = gate();
  await using kit = await doorKit(mcpDoor, {
    replies: [['Wait. ', pause, ...callChunks({ name: 'pay', arguments: { usd: 7 } })], 'Done'],
    chat: { tools: new ToolSet([pay]) },
  });
  const capabilities = { ...TASKS, elicitation: {} };
  const { taskId } = (await post(kit, 'tools/call', ask, { capabilities })).result;
  pause.open();
  const get = async () => (await post(kit, 'tasks/get', { taskId }, { capabilities })).result;
  await expect.poll(async () => (await get()).status).toBe('input_required');
  const [callId] = Object.keys((await get()).inputRequests);
  expect((await get()).inputRequests[callId!]).toMatchObject({ method: 'elicitation/create' });
  const inputResponses = {
    other: { action: 'accept' },
    [callId!]: { action: 'accept', content: { approve: true } },
  };
  expect(
    (await post(kit, 'tasks/update', { taskId, inputResponses }, { capabilities })).error,
  ).toBeUndefined();
  await expect.poll(async () => (await get()).status).toBe('completed');
  expect(paid).toEqual([7]);
});
