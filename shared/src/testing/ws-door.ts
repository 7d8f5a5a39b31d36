// A real WebSocket server on a free port of the loopback, for tests; it hands each connection over as a transport.
import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { type WebSocket, WebSocketServer } from 'ws';
import type { Transport } from '../link/transport.ts';

export interface WsDoor {
  url: string;
  close(): Promise<void>;
}

/** @param accept gets the far end, the request's path and the subprotocols that were offered */
export async function openWsDoor(
  accept: (transport: Transport, path: string, protocols: string[]) => void,
  options: { verify?: (info: { req: { headers: Record<string, unknown> } }) => boolean } = {},
): Promise<WsDoor> {
  const server = new WebSocketServer({
    port: 0,
    host: '127.0.0.1',
    perMessageDeflate: false,
    ...(options.verify ? { verifyClient: options.verify as never } : {}),
  });
  await once(server, 'listening');
  server.on('connection', (ws, request) => {
    const protocols = (request.headers['sec-websocket-protocol'] ?? '').split(/,\s*/).filter(Boolean);
    accept(farEnd(ws), request.url ?? '', protocols);
  });
  return {
    url: `ws://127.0.0.1:${(server.address() as AddressInfo).port}`,
    async close() {
      for (const client of server.clients) client.terminate();
      const closed = once(server, 'close');
      server.close();
      await closed;
    },
  };
}

function farEnd(ws: WebSocket): Transport {
  const transport: Transport = {
    send: (bytes) => {
      if (ws.readyState !== ws.OPEN) return false;
      ws.send(bytes);
      return true;
    },
    close: (code, reason) => ws.close(code, reason),
    terminate: () => ws.terminate(),
    get bufferedBytes() {
      return ws.bufferedAmount;
    },
    onMessage: undefined,
    onClose: undefined,
  };
  ws.on('message', (data: Buffer) => transport.onMessage?.(data));
  ws.on('close', (code, reason) => transport.onClose?.(code, reason.toString()));
  ws.on('error', () => {});
  return transport;
}
