// Refusals before HTTP, on real connections of an HTTP server.
import { once } from 'node:events';
import { createServer, type Server } from 'node:http';
import { type AddressInfo, connect, type Socket } from 'node:net';
import { refusalBytes } from '@fame-fabric/shared/router';
import { ManualClock } from '@fame-fabric/shared/testing';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { EarlyRefusals, MAX_ANSWERS } from './early-refusals.ts';

const ANSWER = refusalBytes(429, 'QUOTA_EXCEEDED', 'ada may attach 10 times a second.', 100);
const PATH = '/fame/v1/attach/ws/downstream/x';
const attach = (headers: string, path = PATH): string =>
  `GET ${path} HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n${headers}\r\n\r\n`;

let server: Server;
let refusals: EarlyRefusals;
let clock: ManualClock;
let refused: number;
const clients: Socket[] = [];
beforeEach(async () => {
  clock = new ManualClock();
  refused = 0;
  server = createServer((_request, response) => response.end('page'));
  server.on('upgrade', (_request, socket) => socket.end('HTTP/1.1 101 served\r\n\r\n'));
  const [serve] = server.listeners('connection');
  refusals = new EarlyRefusals({
    clock,
    serve: (socket) => serve!.call(server, socket),
    onRefused: () => refused++,
  });
  server.off('connection', serve as () => void);
  server.on('connection', (socket) => {
    refusals.admit(socket);
    socket.on('data', () => server.emit('received'));
  });
  await once(server.listen(0, '127.0.0.1'), 'listening');
});
afterEach(() => {
  for (const client of clients.splice(0)) client.destroy();
  server.close();
});

/** Sends the parts one after another, and returns the whole answer. */
async function answerTo(...parts: string[]): Promise<string> {
  const client = connect((server.address() as AddressInfo).port, '127.0.0.1');
  clients.push(client);
  client.setNoDelay(true);
  const received: Buffer[] = [];
  client.on('data', (bytes) => received.push(bytes));
  await once(client, 'connect');
  // Each part is a chunk of its own at the server.
  for (const part of parts) {
    const received = once(server, 'received');
    client.write(part);
    if (part !== parts.at(-1)) await received;
  }
  await once(client, 'close');
  return String(Buffer.concat(received));
}

test('the kept answer goes to connections with the same credential, until its time is over', async () => {
  refusals.keep('Bearer ada', ANSWER, 100);
  for (const header of ['Authorization: Bearer ada', 'AUTHORIZATION:Bearer ada ']) {
    expect(await answerTo(attach(header))).toBe(String(ANSWER));
  }
  expect(refused).toBe(2);
  clock.advance(100);
  expect(await answerTo(attach('Authorization: Bearer ada'))).toContain('101 served');
  expect(refused).toBe(2);
});

test.each([
  ['another credential', [attach('Authorization: Bearer bea')]],
  ['a longer credential', [attach('Authorization: Bearer ada2')]],
  ['no credential', [attach('X: Bearer ada')]],
  ['a request that arrives in parts', ['GET ', attach('Authorization: Bearer ada').slice(4)]],
])('%s is left to HTTP', async (_, parts) => {
  refusals.keep('Bearer ada', ANSWER, 100);
  expect(await answerTo(...parts)).toContain('101 served');
  expect(refused).toBe(0);
});

test('pages are served, also with the credential, and several requests on one connection', async () => {
  refusals.keep('Bearer ada', ANSWER, 100);
  const page = (connection: string): string =>
    `GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: ${connection}\r\nAuthorization: Bearer ada\r\n\r\n`;
  const answer = await answerTo(page('keep-alive') + page('keep-alive'), page('close'));
  expect(answer.match(/200 OK/g)).toHaveLength(3);
});

test('a client that ends its connection before it sends anything is closed', async () => {
  refusals.keep('Bearer ada', ANSWER, 100);
  const client = connect((server.address() as AddressInfo).port, '127.0.0.1').resume();
  clients.push(client);
  client.end();
  await once(client, 'close');
});

test('a connection that sends nothing for a second goes to HTTP', async () => {
  refusals.keep('Bearer ada', ANSWER, 100);
  const served = Promise.withResolvers<void>();
  refusals = new EarlyRefusals({ clock, serve: () => served.resolve(), onRefused: () => {} });
  refusals.keep('Bearer ada', ANSWER, 100);
  clients.push(connect((server.address() as AddressInfo).port, '127.0.0.1'));
  await served.promise;
});

test('a bounded number of answers is kept', async () => {
  refusals.keep(undefined, ANSWER, 100);
  for (let n = 0; n <= MAX_ANSWERS; n++) refusals.keep(`Bearer ${n}`, ANSWER, 100);
  expect(await answerTo(attach('Authorization: Bearer 0'))).toContain('101 served');
  expect(await answerTo(attach(`Authorization: Bearer ${MAX_ANSWERS}`))).toBe(String(ANSWER));
});
