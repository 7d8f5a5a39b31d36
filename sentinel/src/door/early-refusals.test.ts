// Refusals before HTTP, on real connections of an HTTP server.
import { once } from 'node:events';
import { createServer, type Server } from 'node:http';
import { type AddressInfo, connect, type Socket } from 'node:net';
import { refusalBytes } from '@fame-fabric/shared/router';
import { ManualClock } from '@fame-fabric/shared/testing';
import { afterEach, beforeEach, expect, test } from 'vitest';
import {
  ANSWER_DELAY_MS,
  EarlyRefusals,
  FLOOD_FACTOR,
  MAX_ANSWERS,
  MAX_WAITING,
  WAIT_MS,
} from './early-refusals.ts';

const ANSWER = refusalBytes(429, 'QUOTA_EXCEEDED', 'ada may attach 10 times a second.', 100);
const EXCESS = { retryAfterMs: 100, intervalMs: 100, forgo: () => void forgone++ };
const PATH = '/fame/v1/attach/ws/downstream/x';
const attach = (headers: string, path = PATH): string =>
  `GET ${path} HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n${headers}\r\n\r\n`;

let server: Server;
let refusals: EarlyRefusals;
let clock: ManualClock;
let refused: number;
let forgone: number;
const clients: Socket[] = [];
beforeEach(async () => {
  clock = new ManualClock();
  refused = 0;
  forgone = 0;
  server = createServer((_request, response) => response.end('page'));
  server.on('upgrade', (_request, socket) => socket.end('HTTP/1.1 101 served\r\n\r\n'));
  const [serve] = server.listeners('connection');
  refusals = new EarlyRefusals({
    clock,
    serve: (socket) => serve!.call(server, socket),
    onRefused: () => {
      refused++;
      server.emit('refused');
    },
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

/** Opens a connection. */
async function open(): Promise<Socket> {
  const client = connect((server.address() as AddressInfo).port, '127.0.0.1');
  clients.push(client);
  client.setNoDelay(true);
  await once(client, 'connect');
  return client;
}

/** Sends the parts one after another, and returns the whole answer. */
async function answerTo(...parts: string[]): Promise<string> {
  const client = await open();
  const answer = textOf(client);
  // Each part is a chunk of its own at the server.
  for (const part of parts) {
    const received = once(server, 'received');
    client.write(part);
    if (part !== parts.at(-1)) await received;
  }
  return answer;
}

/** Returns all that the server sends until it closes the connection. */
async function textOf(client: Socket): Promise<string> {
  const received: Buffer[] = [];
  client.on('data', (bytes) => received.push(bytes));
  await once(client, 'close');
  return String(Buffer.concat(received));
}

/** Sends an attach that is refused. */
async function refusedAttach(header = 'Authorization: Bearer ada'): Promise<Socket> {
  const client = await open();
  const isRefused = once(server, 'refused');
  client.write(attach(header));
  await isRefused;
  return client;
}

test('the kept answer goes to connections with the same credential, until its time is over', async () => {
  refusals.keep('Bearer ada', ANSWER, EXCESS);
  for (const header of ['Authorization: Bearer ada', 'AUTHORIZATION:Bearer ada ']) {
    const answer = textOf(await refusedAttach(header));
    clock.advance(ANSWER_DELAY_MS);
    expect(await answer).toBe(String(ANSWER));
    refusals.keep('Bearer ada', ANSWER, EXCESS);
  }
  expect([refused, forgone]).toEqual([2, 0]);
  clock.advance(100);
  expect(await answerTo(attach('Authorization: Bearer ada'))).toContain('101 served');
  expect(refused).toBe(2);
});

test('the answer is sent after a delay, and to a few connections at a time', async () => {
  refusals.keep('Bearer ada', ANSWER, EXCESS);
  const waiting = [];
  for (let n = 0; n < 6; n++) waiting.push(await refusedAttach());
  clock.advance(ANSWER_DELAY_MS - 1);
  expect(waiting.map(({ bytesRead }) => bytesRead)).toEqual([0, 0, 0, 0, 0, 0]);
  const answers = waiting.map(textOf);
  clock.advance(1);
  expect(await Promise.all(answers.slice(0, 4))).toEqual(Array(4).fill(String(ANSWER)));
  expect(waiting.slice(4).map(({ bytesRead }) => bytesRead)).toEqual([0, 0]);
  clock.advance(1);
  expect(await Promise.all(answers)).toEqual(Array(6).fill(String(ANSWER)));
});

test('a refused client that closes its connection, or sends more, is not waited for', async () => {
  refusals.keep('Bearer ada', ANSWER, EXCESS);
  const [leaving, sending] = [await refusedAttach(), await refusedAttach()];
  leaving.end();
  await textOf(leaving);
  sending.write('x'.repeat(1_000));
  const answer = textOf(sending);
  clock.advance(ANSWER_DELAY_MS);
  // The server has not read all bytes, so the system may discard the answer.
  sending.on('error', () => {});
  await answer;
  expect(leaving.bytesRead).toBe(0);
});

test('a bounded number of connections waits for the answer: the oldest gets it at once', async () => {
  refusals.keep('Bearer ada', ANSWER, EXCESS);
  const first = textOf(await refusedAttach());
  for (let n = 0; n < MAX_WAITING; n++) await refusedAttach();
  expect(await first).toBe(String(ANSWER));
});

test('during a flood the answer is kept for a second, and each interval costs an attach', async () => {
  refusals.keep('Bearer ada', ANSWER, EXCESS);
  for (let interval = 1; interval < 10; interval++) {
    for (let n = interval === 1 ? 0 : 1; n < FLOOD_FACTOR; n++) await refusedAttach();
    clock.advance(100);
    // The first one after the interval counts for the next interval.
    await refusedAttach();
    expect(forgone).toBe(interval);
  }
  for (let n = 0; n < FLOOD_FACTOR; n++) await refusedAttach();
  clock.advance(100);
  expect(await answerTo(attach('Authorization: Bearer ada'))).toContain('101 served');
  expect(forgone).toBe(9);
});

test('with fewer connections than those of a flood the answer is kept for one interval', async () => {
  refusals.keep('Bearer ada', ANSWER, EXCESS);
  for (let n = 1; n < FLOOD_FACTOR; n++) await refusedAttach();
  clock.advance(100);
  expect(await answerTo(attach('Authorization: Bearer ada'))).toContain('101 served');
  expect(forgone).toBe(0);
});

test.each([
  ['another credential', [attach('Authorization: Bearer bea')]],
  ['a longer credential', [attach('Authorization: Bearer ada2')]],
  ['no credential', [attach('X: Bearer ada')]],
  ['a request that arrives in parts', ['GET ', attach('Authorization: Bearer ada').slice(4)]],
])('%s is left to HTTP', async (_, parts) => {
  refusals.keep('Bearer ada', ANSWER, EXCESS);
  expect(await answerTo(...parts)).toContain('101 served');
  expect(refused).toBe(0);
});

test('pages are served, also with the credential, and several requests on one connection', async () => {
  refusals.keep('Bearer ada', ANSWER, EXCESS);
  const page = (connection: string): string =>
    `GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: ${connection}\r\nAuthorization: Bearer ada\r\n\r\n`;
  const answer = await answerTo(page('keep-alive') + page('keep-alive'), page('close'));
  expect(answer.match(/200 OK/g)).toHaveLength(3);
});

test('a client that ends its connection before it sends anything is closed', async () => {
  refusals.keep('Bearer ada', ANSWER, EXCESS);
  const client = connect((server.address() as AddressInfo).port, '127.0.0.1').resume();
  clients.push(client);
  client.end();
  await once(client, 'close');
});

test('a connection that sends nothing for a second goes to HTTP', async () => {
  refusals.keep('Bearer ada', ANSWER, EXCESS);
  let served = 0;
  refusals = new EarlyRefusals({ clock, serve: () => served++, onRefused: () => {} });
  refusals.keep('Bearer ada', ANSWER, EXCESS);
  const connected = once(server, 'connection');
  await open();
  await connected;
  clock.advance(WAIT_MS - 1);
  expect(served).toBe(0);
  clock.advance(1);
  expect(served).toBe(1);
});

test('a bounded number of answers is kept', async () => {
  refusals.keep(undefined, ANSWER, EXCESS);
  for (let n = 0; n <= MAX_ANSWERS; n++) refusals.keep(`Bearer ${n}`, ANSWER, EXCESS);
  expect(await answerTo(attach('Authorization: Bearer 0'))).toContain('101 served');
  await refusedAttach(`Authorization: Bearer ${MAX_ANSWERS}`);
});
