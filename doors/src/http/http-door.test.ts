// Lists, descriptions and calls over plain HTTP, as each caller sees them.
import { AgentError, defineAgent, operation } from '@fame-fabric/agents';
import { Validator } from '@seriousme/openapi-schema-validator';
import { expect, test } from 'vitest';
import { z } from 'zod';
import { doorKit } from '../testing/door-kit.ts';
import { eventsIn, streamText } from '../testing/sse-events.ts';
import { httpDoor } from './http-door.ts';

const math = defineAgent({
  address: 'math@fame.fabric',
  description: 'Adds and counts.',
  operations: {
    add: operation({
      description: 'Adds two numbers.',
      params: z.object({ x: z.number(), y: z.number() }),
      run: ({ x, y }) => x + y,
    }),
    count: operation({
      params: z.object({ n: z.int() }),
      async *run({ n }) {
        for (let i = 1; i <= n; i++) yield i;
        if (n === 3) throw new AgentError('OUT_OF_NUMBERS', 'No more numbers');
      },
    }),
    nothing: operation({ run: () => undefined }),
    fail: operation({
      run() {
        throw new AgentError('OUT_OF_STOCK', 'Sold out', { details: { left: 0 } });
      },
    }),
    who: operation({ run: async (_params, { caller }) => (await caller)?.principal }),
  },
});

const as = (name: string) => ({ authorization: `Bearer fk_${name}` });
const post = (url: string, payload?: unknown, headers: Record<string, string> = {}) =>
  ({
    method: 'POST',
    url,
    headers,
    ...(payload === undefined ? {} : { payload: JSON.stringify(payload) }),
  }) as const;

test('lists the agents by address', async () => {
  await using kit = await doorKit(httpDoor, { replies: [], agents: [math] });
  const response = await kit.inject({ url: '/agents' });
  expect(response.json()).toMatchObject({
    agents: [
      { address: 'chat@fame.fabric', chat: true, url: 'http://localhost:80/agents/chat@fame.fabric' },
      {
        address: 'math@fame.fabric',
        chat: false,
        operations: ['add', 'count', 'nothing', 'fail', 'who'],
      },
    ],
  });
});

test('lists and calls only the agents that the caller may call', async () => {
  await using kit = await doorKit(httpDoor, {
    isCredentialNeeded: true,
    replies: [],
    agents: [math],
    principals: [{ id: 'ada', allow: ['math@fame.fabric'] }],
  });
  const refused = await kit.inject({ url: '/agents' });
  expect(refused.statusCode).toBe(401);
  expect(refused.headers['www-authenticate']).toBe('Bearer');
  expect(refused.json().error).toMatchObject({
    code: 'AUTH_MISSING',
    fix: expect.stringContaining('key add'),
  });
  const { agents } = (await kit.inject({ url: '/agents', headers: as('ada') })).json();
  expect(agents.map(({ address }: { address: string }) => address)).toEqual(['math@fame.fabric']);
  const hidden = await kit.inject({ url: '/agents/chat@fame.fabric', headers: as('ada') });
  const unknown = await kit.inject({ url: '/agents/chas@fame.fabric', headers: as('ada') });
  expect([hidden.statusCode, unknown.statusCode]).toEqual([404, 404]);
  expect(hidden.json().error.message.replace('chat', 'chas')).toBe(unknown.json().error.message);
});

test('agents see the principal of the caller', async () => {
  await using kit = await doorKit(httpDoor, { agents: [math] });
  const callers = [];
  for (const headers of [{}, as('ada'), { 'x-api-key': 'fk_bea' }, { authorization: 'Bearer sk-anything' }]) {
    callers.push((await kit.inject(post('/agents/math/who', {}, headers))).json());
  }
  expect(callers).toEqual(['anonymous', 'ada', 'bea', 'anonymous']);
  expect(kit.fabric.linkCount).toBe(3);
  const wrong = await kit.inject(post('/agents/math/who', {}, as('eve')));
  expect([wrong.statusCode, wrong.json().error.code]).toEqual([401, 'AUTH_INVALID']);
});

test('describes an agent with a command for each operation', async () => {
  await using kit = await doorKit(httpDoor, { agents: [math] });
  const described = (await kit.inject({ url: '/agents/math' })).json();
  expect(described.operations[0]).toMatchObject({
    name: 'add',
    description: 'Adds two numbers.',
    streams: false,
    params: { type: 'object', required: ['x', 'y'] },
    example: `curl -s http://localhost:80/agents/math@fame.fabric/add -d '{"x":1,"y":1}'`,
  });
});

test('calls an operation with JSON of any content type', async () => {
  await using kit = await doorKit(httpDoor, { agents: [math] });
  const urlEncoded = { 'content-type': 'application/x-www-form-urlencoded' };
  expect((await kit.inject(post('/agents/math/add', { x: 1, y: 2 }, urlEncoded))).body).toBe('3\n');
  expect((await kit.inject(post('/agents/math@fame.fabric/add', { x: 1, y: 2 }))).json()).toBe(3);
  expect((await kit.inject(post('/agents/math/nothing'))).body).toBe('null\n');
  const broken = await kit.inject({ method: 'POST', url: '/agents/math/add', payload: '{"x":' });
  expect([broken.statusCode, broken.json().error.code]).toEqual([400, 'PROTO_MALFORMED']);
});

test('an answer is indented, or one line for a client that asks for JSON', async () => {
  await using kit = await doorKit(httpDoor, { agents: [math] });
  expect((await kit.inject({ url: '/agents' })).body.split('\n').length).toBeGreaterThan(5);
  const headers = { accept: 'application/json' };
  expect((await kit.inject({ url: '/agents', headers })).body.match(/\n/g)).toHaveLength(1);
});

test('errors name the code and the fix, and the agent its own', async () => {
  await using kit = await doorKit(httpDoor, { agents: [math] });
  const errorOf = async (url: string, payload: unknown) => {
    const response = await kit.inject(post(url, payload));
    return [response.statusCode, response.json().error];
  };
  expect(await errorOf('/agents/math/ad', {})).toMatchObject([
    501,
    { code: 'METHOD_NOT_FOUND', fix: 'Did you mean add?', example: expect.stringContaining('/add -d') },
  ]);
  expect(await errorOf('/agents/math/add', { x: 1 })).toMatchObject([
    400,
    { code: 'PARAMS_INVALID', example: expect.stringContaining(`{"x":1,"y":1}`) },
  ]);
  expect(await errorOf('/agents/math/fail', {})).toMatchObject([
    422,
    { code: 'OUT_OF_STOCK', message: 'Sold out', details: { left: 0 } },
  ]);
  expect(await errorOf('/agents/mth/add', {})).toMatchObject([
    404,
    { code: 'NO_ROUTE', fix: 'Did you mean math?' },
  ]);
  expect(await errorOf('/agents/math/add?timeout_ms=x', {})).toMatchObject([
    400,
    { code: 'REQUEST_INVALID' },
  ]);
  const get = await kit.inject({ url: '/agents/math/add' });
  expect([get.statusCode, get.headers.allow]).toEqual([405, 'POST']);
  expect(await errorOf('/agents/math', {})).toMatchObject([
    400,
    { code: 'REQUEST_INVALID', fix: expect.stringContaining('/agents/math/OPERATION') },
  ]);
  const nowhere = await kit.inject({ url: '/openapi.jsn' });
  expect([nowhere.statusCode, nowhere.json().error]).toMatchObject([
    404,
    { code: 'NO_ROUTE', fix: 'Did you mean /openapi.json?' },
  ]);
});

test('a streaming operation answers with an array, or with events', async () => {
  await using kit = await doorKit(httpDoor, { agents: [math] });
  expect((await kit.inject(post('/agents/math/count', { n: 2 }))).json()).toEqual([1, 2]);
  const accept = { accept: 'text/event-stream' };
  const stream = await kit.inject({ ...post('/agents/math/count', { n: 3 }, accept), payloadAsStream: true });
  const text = await streamText(stream);
  expect(eventsIn(text)).toMatchObject([
    { event: 'item', data: 1 },
    { event: 'item', data: 2 },
    { event: 'item', data: 3 },
    { event: 'error', data: { error: { code: 'OUT_OF_NUMBERS' } } },
  ]);
  const refused = await kit.inject(post('/agents/math/count', { n: 'x' }, accept));
  expect(refused.statusCode).toBe(400);
  const one = await kit.inject({
    ...post('/agents/math/add', { x: 1, y: 2 }, accept),
    payloadAsStream: true,
  });
  expect(eventsIn(await streamText(one))).toEqual([
    { event: 'item', data: 3 },
    { event: 'end', data: {} },
  ]);
});

test('a body above the limit is refused', async () => {
  await using kit = await doorKit(httpDoor, { agents: [math] });
  const response = await kit.inject(post('/agents/math/add', 'x'.repeat(1_048_577)));
  expect([response.statusCode, response.json().error.code]).toEqual([413, 'MESSAGE_TOO_LARGE']);
});

test('pages of other origins are refused, unless they are allowed', async () => {
  await using kit = await doorKit(httpDoor, { agents: [math], allowedOrigins: ['https://app.example'] });
  const from = (origin: string) => kit.inject({ url: '/agents', headers: { origin } });
  expect((await from('https://evil.example')).statusCode).toBe(403);
  const allowed = await from('https://app.example');
  expect(allowed.headers['access-control-allow-origin']).toBe('https://app.example');
  const preflight = await kit.inject({
    method: 'OPTIONS',
    url: '/agents/math/add',
    headers: {
      origin: 'https://app.example',
      'access-control-request-method': 'POST',
      'access-control-request-headers': 'authorization,content-type',
    },
  });
  expect(preflight.statusCode).toBe(204);
  expect(preflight.headers).toMatchObject({ 'access-control-allow-headers': 'authorization,content-type' });
  const rebound = await kit.inject({ url: '/agents', headers: { host: 'evil.example' } });
  expect(rebound.statusCode).toBe(403);
});

test('the OpenAPI document is valid and has the operations of the caller', async () => {
  await using kit = await doorKit(httpDoor, { replies: [], agents: [math] });
  const document = (await kit.inject({ url: '/openapi.json' })).json();
  const validator = new Validator();
  expect(await validator.validate(structuredClone(document))).toEqual({ valid: true });
  expect(validator.version).toBe('3.1');
  expect(Object.keys(document.paths)).toEqual(
    expect.arrayContaining(['/agents', '/agents/math@fame.fabric/add', '/agents/chat@fame.fabric/run_turn']),
  );
  expect(
    document.paths['/agents/math@fame.fabric/add'].post.requestBody.content['application/json'].schema
      .required,
  ).toEqual(['x', 'y']);
  document.paths['/agents'].get.responses = 'none';
  expect((await validator.validate(document)).valid).toBe(false);
});
