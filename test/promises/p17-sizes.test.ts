// P17: a message over the size limit costs the sentinel almost no memory. It is refused by its announced size, or once its
// fragments exceed the limit, and the socket closes with 1009. The conformance suite tests the replies.
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { beforeAll, expect, test } from 'vitest';
import { RawNode } from '../kit/raw-node.ts';
import { type OurSentinel, startOurSentinel } from '../kit/sentinel.ts';

const MiB = 1_048_576;
let sentinel: OurSentinel;
beforeAll(async () => {
  sentinel = await startOurSentinel();
});

/** Opens a TCP connection and upgrades it to a WebSocket. */
async function upgraded(): Promise<Socket> {
  const socket = connect(sentinel.port, '127.0.0.1');
  socket.on('error', () => {});
  socket.write(
    'GET /fame/v1/attach/ws/downstream/byhand HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\n' +
      'Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n',
  );
  const [answer] = (await once(socket, 'data')) as [Buffer];
  expect(answer.toString()).toMatch(/^HTTP\/1\.1 101 /);
  return socket;
}

/** A masked client frame. Its header may announce more bytes than the payload has. */
function frame(opcode: number, payload: Buffer, { fin = true, announced = payload.length } = {}): Buffer {
  const head = Buffer.alloc(14);
  head[0] = (fin ? 0x80 : 0) | opcode;
  head[1] = 0x80 | 127;
  head.writeBigUInt64BE(BigInt(announced), 2);
  // A mask of zeros leaves the payload as it is.
  return Buffer.concat([head, payload]);
}

/** The close code that arrives, or 0 if the connection ends without one, for example by a reset. */
async function closeCode(socket: Socket): Promise<number> {
  let received = Buffer.alloc(0);
  socket.on('data', (chunk: Buffer) => {
    received = Buffer.concat([received, chunk]);
  });
  await new Promise((resolve) => socket.once('close', resolve));
  const at = received.indexOf(0x88);
  return at < 0 ? 0 : received.readUInt16BE(at + 2);
}

test('P17: a frame that announces 100 MB is refused by its header: 1009 and no memory', async () => {
  const before = sentinel.proc.rssBytes();
  const socket = await upgraded();
  socket.write(frame(2, Buffer.alloc(65_536), { announced: 100 * MiB }));
  expect(await closeCode(socket)).toBe(1009);
  expect((sentinel.proc.rssBytes() - before) / MiB).toBeLessThan(8);
});

/** Waits for the next drain. */
const drained = (socket: Socket): Promise<void> => new Promise((resolve) => socket.once('drain', resolve));

/** Sends up to 100 MB in fragments of one message, until the connection closes. Returns the close code. */
async function sendFragments(): Promise<number> {
  const socket = await upgraded();
  const closing = closeCode(socket);
  const part = Buffer.alloc(65_536, 0x20);
  socket.write(frame(2, part, { fin: false }));
  for (let sent = 0; sent < 1_600 && !socket.destroyed; sent++) {
    if (!socket.write(frame(0, part, { fin: false }))) await Promise.race([drained(socket), closing]);
  }
  return closing;
}

test('P17: 100 MB in fragments is refused once they add up to more than 1 MiB', async () => {
  // The first rounds allocate buffers; after them memory must not grow.
  for (let warmUp = 0; warmUp < 3; warmUp++) await sendFragments();
  const before = sentinel.proc.rssBytes();
  expect([1009, 0]).toContain(await sendFragments());
  expect((sentinel.proc.rssBytes() - before) / MiB).toBeLessThan(16);
});

test('P17: 100,000 fragments of one byte use little memory', async () => {
  const before = sentinel.proc.rssBytes();
  const socket = await upgraded();
  const closing = closeCode(socket);
  socket.write(frame(2, Buffer.alloc(0), { fin: false }));
  const many = Buffer.concat(Array.from({ length: 1_000 }, () => frame(0, Buffer.from('x'), { fin: false })));
  for (let round = 0; round < 100 && !socket.destroyed; round++) {
    if (!socket.write(many)) await Promise.race([drained(socket), closing]);
  }
  expect([1008, 1009, 0]).toContain(await closing);
  expect((sentinel.proc.rssBytes() - before) / MiB).toBeLessThan(16);
});

test.each([
  ['an unmasked frame', 1002, Buffer.from([0x82, 0x01, 0x20])],
  ['a reserved bit', 1002, Buffer.from([0xc2, 0x80, 0, 0, 0, 0])],
  ['an unknown opcode', 1002, Buffer.from([0x83, 0x80, 0, 0, 0, 0])],
  ['a continuation without a first fragment', 1002, Buffer.from([0x80, 0x80, 0, 0, 0, 0])],
  [
    'text that is not UTF-8',
    1007,
    Buffer.concat([Buffer.from([0x81, 0x82, 0, 0, 0, 0]), Buffer.from([0xc3, 0x28])]),
  ],
])('P16: %s closes with %i by RFC 6455', async (_what, code, bytes) => {
  const socket = await upgraded();
  socket.write(bytes);
  expect(await closeCode(socket)).toBe(code);
});

test('P17: afterwards the sentinel still serves other nodes', async () => {
  const node = await RawNode.attached(sentinel.url);
  expect((await node.heartbeat()).frame.ok).toBe(true);
  await node.cut();
});
