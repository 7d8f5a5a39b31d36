// A relay between a node and its sentinel that loses the first acknowledgement of each message that the node received. The sender
// then sends the message again.
import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { WebSocket, WebSocketServer } from 'ws';

interface Sent {
  frame?: { type?: string; refId?: string; ok?: boolean };
}

export class LossyRelay {
  readonly #server = new WebSocketServer({ port: 0, host: '127.0.0.1' });
  readonly #lost = new Set<string>();

  /** @param url admission URL of the sentinel, without its last segment */
  static async to(url: string): Promise<LossyRelay> {
    const relay = new LossyRelay(url);
    await once(relay.#server, 'listening');
    return relay;
  }

  private constructor(url: string) {
    this.#server.on('connection', (node, request) => {
      const offered = request.headers['sec-websocket-protocol'];
      const origin = new URL(url).origin.replace('http', 'ws');
      const up = new WebSocket(`${origin}${request.url}`, offered?.split(', ') ?? []);
      const early: Buffer[] = [];
      node.on('message', (bytes: Buffer) => {
        if (this.#loses(bytes)) return;
        if (up.readyState === WebSocket.OPEN) up.send(bytes);
        else early.push(bytes);
      });
      up.on('open', () => {
        for (const bytes of early) up.send(bytes);
      });
      up.on('message', (bytes: Buffer) => node.send(bytes));
      node.on('close', () => up.close());
      up.on('close', () => node.close());
      // The close event follows, and the node reports it.
      up.on('error', () => node.close());
    });
  }

  /** Admission URL for nodes. */
  get url(): string {
    const { port } = this.#server.address() as AddressInfo;
    return `ws://127.0.0.1:${port}/fame/v1/attach/ws/downstream`;
  }

  close(): void {
    for (const socket of this.#server.clients) socket.terminate();
    this.#server.close();
  }

  #loses(bytes: Buffer): boolean {
    const { frame } = JSON.parse(bytes.toString()) as Sent;
    if (frame?.type !== 'DeliveryAck' || !frame.ok || !frame.refId || this.#lost.has(frame.refId))
      return false;
    this.#lost.add(frame.refId);
    return true;
  }
}
