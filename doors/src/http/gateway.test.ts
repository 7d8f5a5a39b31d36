// The gateway of naylence: its requests, answers and statuses.
import { defineAgent, operation } from '@fame-fabric/agents';
import { expect, test } from 'vitest';
import { z } from 'zod';
import { doorKit } from '../testing/door-kit.ts';
import { httpDoor } from './http-door.ts';

const received: unknown[] = [];
const agent = defineAgent({
  address: 'math@fame.fabric',
  capabilities: ['calculates'],
  operations: {
    add: operation({ params: z.object({ x: z.number(), y: z.number() }), run: ({ x, y }) => x + y }),
    never: operation({ run: () => new Promise(() => {}) }),
    fail: operation({
      run() {
        throw new Error('broken');
      },
    }),
  },
  onMessage(payload) {
    received.push(payload);
  },
});

const kit = (isCredentialNeeded = false) => doorKit(httpDoor, { agents: [agent], isCredentialNeeded });
const rpc = (payload: object) => ({ method: 'POST', url: '/fame/v1/gateway/rpc', payload }) as const;
const target = { targetAddr: 'math@fame.fabric' };
const add = { method: 'add', params: { x: 1, y: 2 } };

test.each<[object, number, object]>([
  [{ ...target, ...add }, 200, { ok: true, result: 3 }],
  [{ capabilities: ['calculates'], ...add }, 200, { ok: true, result: 3 }],
  [{ ...target, ...add, timeoutMs: '5000' }, 200, { ok: true, result: 3 }],
  [{ targetAddr: 'none@fame.fabric', ...add }, 404, { ok: false, code: 'not_found', errorCode: 'NO_ROUTE' }],
  [{ ...target, method: 'none' }, 500, { ok: false, errorCode: 'METHOD_NOT_FOUND' }],
  [{ ...target, method: 'fail' }, 500, { ok: false, errorCode: 'INTERNAL' }],
  [{ ...target, method: 'add' }, 400, { ok: false, code: 'invalid_request', errorCode: 'PARAMS_INVALID' }],
  [
    { ...target, method: 'never', timeoutMs: 20 },
    504,
    { ok: false, code: 'timeout', errorCode: 'CALL_TIMEOUT' },
  ],
  [{ ...add }, 400, { ok: false, errorCode: 'REQUEST_INVALID' }],
  [{ ...target, method: 'x'.repeat(257) }, 400, { ok: false, errorCode: 'REQUEST_INVALID' }],
  [{ targetAddr: 'no address', ...add }, 400, { ok: false, errorCode: 'REQUEST_INVALID' }],
  [{ capabilities: Array.from({ length: 17 }, String), ...add }, 400, { ok: false }],
])('the call %j is answered with %i', async (request, status, body) => {
  await using door = await kit();
  const response = await door.inject(rpc(request));
  expect([response.statusCode, response.json()]).toMatchObject([status, body]);
});

test('a message is accepted and arrives', async () => {
  await using door = await kit();
  const url = '/fame/v1/gateway/messages';
  const payload = { ...target, type: 'note', payload: { n: 1 } };
  const response = await door.inject({ method: 'POST', url, payload });
  expect([response.statusCode, response.json()]).toEqual([202, { status: 'message_accepted' }]);
  await expect.poll(() => received).toEqual([{ type: 'note', payload: { n: 1 } }]);
  const empty = await door.inject({ method: 'POST', url, payload: target });
  expect(empty.statusCode).toBe(400);
});

test('health is public, and calls need a credential if the sentinel asks for one', async () => {
  await using door = await kit(true);
  expect((await door.inject({ url: '/fame/v1/gateway/health' })).json()).toMatchObject({ status: 'healthy' });
  const response = await door.inject(rpc({ ...target, ...add }));
  expect([response.statusCode, response.json()]).toMatchObject([401, { ok: false, code: 'unauthorized' }]);
});
