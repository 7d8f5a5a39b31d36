// b1, a lower bound for any router on `ws`: forwards between callers and one agent, and reads no message after the attach and
// the bind. The agent answers in order, so an answer goes to the oldest open call. The remaining cost is that of `ws` and the
// kernel.
import { type WebSocket, WebSocketServer } from 'ws';

/** Callers without an answer yet, oldest first. */
const waitingCallers: WebSocket[] = [];
let agent: WebSocket | undefined;
const server = new WebSocketServer({
  host: '127.0.0.1',
  port: Number(process.env.FAME_LISTENER_PORT ?? 0),
  perMessageDeflate: false,
});
server.on('connection', (ws) => {
  let isReady = false;
  ws.on('message', (data: Buffer) => {
    if (isReady) {
      if (ws === agent) waitingCallers.shift()?.send(data, { binary: true });
      else {
        waitingCallers.push(ws);
        agent?.send(data, { binary: true });
      }
      return;
    }
    const { corrId, frame } = JSON.parse(data as unknown as string);
    if (frame.type === 'NodeAttach') {
      const ack = { type: 'NodeAttachAck', ok: true, targetSystemId: 'b1', targetPhysicalPath: '/b1' };
      const assignedPath = `/b1/${frame.systemId}`;
      ws.send(
        Buffer.from(JSON.stringify({ corrId, frame: { ...ack, assignedPath, software: 'bench-relay/b1' } })),
      );
      if (frame.systemId.startsWith('agent')) return;
      isReady = true;
    } else if (frame.type === 'AddressBind') {
      agent = ws;
      isReady = true;
      ws.send(Buffer.from(JSON.stringify({ corrId, frame: { type: 'AddressBindAck', ok: true } })));
    }
  });
});
server.on('listening', () => console.log(`listening ${(server.address() as { port: number }).port}`));
