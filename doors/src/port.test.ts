// The port of doors in a separate process.
import { once } from 'node:events';
import { type ServerResponse, request as send } from 'node:http';
import type { Duplex } from 'node:stream';
import { CaptureLog, ManualClock } from '@fame-fabric/shared/testing';
import { afterEach, expect, test } from 'vitest';
import { DoorPort, type DoorPortOptions } from './port.ts';

const OPTIONS: DoorPortOptions = {
  port: 0,
  host: '127.0.0.1',
  trustedProxies: [],
  maxConnectionsPerAddress: 200,
};
const open: DoorPort[] = [];
afterEach(async () => {
  for (const port of open.splice(0)) await port.drain(0);
});

async function portOf(handle: (response: ServerResponse) => void) {
  const clock = new ManualClock();
  let isClosed = false;
  const doors = {
    handle: (_request: unknown, response: ServerResponse) => handle(response),
    upgrade: (_request: unknown, socket: Duplex) => socket.end('HTTP/1.1 101 Switching Protocols\r\n\r\n'),
    close: async () => {
      isClosed = true;
    },
  };
  const deps = {
    doors,
    claims: (path: string) => path === '/agents',
    served: 'HTTP at /agents',
    clock,
    log: new CaptureLog(),
  };
  const port = new DoorPort(deps, OPTIONS);
  open.push(port);
  const number = await port.start();
  const get = (path: string) => fetch(`http://127.0.0.1:${number}${path}`);
  return { port, number, get, clock, isClosed: () => isClosed, deps };
}

test('the doors get their requests, and other paths are answered here', async () => {
  const { get } = await portOf((response) => response.end('agents'));
  expect(await (await get('/agents?x=1')).text()).toBe('agents');
  expect(await (await get('/healthz')).json()).toEqual({ status: 'ok' });
  expect(await (await get('/readyz')).json()).toEqual({ status: 'ready' });
  const other = await get('/fame/v1/nodes');
  expect([other.status, await other.json()]).toMatchObject([
    404,
    { error: { code: 'NO_ROUTE', message: expect.stringContaining('This port serves HTTP at /agents') } },
  ]);
});

test('a drain lets open responses finish and refuses new requests', async () => {
  const { promise: started, resolve } = Promise.withResolvers<ServerResponse>();
  const { port, get, isClosed } = await portOf(resolve);
  const answer = get('/agents');
  const response = await started;
  const drained = port.drain(10_000);
  expect((await get('/readyz')).status).toBe(503);
  expect((await get('/agents')).status).toBe(503);
  expect(isClosed()).toBe(false);
  response.end('late');
  expect(await (await answer).text()).toBe('late');
  await drained;
  expect(isClosed()).toBe(true);
});

test('upgrades go to the doors that claim their path', async () => {
  const { number, port } = await portOf((response) => response.end());
  const statusOf = async (path: string): Promise<number> => {
    const request = send({
      port: number,
      path,
      headers: { connection: 'upgrade', upgrade: 'websocket' },
    }).end();
    const [{ statusCode }] = await Promise.race([once(request, 'upgrade'), once(request, 'response')]);
    request.destroy();
    return statusCode;
  };
  expect([await statusOf('/agents'), await statusOf('/other')]).toEqual([101, 404]);
  await port.drain(0);
});

test('a drain ends after its time', async () => {
  const { promise: started, resolve } = Promise.withResolvers<ServerResponse>();
  const { port, get, clock } = await portOf(resolve);
  const answer = get('/agents');
  await started;
  const drained = port.drain(10_000);
  clock.advance(10_000);
  await drained;
  await expect(answer).rejects.toThrow();
});

test('a port in use is a fault of the configuration', async () => {
  const { number, deps } = await portOf((response) => response.end());
  const second = new DoorPort(deps, { ...OPTIONS, port: number });
  await expect(second.start()).rejects.toMatchObject({ code: 'CONFIG_INVALID' });
});
