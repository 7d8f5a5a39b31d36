// P18: plain HTTP on the port of the sentinel, with slow, large, malformed and half-open requests.
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { beforeAll, describe, expect, test } from 'vitest';
import { RawNode } from '../kit/raw-node.ts';
import { fetchWithKey, type OurSentinel, startOurSentinel } from '../kit/sentinel.ts';

let sentinel: OurSentinel;
beforeAll(async () => {
  sentinel = await startOurSentinel();
});

function open(text: string): Socket {
  const socket = connect(sentinel.port, '127.0.0.1');
  socket.on('error', () => {});
  socket.write(text);
  return socket;
}

/** Everything that the server sends until it closes, and the time that took, in ms. */
async function answerTo(text: string): Promise<{ answer: string; ms: number }> {
  const began = performance.now();
  const socket = open(text);
  let answer = '';
  socket.on('data', (chunk) => {
    answer += String(chunk);
  });
  await once(socket, 'close');
  return { answer, ms: performance.now() - began };
}

const status = (answer: string): number => Number(/^HTTP\/1\.1 (\d{3})/.exec(answer)?.[1]);

/** Slack for a machine that is busy with other tests; `sweeper.test.ts` pins the exact times. */
const BUSY_MS = 400;

describe('P18: slow connections are closed', () => {
  test.concurrent('HD26: headers that never end: 408 within 10 s', async () => {
    const { answer, ms } = await answerTo('GET /healthz HTTP/1.1\r\nHost: localhost\r\nX-Slow: ');
    expect(status(answer)).toBe(408);
    expect(ms).toBeLessThan(10_000 + BUSY_MS);
  });

  test.concurrent('HD26: a body that never arrives: closed within 15 s', async () => {
    const { ms } = await answerTo(
      'POST /healthz HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\nhalf',
    );
    expect(ms).toBeLessThan(15_000 + BUSY_MS);
  });

  test.concurrent('HD26: a connection without a request: closed within 10 s', async () => {
    const { ms } = await answerTo('');
    expect(ms).toBeLessThan(10_000 + BUSY_MS);
  });

  test.concurrent('a keep-alive connection without another request: closed within 8 s', async () => {
    const { answer, ms } = await answerTo('GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n');
    expect(status(answer)).toBe(200);
    expect(ms).toBeLessThan(8_000 + BUSY_MS);
  });

  test.concurrent('HD26: a node that never attaches: 4408 within 5 s', async () => {
    const node = await RawNode.open(sentinel.url);
    const began = performance.now();
    expect((await node.closed).code).toBe(4408);
    expect(performance.now() - began).toBeLessThan(5_000 + BUSY_MS);
  });

  test.concurrent('HD26: a refused upgrade, by a client that keeps its half open: closed within 10 s', async () => {
    const socket = connect({ port: sentinel.port, host: '127.0.0.1', allowHalfOpen: true });
    socket.on('error', () => {});
    socket.resume();
    socket.write(
      'GET /elsewhere HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n',
    );
    await once(socket, 'end');
    // A socket that the server has destroyed answers further bytes with a reset.
    const closed = new Promise((resolve) => socket.once('close', resolve));
    const began = performance.now();
    const writing = setInterval(() => socket.write('more'), 100);
    await closed;
    clearInterval(writing);
    expect(performance.now() - began).toBeLessThan(10_000 + BUSY_MS);
  });

  test.concurrent('P18: a client that does not read its answers: closed within 20 s', async () => {
    const socket = open('');
    socket.pause();
    const closed = new Promise((resolve) => socket.once('close', resolve));
    const began = performance.now();
    socket.write('GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n'.repeat(400_000));
    await closed;
    expect(performance.now() - began).toBeLessThan(20_000 + 10 * BUSY_MS);
  });

  test.concurrent('P18: a trace is open for longer than that, without an entry', async () => {
    const trace = await fetchWithKey(sentinel, '/fame/v1/trace');
    expect(trace.status).toBe(200);
    await answerTo('GET /healthz HTTP/1.1\r\nHost: localhost\r\nX-Slow: ');
    const silent = await RawNode.open(sentinel.url);
    await silent.closed;
    const node = await RawNode.attached(sentinel.url);
    await node.bind('traced@fame.fabric');
    const reader = trace.body!.getReader();
    expect(new TextDecoder().decode((await reader.read()).value)).toContain('AddressBind');
    await reader.cancel();
    await node.close();
  });

  test.concurrent('Q19: an upgrade without a NodeAttach, by a client that ignores the close: closed within 10 s', async () => {
    const { answer, ms } = await answerTo(
      'GET /fame/v1/attach/ws/downstream/silent HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\n' +
        'Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n',
    );
    expect(status(answer)).toBe(101);
    expect(ms).toBeLessThan(10_000);
  });
});

test.each([
  [
    'headers of 20 KB',
    `GET /healthz HTTP/1.1\r\nHost: localhost\r\nX-Big: ${'x'.repeat(20_000)}\r\n\r\n`,
    431,
  ],
  ['a path of 20 KB', `GET /${'x'.repeat(20_000)} HTTP/1.1\r\nHost: localhost\r\n\r\n`, 431],
  ['bytes that are not HTTP', 'HELLO SENTINEL\r\n\r\n', 400],
  ['an unknown version', 'GET / HTTP/9.9\r\n\r\n', 400],
  ['two lengths', 'POST /healthz HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n', 400],
  [
    'an upgrade to another path',
    'GET /socket HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n',
    404,
  ],
  [
    'an upgrade with a broken id',
    'GET /fame/v1/attach/ws/downstream/%E0%A4%A HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n',
    400,
  ],
  ['a path that cannot be read', 'GET /%zz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n', 400],
])('P18: %s is answered with %i, in the shape of every error', async (_what, text, code) => {
  const { answer } = await answerTo(text);
  expect(status(answer)).toBe(code);
  const { error } = JSON.parse(answer.slice(answer.indexOf('\r\n\r\n')));
  expect(error).toEqual({ code: expect.stringMatching(/^[A-Z_]+$/), message: expect.any(String) });
});

test('P18: a body that is too large is answered with 413, or refused before it is read', async () => {
  const answer = await fetch(`${sentinel.http}/healthz`, { method: 'POST', body: 'x'.repeat(100_000) });
  expect([404, 413]).toContain(answer.status);
});

test('P18: 200 half-open connections do not keep others out', async () => {
  const half = Array.from({ length: 200 }, () => open('GET /healthz HTTP/1.1\r\nHost: '));
  expect((await fetch(`${sentinel.http}/healthz`)).status).toBe(200);
  for (const socket of half) socket.destroy();
});
