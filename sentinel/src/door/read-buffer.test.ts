// Sockets of a server read into the shared buffer, and otherwise behave as before. A version of Node without support would
// only be slower, which no other test shows.
import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Server, Socket } from 'node:net';
import { afterEach, expect, test } from 'vitest';
import { READ_BYTES, readInto } from './read-buffer.ts';

const servers: Server[] = [];
const sockets: Socket[] = [];
afterEach(async () => {
  for (const socket of sockets.splice(0)) socket.destroy();
  for (const server of servers.splice(0)) await new Promise((resolve) => server.close(resolve));
});

async function pair(): Promise<{ client: Socket; accepted: Socket }> {
  const server = createServer().listen(0, '127.0.0.1');
  servers.push(server);
  await once(server, 'listening');
  const client = connect((server.address() as AddressInfo).port, '127.0.0.1');
  const [accepted] = (await once(server, 'connection')) as [Socket];
  sockets.push(client, accepted);
  return { client, accepted };
}

test('the bytes of a client arrive complete and in order, through one buffer', async () => {
  const sent = Buffer.from(Array.from({ length: 1_000_000 }, (_, i) => i % 251));
  const backings = new Set<ArrayBufferLike>();
  for (let round = 0; round < 2; round++) {
    const { client, accepted } = await pair();
    const received: Buffer[] = [];
    const events: Buffer[] = [];
    accepted.on('data', (chunk) => events.push(chunk));
    expect(
      readInto(accepted, (bytes) => {
        backings.add(bytes.buffer);
        received.push(Buffer.from(bytes));
        return true;
      }),
    ).toBe(true);
    client.end(sent);
    await once(accepted, 'end');
    expect(Buffer.concat(received).equals(sent)).toBe(true);
    expect(events).toEqual([]);
  }
  expect(backings.size).toBe(1);
});

test('a paused socket is not read until it is resumed', async () => {
  const { client, accepted } = await pair();
  const { promise: read, resolve } = Promise.withResolvers<string>();
  let isPaused = true;
  readInto(accepted, (bytes) => {
    resolve(`${isPaused ? 'too early: ' : ''}${bytes}`);
    return true;
  });
  accepted.pause();
  // The client's bytes have reached the server by the time that the client receives this.
  client.write('hello');
  accepted.write('sent');
  await once(client, 'data');
  isPaused = false;
  accepted.resume();
  expect(await read).toBe('hello');
});

test('a socket whose reader returns false is not read again until it is resumed', async () => {
  const { client, accepted } = await pair();
  const sent = Buffer.alloc(4 * READ_BYTES, 'x');
  let bytes = 0;
  let reads = 0;
  const read = Promise.withResolvers<void>();
  readInto(accepted, (chunk) => {
    reads++;
    bytes += chunk.length;
    if (bytes === sent.length) read.resolve();
    setImmediate(() => {
      // The system had more bytes for this socket, and the next ones come only after it is resumed.
      expect(reads).toBe(1);
      reads = 0;
      accepted.resume();
    });
    return false;
  });
  client.write(sent);
  await read.promise;
});

test('a socket that is not open is refused', () => {
  expect(readInto(new Socket(), () => true)).toBe(false);
});
