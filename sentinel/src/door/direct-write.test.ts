// Writes below the stream of an accepted socket. A version of Node without support would only be slower, which no other test shows.
import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Server, Socket } from 'node:net';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { type WriteOwner, writableHandle, writeDirectly } from './direct-write.ts';

let server: Server;
let client: Socket;
let accepted: Socket;
let ends: number[];
let ended: PromiseWithResolvers<void>;

const owner: WriteOwner = {
  onWritten(status) {
    ends.push(status);
    ended.resolve();
  },
};

beforeEach(async () => {
  ends = [];
  ended = Promise.withResolvers();
  server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  client = connect((server.address() as AddressInfo).port, '127.0.0.1');
  [accepted] = (await once(server, 'connection')) as [Socket];
});
afterEach(async () => {
  client.destroy();
  accepted.destroy();
  await new Promise((resolve) => server.close(resolve));
});

test('bytes that the system accepts at once are written without a callback', async () => {
  const buffer = Buffer.from('one');
  expect(writeDirectly(writableHandle(accepted)!, buffer, owner)).toBe(0);
  buffer.write('two');
  expect(writeDirectly(writableHandle(accepted)!, buffer, owner)).toBe(0);
  accepted.end();
  let received = '';
  for await (const chunk of client) received += chunk;
  expect(received).toBe('onetwo');
  expect(ends).toEqual([]);
});

test('bytes that the system does not accept follow later, in order with those of the stream', async () => {
  const sent = Buffer.alloc(33_554_432, 'x');
  const pending = writeDirectly(writableHandle(accepted)!, sent, owner);
  expect(pending).toBeGreaterThan(0);
  expect(pending).toBeLessThan(sent.length);
  accepted.end('the end');
  const chunks: Buffer[] = [];
  for await (const chunk of client) chunks.push(chunk);
  await ended.promise;
  expect(ends).toEqual([0]);
  expect(Buffer.concat(chunks).equals(Buffer.concat([sent, Buffer.from('the end')]))).toBe(true);
});

test('a request that is still in use is not reused, even if the system has accepted all of its bytes', async () => {
  const real = writableHandle(accepted)!;
  const handle = {
    writeBuffer: (request: object, bytes: Uint8Array) => real.writeBuffer(request, bytes),
    writeQueueSize: 0,
  };
  const sent = [Buffer.alloc(33_554_432, 'x'), Buffer.from('after')];
  for (const bytes of sent) expect(writeDirectly(handle, bytes, owner)).toBe(0);
  accepted.end();
  const chunks: Buffer[] = [];
  for await (const chunk of client) chunks.push(chunk);
  expect(Buffer.concat(chunks).equals(Buffer.concat(sent))).toBe(true);
  expect(ends).toEqual([]);
});

test('a connection that ends during a write is reported', async () => {
  writeDirectly(writableHandle(accepted)!, Buffer.alloc(33_554_432), owner);
  client.destroy();
  accepted.on('error', () => {});
  await ended.promise;
  expect(ends).toHaveLength(1);
  expect(ends[0]).toBeLessThan(0);
});

test('a write to a closed handle is reported before it returns', async () => {
  const handle = writableHandle(accepted)!;
  accepted.destroy();
  await once(accepted, 'close');
  expect(writeDirectly(handle, Buffer.from('late'), owner)).toBe(0);
  expect(ends).toEqual([expect.any(Number)]);
  expect(ends[0]).toBeLessThan(0);
});

test('a socket that is not open has no handle', () => {
  expect(writableHandle(new Socket())).toBeUndefined();
});
