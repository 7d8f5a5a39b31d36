// The bindings of the A2A door: JSON-RPC, HTTP+JSON, version 0.3, cards, and hostile input.
import { reply, type Scripted } from '@fame-fabric/agents/testing';
import { describe, expect, test } from 'vitest';
import { type Json, messageOf, readUpdates, rpc, statesIn, textAfter, textIn } from '../testing/a2a-kit.ts';
import { type DoorKit, type DoorKitOptions, doorKit } from '../testing/door-kit.ts';
import { a2aDoor } from './a2a-door.ts';

const ID = 'message-00000000-0001';
const CHAT = '/a2a/chat@fame.fabric';
const V1 = { 'a2a-version': '1.0' };
const V3 = { 'a2a-version': '0.3' };
const forever: Scripted = { ...reply('Hello there'), times: Number.POSITIVE_INFINITY };

const chat = (options: DoorKitOptions = {}): Promise<DoorKit> =>
  doorKit(a2aDoor, { replies: [forever], ...options });
const post = (kit: DoorKit, url: string, payload: unknown, headers: Json = V1) =>
  kit.inject({
    method: 'POST',
    url,
    headers: { 'content-type': 'application/json', ...headers },
    payload: typeof payload === 'string' ? payload : JSON.stringify(payload),
  });
const get = (kit: DoorKit, url: string, headers: Json = V1) => kit.inject({ url, headers });

describe('JSON-RPC', () => {
  test.each(['/a2a', '/a2a/', CHAT, `${CHAT}/`, '/a2a/chat', '/a2a/chat%40fame.fabric'])(
    '%s is the chat agent',
    async (url) => {
      await using kit = await chat();
      const { result } = await rpc(kit, 'SendMessage', { message: messageOf('Hi', ID) }, { url });
      expect(result.task.status.state).toBe('TASK_STATE_COMPLETED');
    },
  );

  test.each<[string, unknown, number]>([
    ['no JSON', '{"jsonrpc":', -32700],
    ['no object', '7', -32600],
    ['a batch', [{ jsonrpc: '2.0', id: 1, method: 'GetTask', params: {} }], -32600],
    ['another version of JSON-RPC', { jsonrpc: '1.0', id: 1, method: 'GetTask' }, -32600],
    ['an id of another type', { jsonrpc: '2.0', id: {}, method: 'GetTask' }, -32600],
    ['no method', { jsonrpc: '2.0', id: 1 }, -32600],
    ['an unknown method', { jsonrpc: '2.0', id: 1, method: 'Nope', params: {} }, -32601],
    ['no params', { jsonrpc: '2.0', id: 1, method: 'GetTask' }, -32602],
    ['an empty id of a task', { jsonrpc: '2.0', id: 1, method: 'GetTask', params: { id: ' ' } }, -32602],
    [
      'a long id of a task',
      { jsonrpc: '2.0', id: 1, method: 'GetTask', params: { id: 'x'.repeat(1_025) } },
      -32602,
    ],
    ['no message', { jsonrpc: '2.0', id: 1, method: 'SendMessage', params: {} }, -32602],
    [
      'push notifications',
      { jsonrpc: '2.0', id: 1, method: 'ListTaskPushNotificationConfigs', params: { taskId: 't' } },
      -32003,
    ],
    ['the extended card', { jsonrpc: '2.0', id: 1, method: 'GetExtendedAgentCard' }, -32004],
  ])('%s is refused', async (_name, payload, code) => {
    await using kit = await chat();
    const response = await post(kit, '/a2a', payload);
    expect(response.statusCode).toBe(200);
    expect(response.json()).toMatchObject({ jsonrpc: '2.0', error: { code, message: expect.any(String) } });
    expect(kit.log.lines.filter(({ level }) => level === 'error')).toEqual([]);
  });

  test.each<[string, Json, string]>([
    ['no id', { messageId: '' }, 'messageId'],
    ['a long id', { messageId: 'x'.repeat(257) }, 'messageId'],
    ['a long context', { contextId: 'x'.repeat(257) }, 'contextId'],
    ['no parts', { parts: [] }, 'parts'],
    ['too many parts', { parts: Array.from({ length: 101 }, () => ({ text: 'x' })) }, 'parts'],
    ['an empty part', { parts: [{}] }, 'parts[0]'],
    ['the role of the agent', { role: 'ROLE_AGENT' }, 'role'],
    ['an unknown role', { role: 'user' }, 'role'],
    ['an unknown task', { taskId: 'nope' }, 'no task'],
  ])('a message with %s is refused', async (_name, fields, text) => {
    await using kit = await chat();
    const { error } = await rpc(kit, 'SendMessage', { message: messageOf('Hi', ID, fields) });
    expect(error.message).toContain(text);
    expect(error.data[0]).toMatchObject({ '@type': 'type.googleapis.com/google.rpc.ErrorInfo' });
    expect(kit.model.count).toBe(0);
  });

  test('an unknown version is refused, and a patch number is ignored', async () => {
    await using kit = await chat();
    const send = (version: string) =>
      rpc(kit, 'SendMessage', { message: messageOf('Hi', ID) }, { headers: { 'a2a-version': version } });
    for (const version of ['99.0', '1', 'x'.repeat(500)])
      expect((await send(version)).error).toMatchObject({
        code: -32009,
        data: [{ reason: 'VERSION_NOT_SUPPORTED' }],
      });
    expect((await send('1.0.7')).result.task.status.state).toBe('TASK_STATE_COMPLETED');
  });

  test('the version may be a parameter of the query', async () => {
    await using kit = await chat();
    const payload = {
      jsonrpc: '2.0',
      id: 1,
      method: 'SendMessage',
      params: { message: messageOf('Hi', ID) },
    };
    const response = await post(kit, '/a2a?A2A-Version=1.0', payload, {});
    expect(response.json().result.task.status.state).toBe('TASK_STATE_COMPLETED');
  });

  test('another content type is refused with ContentTypeNotSupported', async () => {
    await using kit = await chat();
    const response = await post(kit, '/a2a', '{}', { ...V1, 'content-type': 'text/plain' });
    expect(response.statusCode).toBe(415);
    expect(response.json().error).toMatchObject({ code: -32005 });
  });

  test('a body that is too large is refused', async () => {
    await using kit = await chat({ options: { bodyBytes: 1_000 } });
    const response = await post(kit, '/a2a', { text: 'x'.repeat(2_000) });
    expect(response.statusCode).toBe(413);
    expect(response.json().error.details[0].metadata).toEqual({ code: 'MESSAGE_TOO_LARGE' });
  });

  test.each([
    ['SendMessage', '', 'send the header A2A-Version: 1.0.'],
    ['message/send', '1.0', 'send the header A2A-Version: 0.3.'],
  ])('the method %s with the version "%s" is refused with the fix', async (method, version, fix) => {
    await using kit = await chat();
    const headers = { 'content-type': 'application/json', 'a2a-version': version };
    const payload = { jsonrpc: '2.0', id: 1, method, params: {} };
    const response = await kit.inject({ method: 'POST', url: '/a2a', headers, payload });
    expect(response.json()).toMatchObject({
      id: 1,
      error: { code: -32601, message: expect.stringContaining(fix) },
    });
  });

  test('an unknown agent is not found', async () => {
    await using kit = await chat();
    const response = await post(kit, '/a2a/missing@fame.fabric', {
      jsonrpc: '2.0',
      id: 1,
      method: 'GetTask',
      params: {},
    });
    expect(response.statusCode).toBe(404);
  });

  test('a caller without a credential is refused where the gate asks for one', async () => {
    await using kit = await chat({ isCredentialNeeded: true });
    const payload = {
      jsonrpc: '2.0',
      id: 1,
      method: 'SendMessage',
      params: { message: messageOf('Hi', ID) },
    };
    const refused = await post(kit, '/a2a', payload);
    expect(refused.statusCode).toBe(401);
    expect(refused.headers['www-authenticate']).toBe('Bearer');
    const allowed = await post(kit, '/a2a', payload, { ...V1, 'x-api-key': 'fk_ada' });
    expect(allowed.json().result.task.status.state).toBe('TASK_STATE_COMPLETED');
  });
});

describe('version 0.3', () => {
  const message = { kind: 'message', messageId: ID, role: 'user', parts: [{ kind: 'text', text: 'Hi' }] };
  const call = async (kit: DoorKit, method: string, params: Json, headers: Json = V3) =>
    (await post(kit, '/a2a', { jsonrpc: '2.0', id: 1, method, params }, headers)).json();

  test.each([
    ['the header 0.3', V3],
    ['no header', {}],
  ])('is served with %s', async (_name, headers) => {
    await using kit = await chat();
    const { result } = await call(kit, 'message/send', { message }, headers);
    expect(result).toMatchObject({
      kind: 'task',
      status: { state: 'completed' },
      artifacts: [{ parts: [{ kind: 'text', text: 'Hello there' }] }],
    });
    expect((await call(kit, 'tasks/get', { id: result.id }, headers)).result.id).toBe(result.id);
    expect((await call(kit, 'tasks/cancel', { id: result.id }, headers)).error.code).toBe(-32002);
    expect((await call(kit, 'tasks/get', { id: 'nope' }, headers)).error.code).toBe(-32001);
    expect((await call(kit, 'SendMessage', { message }, headers)).error.code).toBe(-32601);
  });

  test('streams', async () => {
    await using kit = await chat();
    const payload = { jsonrpc: '2.0', id: 1, method: 'message/stream', params: { message } };
    const response = await kit.inject({
      method: 'POST',
      url: '/a2a',
      headers: V3,
      payload,
      payloadAsStream: true,
    });
    const events = await readUpdates(response.stream()).rest();
    expect(events.map(({ kind }) => kind)).toContain('task');
    expect(events.at(-1)).toMatchObject({ kind: 'task' });
  });
});

describe('HTTP+JSON', () => {
  const base = `${CHAT}/v1`;
  const send = async (kit: DoorKit, fields: Json = {}) =>
    (await post(kit, `${base}/message:send`, { message: messageOf('Hi', ID), ...fields })).json().task;

  test('sends, gets, lists and refuses to cancel', async () => {
    await using kit = await chat();
    const sent = await post(kit, `${base}/message:send`, { message: messageOf('Hi', ID) });
    expect([sent.statusCode, sent.headers['content-type']]).toEqual([
      200,
      expect.stringContaining('application/json'),
    ]);
    const { task } = sent.json();
    expect(textIn(task.artifacts)).toBe('Hello there');
    const got = await get(kit, `${base}/tasks/${task.id}?historyLength=0`);
    expect(got.json()).toEqual({ ...task, history: undefined });
    const listed = await get(
      kit,
      `${base}/tasks?contextId=${task.contextId}&pageSize=10&includeArtifacts=true`,
    );
    expect(listed.json()).toMatchObject({
      tasks: [{ id: task.id }],
      nextPageToken: '',
      pageSize: 10,
      totalSize: 1,
    });
    const canceled = await post(kit, `${base}/tasks/${task.id}:cancel`, '');
    expect(canceled.statusCode).toBe(400);
    expect(canceled.json().error.details[0].reason).toBe('TASK_NOT_CANCELABLE');
    expect((await post(kit, `${base}/tasks/${task.id}:subscribe`, '')).json().error.details[0].reason).toBe(
      'UNSUPPORTED_OPERATION',
    );
  });

  test('streams', async () => {
    await using kit = await chat();
    const response = await kit.inject({
      method: 'POST',
      url: `${base}/message:stream`,
      headers: { ...V1, 'content-type': 'application/a2a+json' },
      payload: JSON.stringify({ message: messageOf('Hi', ID) }),
      payloadAsStream: true,
    });
    expect(response.headers['content-type']).toContain('text/event-stream');
    const updates = await readUpdates(response.stream()).rest();
    expect(Object.keys(updates[0]!)).toEqual(['task']);
    expect(statesIn(updates).at(-1)).toBe('COMPLETED');
    expect(textAfter(updates)).toBe('Hello there');
  });

  test('answers in the media type of A2A where the client uses it', async () => {
    await using kit = await chat();
    const { id } = await send(kit);
    const typed = await get(kit, `${base}/tasks/${id}`, { ...V1, accept: 'application/a2a+json' });
    expect(typed.headers['content-type']).toContain('application/a2a+json');
  });

  test.each<[string, string, string, number, string, string?]>([
    ['an unknown task', 'GET', '/tasks/nope', 404, 'TASK_NOT_FOUND'],
    ['an unknown task to cancel', 'POST', '/tasks/nope:cancel', 404, 'TASK_NOT_FOUND'],
    ['an unknown task to subscribe to', 'POST', '/tasks/nope:subscribe', 404, 'TASK_NOT_FOUND'],
    ['a body that is not JSON', 'POST', '/message:send', 400, 'INVALID_PARAMS', '{'],
    [
      'a part without an object',
      'POST',
      '/message:send',
      400,
      'INVALID_PARAMS',
      '{"message":{"parts":[null]}}',
    ],
    [
      'an id of a wrong type',
      'POST',
      '/message:send',
      400,
      'INVALID_PARAMS',
      '{"message":{"contextId":{"toString":1}}}',
    ],
    ['a page that is too large', 'GET', '/tasks?pageSize=1000', 400, 'INVALID_PARAMS'],
    ['an invalid number', 'GET', '/tasks/x?historyLength=many', 400, 'INVALID_PARAMS'],
    ['push notifications', 'GET', '/tasks/x/pushNotificationConfigs', 400, 'PUSH_NOTIFICATION_NOT_SUPPORTED'],
    [
      'one push notification',
      'DELETE',
      '/tasks/x/pushNotificationConfigs/1',
      400,
      'PUSH_NOTIFICATION_NOT_SUPPORTED',
    ],
    ['the extended card', 'GET', '/extendedAgentCard', 400, 'UNSUPPORTED_OPERATION'],
    ['an unknown operation', 'POST', '/message:shout', 404, 'INTERNAL_ERROR'],
  ])('%s is refused', async (_name, method, path, status, reason, payload) => {
    await using kit = await chat();
    const headers = { ...V1, ...(method === 'POST' ? { 'content-type': 'application/json' } : {}) };
    const response = await kit.inject({
      method: method as 'GET',
      url: base + path,
      headers,
      ...(payload ? { payload } : {}),
    });
    expect(response.statusCode).toBe(status);
    expect(response.json().error).toMatchObject({
      code: status,
      details: [{ reason, domain: 'a2a-protocol.org' }],
    });
  });

  test('refuses other versions and content types', async () => {
    await using kit = await chat();
    const refused = await post(kit, `${base}/message:send`, '{}', { 'a2a-version': '99.0' });
    expect(refused.statusCode).toBe(400);
    expect(refused.json().error.details[0].reason).toBe('VERSION_NOT_SUPPORTED');
    const response = await post(kit, `${base}/message:send`, '{}', { ...V1, 'content-type': 'text/plain' });
    expect(response.statusCode).toBe(415);
    expect(response.json().error.details[0].reason).toBe('CONTENT_TYPE_NOT_SUPPORTED');
  });
});

describe('HTTP+JSON of version 0.3', () => {
  const base = `${CHAT}/v1`;
  const message = {
    messageId: ID,
    role: 'ROLE_USER',
    content: [{ text: 'Hi' }, { data: { data: { a: 1 } } }],
  };

  test.each([
    ['the header 0.3', V3],
    ['no header', {}],
  ])('is served with %s', async (_name, headers) => {
    await using kit = await chat();
    const configuration = { blocking: true };
    const sent = await post(kit, `${base}/message:send`, { message, configuration }, headers);
    expect(sent.headers['content-type']).toContain('application/json');
    const { task } = sent.json();
    expect(task).toMatchObject({
      status: { state: 'TASK_STATE_COMPLETED' },
      artifacts: [{ artifactId: 'answer', parts: [{ text: 'Hello there' }] }],
      history: [{ messageId: ID, role: 'ROLE_USER', content: [{ text: 'Hi\n{"a":1}' }] }],
    });
    expect((await get(kit, `${base}/tasks/${task.id}`, headers)).json()).toEqual(task);
    const canceled = await post(kit, `${base}/tasks/${task.id}:cancel`, 'null', headers);
    expect([canceled.statusCode, canceled.json().code]).toEqual([400, -32002]);
    const unknown = await get(kit, `${base}/tasks/nope`, headers);
    expect([unknown.statusCode, unknown.json()]).toEqual([
      404,
      { code: -32001, message: expect.any(String) },
    ]);
    expect((await get(kit, `${base}/tasks`, headers)).statusCode).toBe(404);
    expect((await post(kit, `${base}/message:send`, '[', headers)).statusCode).toBe(400);
    expect((await get(kit, `${base}/card`, headers)).json().code).toBe(-32004);
  });

  test('streams, and marks the last status', async () => {
    await using kit = await chat();
    const response = await kit.inject({
      method: 'POST',
      url: `${base}/message:stream`,
      headers: { ...V3, 'content-type': 'application/json' },
      payload: JSON.stringify({ request: message }),
      payloadAsStream: true,
    });
    const updates = await readUpdates(response.stream()).rest();
    expect(textAfter(updates)).toBe('Hello there');
    const last = updates.at(-1)!;
    if (last.statusUpdate) expect(last.statusUpdate.final).toBe(true);
    else expect(last.task.status.state).toBe('TASK_STATE_COMPLETED');
  });

  test('refuses files', async () => {
    await using kit = await chat();
    const file = {
      ...message,
      content: [{ file: { fileWithUri: 'https://example.org/a.png', mimeType: 'image/png' } }],
    };
    expect((await post(kit, `${base}/message:send`, { message: file }, V3)).json().code).toBe(-32005);
  });
});

describe('cards', () => {
  const WELL_KNOWN = '/.well-known/agent-card.json';

  test('the root has that of the chat agent, with its interfaces on the Host of the request', async () => {
    await using kit = await chat();
    const response = await get(kit, WELL_KNOWN, { host: 'localhost:8000' });
    const url = `http://localhost:8000${CHAT}`;
    expect(response.json()).toMatchObject({
      name: 'chat',
      version: expect.any(String),
      supportedInterfaces: [
        { url, protocolBinding: 'JSONRPC', protocolVersion: '1.0' },
        { url: `${url}/v1`, protocolBinding: 'HTTP+JSON', protocolVersion: '1.0' },
        { url, protocolBinding: 'JSONRPC', protocolVersion: '0.3' },
        { url, protocolBinding: 'HTTP+JSON', protocolVersion: '0.3' },
      ],
      capabilities: { streaming: true, pushNotifications: false, extendedAgentCard: false },
      skills: [{ id: 'chat', tags: ['chat'] }],
      defaultInputModes: ['text/plain', 'application/json'],
    });
    expect(await (await get(kit, CHAT + WELL_KNOWN)).json()).toMatchObject({ name: 'chat' });
    expect((await get(kit, `/a2a/missing@fame.fabric${WELL_KNOWN}`)).statusCode).toBe(404);
  });

  test('the public URL takes the place of the Host', async () => {
    await using kit = await chat({ options: { publicUrl: 'https://fame.example.org' } });
    expect((await get(kit, WELL_KNOWN)).json().supportedInterfaces[0].url).toBe(
      `https://fame.example.org${CHAT}`,
    );
  });

  test('have an ETag for conditional requests', async () => {
    await using kit = await chat();
    const { headers } = await get(kit, WELL_KNOWN);
    expect(headers['cache-control']).toContain('max-age=');
    for (const known of [headers.etag!, `"x", W/${headers.etag}`, '*'])
      expect((await get(kit, WELL_KNOWN, { 'if-none-match': known })).statusCode).toBe(304);
    expect((await get(kit, WELL_KNOWN, { 'if-none-match': '"x"' })).statusCode).toBe(200);
  });

  test.each<[string, Json]>([
    [WELL_KNOWN, V3],
    [`${WELL_KNOWN}?A2A-Version=0.3`, {}],
    ['/.well-known/agent.json', {}],
  ])('%s serves clients of version 0.3', async (url, headers) => {
    await using kit = await chat();
    const card = (await get(kit, url, { host: 'localhost', ...headers })).json();
    expect(card).toMatchObject({
      protocolVersion: '0.3',
      preferredTransport: 'JSONRPC',
      url: `http://localhost${CHAT}`,
    });
    expect(card.supportedInterfaces).toBeUndefined();
  });

  test('strangers see how to call the chat agent, and callers see its description', async () => {
    await using kit = await chat({ isCredentialNeeded: true, principals: [{ id: 'ada' }] });
    const stranger = (await get(kit, WELL_KNOWN)).json();
    expect(stranger).toMatchObject({
      capabilities: { extendedAgentCard: true },
      securitySchemes: { bearer: { httpAuthSecurityScheme: { scheme: 'Bearer' } } },
      securityRequirements: [{ schemes: { bearer: {} } }, { schemes: { apiKey: {} } }],
    });
    expect((await get(kit, CHAT + WELL_KNOWN)).statusCode).toBe(401);
    const headers = { authorization: 'Bearer fk_ada' };
    const { result } = await rpc(kit, 'GetExtendedAgentCard', {}, { headers });
    expect(result.description).not.toBe(stranger.description);
    expect((await get(kit, WELL_KNOWN, headers)).json()).toEqual(result);
    expect((await get(kit, WELL_KNOWN, { authorization: 'Bearer fk_wrong' })).statusCode).toBe(401);
  });
});
