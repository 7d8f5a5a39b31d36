// A WebSocket server that echoes every message through the sentinel's own sockets (`door/`): the harness of protocol tests
// such as Autobahn. It has no admission, and no bound on messages but its own.
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import { systemClock } from '@fame-fabric/shared';
import { type WebSocket, WebSocketServer } from 'ws';
import { NodeSocket } from '../door/node-socket.ts';
import { PlainSocket } from '../door/plain-socket.ts';
import { QueueBudget } from '../session/queue-budget.ts';

/** More than the largest message of Autobahn's case 9.2. */
const MAX_MESSAGE_BYTES = 17 * 1_048_576;

export interface EchoServerOptions {
  /** Use the socket that works through `ws` alone. @default false */
  readonly usesPlainWs?: boolean | undefined;
  /** @default 17 MiB */
  readonly maxMessageBytes?: number | undefined;
}

export interface EchoServer {
  /** `ws://127.0.0.1:port` */
  readonly url: string;
  readonly port: number;
  close(): Promise<void>;
}

export async function startEchoServer({
  usesPlainWs = false,
  maxMessageBytes = MAX_MESSAGE_BYTES,
}: EchoServerOptions = {}): Promise<EchoServer> {
  const server = createServer((_request, response) => response.writeHead(404).end());
  const sockets = new Set<Socket>();
  const wsServer = new WebSocketServer({
    noServer: true,
    // The transports answer pings.
    autoPong: false,
    clientTracking: false,
    perMessageDeflate: false,
    maxPayload: maxMessageBytes,
  });
  server.on('upgrade', (request, socket, head) => {
    const tcp = socket as Socket;
    wsServer.handleUpgrade(request, socket, head, (ws) => {
      sockets.add(tcp);
      tcp.once('close', () => sockets.delete(tcp));
      tcp.setNoDelay(true);
      echo(ws, tcp, head.length > 0, usesPlainWs, maxMessageBytes);
    });
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  return {
    url: `ws://127.0.0.1:${port}`,
    port,
    async close() {
      for (const socket of sockets) socket.destroy();
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

function echo(
  ws: WebSocket,
  socket: Socket,
  hasHead: boolean,
  usesPlainWs: boolean,
  maxMessageBytes: number,
): void {
  // The sockets of the sentinel send binary messages only, and a text must be echoed as a text.
  let isText = false;
  ws.on('message', (_data, isBinary) => {
    isText = !isBinary;
  });
  const budget = new QueueBudget({ queueBytes: maxMessageBytes, queueTotalBytes: 2 * maxMessageBytes });
  const node = usesPlainWs
    ? new PlainSocket(ws, socket, { budget, clock: systemClock })
    : new NodeSocket(ws, socket, { budget, clock: systemClock, hasHead });
  node.raiseLimits(maxMessageBytes);
  node.onMessage = (bytes) => {
    if (isText) ws.send(Buffer.from(bytes), { binary: false });
    else node.send(bytes);
    isText = false;
  };
}
