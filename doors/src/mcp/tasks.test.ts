// The Tasks extension: turns and tasks of agents that outlive the request of their client.
import { defineAgent, ToolSet, tool } from '@fame-fabric/agents';
import { callChunks, gate } from '@fame-fabric/agents/testing';
import { systemClock } from '@fame-fabric/shared';
import { describe, expect, test } from 'vitest';
import { z } from 'zod';
import { makeDoorApp } from '../door-app.ts';
import { DEFAULT_DOOR_OPTIONS } from '../doors.ts';
import { type DoorKit, doorKit } from '../testing.ts';
import { mcpDoor } from './mcp-door.ts';
import { ERAS, mcpClient } from './testing/mcp-client.ts';

const META = {
  'io.modelcontextprotocol/protocolVersion': '2026-07-28',
  'io.modelcontextprotocol/clientInfo': { name: 'test', version: '1.0.0' },
};
const TASKS = { extensions: { 'io.modelcontextprotocol/tasks': {} } };

/** Sends a request. Returns the status and the message. */
async function post(
  kit: Pick<DoorKit, 'inject'>,
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

test('a long turn is a task, and the task has the result at the end', async () => {
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

test('another door answers for a task', async () => {
  const pause = gate();
  await using kit = await doorKit(mcpDoor, { replies: [['One', pause, ' two']] });
  const { taskId } = (await post(kit, 'tools/call', ask)).result;
  const deps = { fabric: kit.fabric, options: DEFAULT_DOOR_OPTIONS, clock: systemClock, log: kit.log };
  const origins = kit.sentinel.host.origins;
  const other = await makeDoorApp(
    { door: mcpDoor, plugin: mcpDoor.plugin(deps), origins, log: kit.log },
    DEFAULT_DOOR_OPTIONS,
  );
  expect((await post(other, 'tasks/get', { taskId })).result.status).toBe('working');
  pause.open();
  await expect.poll(async () => (await post(other, 'tasks/get', { taskId })).result.status).toBe('completed');
  await other.close();
});

test('a short turn is answered directly', async () => {
  await using kit = await doorKit(mcpDoor, { replies: ['Hello'] });
  const { result } = await post(kit, 'tools/call', ask);
  expect(result).toMatchObject({ resultType: 'complete', content: [{ text: 'Hello' }] });
});

test('a client that does not declare the extension gets no task and cannot request one', async () => {
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

test('a task asks a person, and tasks/update sends the answer', async () => {
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

describe('an agent with task methods', () => {
  const order = (pause = gate()) => {
    const agent = defineAgent({
      address: 'order@fame.fabric',
      description: 'Orders an article.',
      tasks: {
        async start({ message }, task) {
          task.progress('Looking');
          pause.arrive?.();
          await Promise.race([
            pause.wait,
            new Promise((_, reject) => task.signal.addEventListener('abort', reject)),
          ]);
          const answer = await task.ask('Which color?');
          return { ordered: message.parts[0], answer: answer.parts[0] };
        },
      },
    });
    return { agent, pause };
  };
  const call = { name: 'order', arguments: { message: 'a lamp' } };
  const text = (value: string) => ({ type: 'text', text: value });

  test.each(ERAS)('is a tool that asks with a form: %s', async (era) => {
    const { agent, pause } = order();
    pause.open();
    await using kit = await doorKit(mcpDoor, { agents: [agent] });
    await using mcp = await mcpClient(kit, { era, as: 'ada', capabilities: { elicitation: {} } });
    const asked: string[] = [];
    mcp.client.setRequestHandler('elicitation/create', ({ params }) => {
      asked.push(params.message);
      return { action: 'accept', content: { answer: 'red' } };
    });
    await mcp.client.connect(mcp.transport);
    const result = await mcp.client.callTool(call);
    expect(asked).toEqual(['Which color?']);
    expect(result.structuredContent).toEqual({ ordered: text('a lamp'), answer: text('red') });
  });

  test.each(ERAS)('is answered by a second call of a client without forms: %s', async (era) => {
    const { agent, pause } = order();
    pause.open();
    await using kit = await doorKit(mcpDoor, { agents: [agent] });
    await using mcp = await mcpClient(kit, { era, as: 'ada' });
    await mcp.client.connect(mcp.transport);
    const { structuredContent } = await mcp.client.callTool(call);
    expect(structuredContent).toMatchObject({ state: 'input-required', question: 'Which color?' });
    const { task_id } = structuredContent as { task_id: string };
    const result = await mcp.client.callTool({ name: 'order', arguments: { message: 'blue', task_id } });
    expect(result.structuredContent).toEqual({ ordered: text('a lamp'), answer: text('blue') });
  });

  test('is a task for a client that polls, and only for its principal', async () => {
    const { agent, pause } = order();
    await using kit = await doorKit(mcpDoor, { agents: [agent] });
    const capabilities = { ...TASKS, elicitation: {} };
    const { taskId, status } = (await post(kit, 'tools/call', call, { capabilities })).result;
    expect(status).toBe('working');
    const get = async () => (await post(kit, 'tasks/get', { taskId }, { capabilities })).result;
    expect((await post(kit, 'tasks/get', { taskId }, { as: 'bea' })).error).toMatchObject({ code: -32602 });
    pause.open();
    await expect.poll(async () => (await get()).status).toBe('input_required');
    const [key] = Object.keys((await get()).inputRequests);
    const inputResponses = { [key!]: { action: 'accept', content: { answer: 'red' } } };
    await post(kit, 'tasks/update', { taskId, inputResponses }, { capabilities });
    await expect.poll(async () => (await get()).status).toBe('completed');
    expect((await get()).result.structuredContent).toMatchObject({ answer: text('red') });
  });

  test('tasks/cancel cancels it, also twice', async () => {
    const { agent } = order();
    await using kit = await doorKit(mcpDoor, { agents: [agent] });
    const { taskId } = (await post(kit, 'tools/call', call)).result;
    for (let i = 0; i < 2; i++) expect((await post(kit, 'tasks/cancel', { taskId })).error).toBeUndefined();
    expect((await post(kit, 'tasks/get', { taskId })).result.status).toBe('cancelled');
  });

  test('a client that cancels its call cancels the task', async () => {
    const { agent } = order();
    await using kit = await doorKit(mcpDoor, { agents: [agent] });
    await using mcp = await mcpClient(kit, { era: '2026-07-28', as: 'ada' });
    await mcp.client.connect(mcp.transport);
    const stop = new AbortController();
    const started = Promise.withResolvers<unknown>();
    const key = { 'fame/idempotency_key': 'k1' };
    const cancelled = mcp.client.callTool(
      { ...call, _meta: key },
      { signal: stop.signal, onprogress: started.resolve },
    );
    await started.promise;
    stop.abort();
    await expect(cancelled).rejects.toThrow();
    await expect
      .poll(async () => (await mcp.client.callTool({ ...call, _meta: key })).content)
      .toEqual([expect.objectContaining({ text: expect.stringContaining('TASK_FAILED') })]);
  });
});
