// b2, the floor to be measured against: the least that a JSON router on `ws` can do. JSON.parse, one Map lookup on `to`,
// and the original bytes go on. No credits, no bounds, no answers to what cannot be routed.
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
        Buffer.from(JSON.stringify({ corrId: envelope.corrId, frame: { ...ack, software: 'floor/b2' } })),
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
