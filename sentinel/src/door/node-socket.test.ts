// Sockets of nodes on real connections: pauses, slices of the event loop, pings, and the end of a connection.
import { once } from 'node:events';
import { createServer, type Server } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import { ManualClock } from '@fame-fabric/shared/testing';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { WebSocket, WebSocketServer } from 'ws';
import { QueueBudget } from '../session/queue-budget.ts';
import type { WritableHandle } from './direct-write.ts';
import { MAX_BYTES_BEFORE_PONG, NodeSocket, SLICE_MESSAGES } from './node-socket.ts';
import { READ_BYTES } from './read-buffer.ts';

let server: Server;
let client: WebSocket;
let node: NodeSocket;
let socket: Socket;
let budget: QueueBudget;
let pings: number;
let received: string[];
/** Runs at each message. */
let onMessage: (text: string) => void;
/** Time that the clock advances at each look, in ms. */
let tickMs: number;

/** A clock that advances each time it is read. */
class TickingClock extends ManualClock {
  override monotonic(): number {
    this.advance(tickMs);
    return super.monotonic();
  }
}

beforeEach(async () => {
  received = [];
  tickMs = 0;
  pings = 0;
  onMessage = () => {};
  const clock = new TickingClock();
  const wsServer = new WebSocketServer({ noServer: true, clientTracking: false, autoPong: false });
  server = createServer();
  const opened = Promise.withResolvers<void>();
  server.on('upgrade', (request, accepted, head) =>
    wsServer.handleUpgrade(request, accepted, head, (ws) => {
      socket = accepted as Socket;
      budget = new QueueBudget({ queueBytes: 8_388_608, queueTotalBytes: 50_331_648 });
      node = new NodeSocket(ws, socket, { budget, clock, hasHead: head.length > 0 });
      node.raiseLimits();
      node.onPing = () => ++pings > 0;
      node.onMessage = (bytes) => {
        const text = Buffer.from(bytes).toString('latin1', 0, 8);
        received.push(text);
        onMessage(text);
      };
      opened.resolve();
    }),
  );
  await once(server.listen(0, '127.0.0.1'), 'listening');
  client = new WebSocket(`ws://127.0.0.1:${(server.address() as AddressInfo).port}`);
  await Promise.all([once(client, 'open'), opened.promise]);
});
afterEach(() => {
  client.terminate();
  node.terminate();
  server.close();
});

const send = (...texts: readonly string[]): void => {
  for (const text of texts) client.send(Buffer.from(text));
};
const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));
const until = async (isTrue: () => boolean): Promise<void> => {
  while (!isTrue()) await turn();
};

test('a write whose bytes are all accepted at the second try does not keep the event loop busy', async () => {
  const handle = (socket as unknown as { _handle: WritableHandle })._handle;
  const write = handle.writeBuffer;
  let empty = 0;
  handle.writeBuffer = (request, bytes) => {
    // If each step of the loop ran such a callback, no other event would run, not even the timeout of this test.
    if (bytes.length === 0 && ++empty > 100) throw new Error('empty bytes are written again and again');
    const status = write.call(handle, request, bytes);
    if (bytes.length > 0) Object.assign(request, { getAsyncId: () => 1 });
    return status;
  };
  for (const text of ['a', 'b']) {
    node.send(Buffer.from(text));
    node.flush();
  }
  expect([budget.socketBytes, node.bufferedBytes]).toEqual([0, 0]);
  const texts: string[] = [];
  client.on('message', (data) => texts.push(String(data)));
  await until(() => texts.length === 2);
  expect(texts).toEqual(['a', 'b']);
});

test('a paused node is not read any further, not even within a chunk, and continues after a turn', async () => {
  onMessage = (text) => {
    if (text !== 'two') node.pause();
  };
  // One write, so that the three arrive in one chunk.
  const raw = (client as unknown as { _socket: Socket })._socket;
  raw.cork();
  send('one', 'two', 'three');
  raw.uncork();
  await until(() => received.length > 0);
  for (let n = 0; n < 10; n++) await turn();
  expect(received).toEqual(['one']);
  node.resume();
  expect(received).toEqual(['one']);
  await until(() => received.length === 3);
  node.resume();
  send('four');
  await until(() => received.length === 4);
  expect(received).toEqual(['one', 'two', 'three', 'four']);
});

test('a pause that ends before its turn keeps the order', async () => {
  onMessage = () => {
    node.pause();
    node.resume();
  };
  const texts = Array.from({ length: 200 }, (_, n) => `m${n}`);
  send(...texts);
  await until(() => received.length === texts.length);
  expect(received).toEqual(texts);
});

test('a socket that has used its time waits for the next iteration, and loses no message', async () => {
  tickMs = 3;
  const perTurn: number[] = [];
  let count = 0;
  onMessage = () => {
    if (count++ > 0) return;
    setImmediate(() => {
      perTurn.push(count);
      count = 0;
    });
  };
  const texts = Array.from({ length: 64 }, (_, n) => `m${n}`.padEnd(READ_BYTES / 4));
  // In the first rounds, the system learns to keep more bytes of the connection.
  for (let round = 0; round < 20; round++) {
    received = [];
    // The system has them before the first one is read.
    socket.pause();
    send(...texts);
    for (let n = 0; n < 20; n++) await turn();
    socket.resume();
    await until(() => received.length === texts.length);
    expect(received).toEqual(texts.map((text) => text.slice(0, 8)));
  }
  // A full buffer has four of these messages, of which the first may have begun before it.
  expect(Math.max(...perTurn)).toBeLessThanOrEqual(4);
});

test('a node that is read in slices delivers a few messages in an iteration, in order, and can be paused', async () => {
  const perTurn: number[] = [];
  let count = 0;
  node.readInSlices();
  onMessage = (text) => {
    if (count++ === 0)
      setImmediate(() => {
        perTurn.push(count);
        count = 0;
      });
    if (text !== 'm99') return;
    node.pause();
    setImmediate(() => setImmediate(() => node.resume()));
  };
  const texts = Array.from({ length: 500 }, (_, n) => `m${n}`);
  socket.pause();
  send(...texts);
  for (let n = 0; n < 20; n++) await turn();
  socket.resume();
  await until(() => received.length === texts.length);
  expect(received).toEqual(texts);
  expect(Math.max(...perTurn)).toBeLessThanOrEqual(SLICE_MESSAGES);
});

test('a ping is answered, unless the owner of the socket refuses it', async () => {
  const pongs: string[] = [];
  client.on('pong', (data) => pongs.push(String(data)));
  const sizes: number[] = [];
  node.onPing = (size) => {
    sizes.push(size);
    return sizes.length !== 2;
  };
  for (const text of ['a', 'bb', 'ccc']) client.ping(text);
  send('end');
  await until(() => received.length === 1);
  await until(() => pongs.length === 2);
  expect([sizes, pongs]).toEqual([
    [1, 2, 3],
    ['a', 'ccc'],
  ]);
});

test('a node that sends pings and does not read gets no pongs, so that they do not fill the memory', async () => {
  const pongs: string[] = [];
  client.on('pong', (data) => pongs.push(String(data)));
  client.pause();
  while (node.bufferedBytes < MAX_BYTES_BEFORE_PONG) {
    node.send(Buffer.alloc(60_000));
    node.flush();
  }
  const held = node.bufferedBytes;
  for (let n = 0; n < 100; n++) client.ping('x'.repeat(100));
  send('end');
  await until(() => received.length === 1);
  expect(node.bufferedBytes).toBeLessThanOrEqual(held);
  expect(pongs).toEqual([]);
});

test('messages that arrive after the close are ignored', async () => {
  const closed = once(client, 'close');
  send('before');
  await until(() => received.length === 1);
  node.close(4000, 'over');
  send('after');
  expect((await closed)[0]).toBe(4000);
  expect(received).toEqual(['before']);
});

test('messages to a node that reads late are held, counted, and arrive in order with pongs between them', async () => {
  const arrived: string[] = [];
  client.on('message', (data: Buffer) => arrived.push(data.toString('latin1', 0, 8)));
  client.on('pong', (data) => arrived.push(String(data)));
  let drains = 0;
  node.onDrain = () => drains++;
  client.pause();
  const texts: string[] = [];
  const sendNext = (): void => {
    texts.push(`m${texts.length}`.padEnd(8));
    node.send(Buffer.from(texts.at(-1)!.padEnd(16_000)));
    node.flush();
  };
  while (node.bufferedBytes === 0) sendNext();
  const first = budget.socketBytes;
  expect(first).toBe(node.bufferedBytes);
  for (let n = 0; n < 3; n++) sendNext();
  expect(budget.socketBytes).toBeGreaterThan(first + 48_000);
  client.ping('pong');
  await until(() => pings > 0);
  for (let n = 0; n < 3; n++) sendNext();
  texts.splice(-3, 0, 'pong');
  client.resume();
  await until(() => arrived.length === texts.length && drains > 0);
  expect(arrived).toEqual(texts);
  expect(node.bufferedBytes).toBe(0);
  expect(budget.socketBytes).toBe(0);
});

test('a node whose connection breaks while bytes are held is closed, and its bytes are no longer counted', async () => {
  const closed = Promise.withResolvers<number>();
  node.onClose = (code) => closed.resolve(code);
  client.pause();
  while (node.bufferedBytes === 0) {
    node.send(Buffer.alloc(16_000));
    node.flush();
  }
  client.terminate();
  expect(await closed.promise).toBe(1006);
  expect(budget.socketBytes).toBe(0);
});
