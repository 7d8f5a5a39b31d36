// Checks the internals of `ws` that `node-socket.ts` relies on, on a pair of streams when the sentinel starts:
//   - after the upgrade the socket has one `data` listener, and it is that of `ws`;
//   - that listener, called with the bytes of some frames only, handles them at once;
//   - `ws` writes its own frames straight to the socket, so that our frames may go between them.
// If a check fails, `ws` is used through its public interface (`plain-socket.ts`).
import type { IncomingMessage } from 'node:http';
import { type Duplex, duplexPair } from 'node:stream';
import { WebSocket, WebSocketServer } from 'ws';

const HEADERS = {
  connection: 'Upgrade',
  upgrade: 'websocket',
  'sec-websocket-version': '13',
  'sec-websocket-key': 'AAAAAAAAAAAAAAAAAAAAAA==',
};
/** A ping and a text message in two fragments, with masks of zeros. */
const PING = Buffer.from([0x89, 0x81, 0, 0, 0, 0, 0x61]);
const FRAGMENTS = Buffer.from([0x01, 0x81, 0, 0, 0, 0, 0x62, 0x80, 0x81, 0, 0, 0, 0, 0x63]);
const PONG = Buffer.from([0x8a, 0x01, 0x61]);

/** Describes how the installed `ws` differs from what `NodeSocket` needs; `undefined` if it does not. */
export function wsMismatch(): string | undefined {
  const [socket, far] = duplexPair();
  const server = new WebSocketServer({ noServer: true, clientTracking: false, perMessageDeflate: false });
  let ws: WebSocket | undefined;
  try {
    const request = { method: 'GET', headers: HEADERS, url: '/' } as unknown as IncomingMessage;
    server.handleUpgrade(request, socket, Buffer.alloc(0), (opened) => {
      ws = opened;
    });
    return ws === undefined ? 'the upgrade is not synchronous' : mismatchOf(ws, socket, far);
  } catch (error) {
    return `it failed: ${(error as Error).message}`;
  } finally {
    ws?.terminate();
    socket.destroy();
    far.destroy();
  }
}

function mismatchOf(ws: WebSocket, socket: Duplex, far: Duplex): string | undefined {
  const events: string[] = [];
  ws.on('ping', (data) => events.push(`ping ${data}`));
  ws.on('message', (data) => events.push(`message ${data}`));
  ws.on('error', (error) => events.push(`error ${error.message}`));
  if (ws.readyState !== WebSocket.OPEN) return 'the connection is not open after the upgrade';
  const listeners = socket.listeners('data') as ((chunk: Buffer) => void)[];
  if (listeners.length !== 1) return `the socket has ${listeners.length} data listeners instead of one`;
  far.read();
  for (const bytes of [PING, FRAGMENTS]) listeners[0]!.call(socket, bytes);
  if (events.join() !== 'ping a,message bc') return `its data listener led to "${events.join()}"`;
  const written = far.read() as Buffer | null;
  return written?.equals(PONG) ? undefined : 'it does not write its frames to the socket at once';
}
