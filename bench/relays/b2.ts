// b2, the baseline: a minimal JSON router on `ws`. It parses each message, looks up `to` in a Map, and forwards the original
// bytes. It has no credits, no limits and no replies to undeliverable messages.
import { type WebSocket, WebSocketServer } from 'ws';

const routes = new Map<string, WebSocket>();
const server = new WebSocketServer({
  host: '127.0.0.1',
  port: Number(process.env.FAME_LISTENER_PORT ?? 0),
  perMessageDeflate: false,
});
server.on('connection', (ws) => {
  ws.on('message', (data: Buffer) => {
    const envelope = JSON.parse(data as unknown as string);
    const { frame, to } = envelope;
    if (frame.type === 'Data') {
      (routes.get(to) ?? routes.get(to.slice(to.lastIndexOf('@') + 1)))?.send(data, { binary: true });
    } else if (frame.type === 'NodeAttach') {
      const assignedPath = `/b2/${frame.systemId}`;
      routes.set(assignedPath, ws);
      const ack = {
        type: 'NodeAttachAck',
        ok: true,
        targetSystemId: 'b2',
        targetPhysicalPath: '/b2',
        assignedPath,
      };
      ws.send(
        Buffer.from(
          JSON.stringify({ corrId: envelope.corrId, frame: { ...ack, software: 'bench-relay/b2' } }),
        ),
      );
    } else if (frame.type === 'AddressBind') {
      routes.set(frame.address, ws);
      ws.send(
        Buffer.from(JSON.stringify({ corrId: envelope.corrId, frame: { type: 'AddressBindAck', ok: true } })),
      );
    }
  });
});
server.on('listening', () => console.log(`listening ${(server.address() as { port: number }).port}`));
