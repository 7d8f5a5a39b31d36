// The other processes of `quotas.ts`. The attacker floods a port over raw TCP, as fast as the sockets take the bytes, and waits for no
// answer. It opens connections at a fixed pace: a server that refuses at once would otherwise get several times as many of them as one
// that never answers, and the floods could not be compared. `serve` opens a port that does nothing, or the least that a server can do.
// `agent` starts an agent that the flood calls.
import { randomBytes } from 'node:crypto';
import { connect, createServer, type Socket } from 'node:net';
import { Link } from '@fame-fabric/shared';
import { wsDial } from '@fame-fabric/shared/node';
import { answerCommands } from './child.ts';

export type FloodKind = 'connections' | 'binds' | 'calls' | 'messages' | 'bytes' | 'streams' | 'bad frames';

export type FloodCommand =
  | { cmd: 'flood'; kind: FloodKind; port: number; token: string; to: string; sentinelId: string }
  | { cmd: 'stop' }
  | { cmd: 'serve'; how: Service }
  | { cmd: 'agent'; url: string; token: string; address: string };

/**
 * `unserved` accepts connections and never reads them. `refusing` reads the request of each and answers with HTTP 429: no server can
 * do less against a flood of connections.
 */
export type Service = 'unserved' | 'refusing';

/** Traffic totals of a flood, to verify that it was heavy enough. */
export interface FloodResult {
  readonly connections: number;
  readonly sentBytes: number;
  readonly receivedBytes: number;
}

/** Connections that are open at once. */
const PARALLEL = { sending: 8, connecting: 32 };
/** Time after which a connection of the flood of connections is closed, in ms. */
const CONNECTION_MS = 50;
/** Shortest time between two connections in one place, in ms: 32 places open 533 connections per second. */
const RECONNECT_MS = 60;
/** Frames that are made once and sent repeatedly. */
const FRAMES = 512;

/** A masked WebSocket frame with a mask of zeros, which leaves the bytes as they are. */
function frameOf(text: string): Buffer {
  const body = Buffer.from(text);
  const head =
    body.length < 126
      ? Buffer.from([0x82, 0x80 | body.length])
      : body.length < 65_536
        ? Buffer.from([0x82, 0xfe, body.length >> 8, body.length & 255])
        : Buffer.from([
            0x82,
            0xff,
            0,
            0,
            0,
            0,
            0,
            body.length >> 16,
            (body.length >> 8) & 255,
            body.length & 255,
          ]);
  return Buffer.concat([head, Buffer.alloc(4), body]);
}

function upgradeOf(port: number, token: string, systemId: string): Buffer {
  const lines = [
    `GET /fame/v1/attach/ws/downstream/${systemId} HTTP/1.1`,
    `Host: 127.0.0.1:${port}`,
    'Connection: Upgrade',
    'Upgrade: websocket',
    'Sec-WebSocket-Version: 13',
    `Sec-WebSocket-Key: ${randomBytes(16).toString('base64')}`,
    `Authorization: Bearer ${token}`,
  ];
  const frame = { type: 'NodeAttach', originType: 'downstream', systemId, instanceId: systemId };
  return Buffer.concat([
    Buffer.from(`${lines.join('\r\n')}\r\n\r\n`),
    frameOf(JSON.stringify({ version: '1.0', id: 'attach', corrId: 'attach', frame })),
  ]);
}

function payloadOf(kind: FloodKind, path: string, to: string, n: number): string {
  const header = { version: '1.0', id: `${kind[0]}${n}`, flowId: 'flood', seqId: n, flowFlags: 0 };
  const call = (rtype: number, params: unknown): string =>
    JSON.stringify({
      ...header,
      to,
      replyTo: `__rpc__flood@${path}`,
      corrId: header.id,
      rtype,
      frame: { type: 'Data', payload: { jsonrpc: '2.0', id: header.id, method: 'echo', params } },
    });
  switch (kind) {
    case 'binds':
      return JSON.stringify({
        ...header,
        corrId: header.id,
        rtype: 1,
        replyTo: `__sys__@${path}`,
        frame: { type: 'AddressBind', address: `flood-${n}@fame.fabric` },
      });
    case 'calls':
      return call(2, ['flood']);
    case 'streams':
      return call(4, ['flood']);
    case 'bytes':
      return call(2, ['x'.repeat(200_000)]);
    case 'messages':
      return JSON.stringify({ ...header, to, frame: { type: 'Data', payload: { flood: n } } });
    default:
      return `{"version":"1.0","id":"${n}","frame":`;
  }
}

const sockets = new Set<Socket>();
const result = { connections: 0, sentBytes: 0, receivedBytes: 0 };
let isStopped = true;

function open(command: Extract<FloodCommand, { cmd: 'flood' }>, nth: number, serial: number): void {
  if (isStopped) return;
  const { kind, port, token, sentinelId, to } = command;
  const isShort = kind === 'connections';
  const openedAt = performance.now();
  const systemId = isShort ? `flood-${nth}-${serial}` : `flood-${nth}`;
  const path = `/${sentinelId}/${systemId}`;
  const socket = connect(port, '127.0.0.1');
  sockets.add(socket);
  result.connections++;
  let frames: Buffer | undefined;
  const send = (): void => {
    while (!isStopped && socket.writable) {
      frames ??= Buffer.concat(
        Array.from({ length: kind === 'bytes' ? 4 : FRAMES }, (_, n) =>
          frameOf(payloadOf(kind, path, to, n)),
        ),
      );
      result.sentBytes += frames.length;
      if (!socket.write(frames)) return;
    }
  };
  socket.on('error', () => {});
  socket.on('data', (bytes) => {
    result.receivedBytes += bytes.length;
  });
  socket.on('connect', () => {
    socket.write(upgradeOf(port, token, systemId));
    if (isShort) setTimeout(() => socket.destroy(), CONNECTION_MS);
    else {
      socket.on('drain', send);
      send();
    }
  });
  socket.on('close', () => {
    sockets.delete(socket);
    const waitMs = Math.max(0, openedAt + RECONNECT_MS - performance.now());
    setTimeout(() => open(command, nth, serial + 1), waitMs);
  });
}

const REFUSAL = Buffer.from(
  'HTTP/1.1 429 Too Many Requests\r\nConnection: close\r\nContent-Length: 0\r\n\r\n',
);

function serve(how: Service): Promise<number> {
  const { promise, resolve } = Promise.withResolvers<number>();
  const server = createServer((socket) => {
    socket.on('error', () => {});
    if (how === 'unserved') socket.pause();
    else socket.once('data', () => socket.end(REFUSAL, () => socket.destroy()));
  }).listen(0, '127.0.0.1', () => resolve((server.address() as { port: number }).port));
  return promise;
}

async function serveCalls(url: string, token: string, address: string): Promise<void> {
  const link = new Link({ url, dial: wsDial, token });
  await link.connect();
  await link.bind(address, { onCall: (call) => call.reply(call.params) });
}

answerCommands<FloodCommand>((command) => {
  if (command.cmd === 'serve') return serve(command.how);
  if (command.cmd === 'agent') return serveCalls(command.url, command.token, command.address);
  if (command.cmd === 'stop') {
    isStopped = true;
    for (const socket of sockets) socket.destroy();
    return { ...result };
  }
  Object.assign(result, { connections: 0, sentBytes: 0, receivedBytes: 0 });
  isStopped = false;
  const count = command.kind === 'connections' ? PARALLEL.connecting : PARALLEL.sending;
  // Timers that begin together would open all connections at once, again and again.
  for (let nth = 0; nth < count; nth++) setTimeout(() => open(command, nth, 0), (nth * RECONNECT_MS) / count);
  return undefined;
});
