// The check of Origin and Host, through the port of a running sentinel. `origin.test.ts` of shared has the table of values.
import { mkdtempSync, rmSync } from 'node:fs';
import { request } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { localKeyFile, readTokenFile } from '@fame-fabric/shared/node';
import { ManualClock } from '@fame-fabric/shared/testing';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type RunningSentinel, type SentinelOptions, startSentinel } from './sentinel.ts';

const running: RunningSentinel[] = [];
const dataDir = mkdtempSync(join(tmpdir(), 'fame-sentinel-'));
const start = async (
  host: string,
  rest: Pick<SentinelOptions, 'clock' | 'doors'> = {},
): Promise<RunningSentinel> => {
  const sentinel = await startSentinel({
    port: 0,
    host,
    resumeWindowMs: 0,
    drainMs: 1_000,
    maxSessions: 100,
    maxAddressesPerNode: 100,
    maxOpenCallsPerNode: 100,
    queueBytes: 8_388_608,
    queueTotalBytes: 50_331_648,
    memoryLimitBytes: 1_000_000_000,
    allowedOrigins: ['https://app.example'],
    allowedHosts: ['sentinel'],
    parentUrl: undefined,
    peerUrls: [],
    connectTimeoutMs: 1_000,
    dataDir,
    ...rest,
  });
  running.push(sentinel);
  return sentinel;
};
afterAll(async () => {
  await Promise.all(running.map((sentinel) => sentinel.close()));
  rmSync(dataDir, { recursive: true });
});

/** Returns the status of the answer to a request with these headers; 101 for a WebSocket that opened. */
const statusOf = (
  port: number,
  path: string,
  headers: Record<string, string>,
  method = 'GET',
): Promise<number> =>
  new Promise((resolve, reject) => {
    const sent = request({ host: '127.0.0.1', port, path, method, headers, agent: false });
    const end = (status: number): void => {
      resolve(status);
      sent.destroy();
    };
    sent.once('response', ({ statusCode = 0 }) => end(statusCode));
    sent.once('upgrade', ({ statusCode = 0 }, socket) => {
      socket.destroy();
      end(statusCode);
    });
    sent.once('error', reject);
    sent.end();
  });

const OCTETS = { 'content-type': 'application/octet-stream' };

test('a trace without entries has an empty line in each minute', async () => {
  const clock = new ManualClock();
  const { port } = await start('127.0.0.1', { clock });
  const headers = { authorization: `Bearer ${readTokenFile(localKeyFile(dataDir))}` };
  const trace = await fetch(`http://127.0.0.1:${port}/fame/v1/trace`, { headers });
  const reader = trace.body!.getReader();
  clock.advance(60_000);
  expect(new TextDecoder().decode((await reader.read()).value)).toBe('\n');
  await reader.cancel();
});

test('the error of an unknown path says which doors there are', async () => {
  const doors = {
    claims: () => false,
    text: 'OpenAI at /v1',
    open: () => Promise.reject(new Error('unused')),
  };
  const { port } = await start('127.0.0.1', { doors });
  const response = await fetch(`http://127.0.0.1:${port}/chat/completions`, { method: 'POST' });
  expect([response.status, await response.json()]).toMatchObject([
    404,
    { error: { message: 'There is no route POST /chat/completions. This port serves OpenAI at /v1' } },
  ]);
});

describe('HTTP', () => {
  let port: number;
  beforeAll(async () => {
    port = (await start('127.0.0.1')).port;
  });

  const evil = { host: 'evil.example' };
  test.each<[string, number]>([
    ['/fame/v1/trace', 403],
    ['/fame/v1/trace?/health', 403],
    ['/fame/v1/trace?x=/health', 403],
    ['/fame/v1/trace#/health', 403],
    ['/fame/v1/%74race?/health', 403],
    ['/fame/v1/nodes', 403],
    ['/fame/v1/nodes?/health', 403],
    ['/fame/v1/nodes;/health', 403],
    ['/metrics', 403],
    ['/metrics?/health', 403],
    ['/nothing/health', 403],
    ['/fame/v1/ingress/downstream/n', 403],
    ['/', 403],
    ['/version', 403],
    ['/healthz', 200],
    ['/healthz?probe=1', 200],
    ['/readyz', 200],
    ['/fame/v1/attach/health', 200],
    ['/fame/v1/ingress/health', 200],
  ])('HD4: %s under a foreign Host answers %d', async (path, status) => {
    expect(await statusOf(port, path, evil)).toBe(status);
    expect(await statusOf(port, path, evil, 'HEAD')).toBe(status);
  });

  test.each<[string, RequestInit]>([
    ['/fame/v1/ingress/downstream/n', { method: 'POST', body: 'x'.repeat(5_000) }],
    [
      '/fame/v1/ingress/downstream/n',
      { method: 'POST', body: '{}', headers: { 'content-type': 'application/json' } },
    ],
    ['/fame/v1/ingress/downstream/n', { method: 'POST', body: Buffer.from('{}'), headers: OCTETS }],
    ['/fame/v1/ingress/upstream', { method: 'PUT' }],
    ['/fame/v1/ingress/x', {}],
  ])('HTTP attach is refused with the way to attach: %s %o', async (path, request) => {
    const answer = await fetch(`http://127.0.0.1:${port}${path}`, request);
    expect(answer.status).toBe(501);
    expect(await answer.json()).toEqual({
      error: {
        code: 'OPERATION_UNSUPPORTED',
        message: expect.stringContaining('ws://HOST:PORT/fame/v1/attach/ws/downstream'),
      },
    });
  });

  test.each<[Record<string, string>, number]>([
    [{ host: 'localhost' }, 200],
    [{ host: 'sentinel:8000' }, 200],
    [{ host: 'localhost', origin: 'http://localhost' }, 200],
    [{ host: 'localhost', origin: 'https://app.example' }, 200],
    [{ host: 'localhost', origin: 'https://evil.example' }, 403],
    [{ host: 'localhost', origin: 'null' }, 403],
    [{ host: 'evil.example', origin: 'https://app.example' }, 403],
  ])('HD4: the nodes are listed for %o: %d', async (headers, status) => {
    const key = readTokenFile(localKeyFile(dataDir));
    const withKey = { ...headers, authorization: `Bearer ${key}` };
    expect(await statusOf(port, '/fame/v1/nodes', withKey)).toBe(status);
    expect(await statusOf(port, '/fame/v1/attach/health', headers)).toBe(200);
  });
});

const attach = (port: number, headers: Record<string, string>): Promise<number> =>
  statusOf(port, '/fame/v1/attach/ws/downstream/n', {
    connection: 'Upgrade',
    upgrade: 'websocket',
    'sec-websocket-version': '13',
    'sec-websocket-key': 'dGhlIHNhbXBsZSBub25jZQ==',
    ...headers,
  });

describe('WebSocket', () => {
  let closed: number;
  let open: number;
  beforeAll(async () => {
    closed = (await start('127.0.0.1')).port;
    open = (await start('0.0.0.0')).port;
  });

  test.each<[Record<string, string>, number, number]>([
    [{ host: 'localhost:8000' }, 101, 101],
    [{ host: 'sentinel:8000' }, 101, 101],
    [{ host: 'localhost:8000', origin: 'http://localhost:8000' }, 101, 101],
    [{ host: 'sentinel:8000', origin: 'https://app.example' }, 101, 101],
    // An empty list of subprotocols, as a Python sentinel of naylence sends it.
    [{ host: 'localhost:8000', 'sec-websocket-protocol': '' }, 101, 101],
    // A program that uses another name of this machine needs an open interface, or FAME_ALLOWED_HOSTS.
    [{ host: 'evil.example:8000' }, 403, 101],
    [{ host: '192.168.1.5:8000' }, 403, 101],
    [{ host: 'evil.example:8000', origin: 'https://app.example' }, 403, 403],
    [{ host: 'evil.example:8000', origin: 'http://evil.example:8000' }, 403, 403],
    [{ host: 'localhost:8000', origin: 'chrome-extension://localhost:8000' }, 403, 403],
    [{ host: 'localhost:8000', origin: 'https://localhost:8000' }, 403, 403],
    [{ host: 'localhost:8000', origin: 'http://localhost:8001' }, 403, 403],
    [{ host: 'localhost:8000', origin: 'http://user@localhost:8000' }, 403, 403],
    [{ host: 'localhost:8000', origin: 'http://localhost:8000/page' }, 403, 403],
    [{ host: 'localhost:8000', origin: 'null' }, 403, 403],
  ])('HD21: %o answers %d, on an open interface %d', async (headers, onLoopback, onOpen) => {
    expect(await attach(closed, headers)).toBe(onLoopback);
    expect(await attach(open, headers)).toBe(onOpen);
  });
});
