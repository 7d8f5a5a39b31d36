// A relay in front of a sentinel that keeps a copy of every envelope.
import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { type RawData, WebSocket, WebSocketServer } from 'ws';
import type { Proc } from '../../kit/processes.ts';
import type { Json } from '../../kit/raw-node.ts';
import { admissionUrl } from '../../kit/sentinel.ts';

export class WireTap {
  readonly url: string;
  readonly #server: WebSocketServer;
  readonly #seen: Json[] = [];
  /** Called for each envelope. */
  #onEnvelope: (() => void) | undefined;

  private constructor(server: WebSocketServer, sentinelPort: number) {
    this.#server = server;
    this.url = admissionUrl((server.address() as AddressInfo).port);
    server.on('connection', (near, { url, headers }) => {
      const protocols = headers['sec-websocket-protocol']?.split(',').map((text) => text.trim()) ?? [];
      const { authorization } = headers;
      const far = new WebSocket(`ws://127.0.0.1:${sentinelPort}${url}`, protocols, {
        headers: authorization === undefined ? {} : { authorization },
      });
      const opened = once(far, 'open');
      const pass = (to: WebSocket) => (data: RawData) => {
        this.#seen.push(JSON.parse(String(data)));
        this.#onEnvelope?.();
        to.send(data, { binary: true });
      };
      far.on('message', pass(near));
      near.on('message', (data) => void opened.then(() => pass(far)(data)));
      for (const [one, other] of [
        [near, far],
        [far, near],
      ] as const) {
        one.on('error', () => other.terminate());
        one.on('close', () => other.close());
      }
    });
  }

  static async start(sentinelPort: number): Promise<WireTap> {
    const server = new WebSocketServer({ port: 0, host: '127.0.0.1' });
    await once(server, 'listening');
    return new WireTap(server, sentinelPort);
  }

  /** Waits for an envelope, as long as the process runs. */
  async waitFor(matches: (envelope: Json) => boolean, proc: Proc): Promise<void> {
    const seen = new Promise<void>((resolve) => {
      this.#onEnvelope = () => {
        if (this.#seen.some(matches)) resolve();
      };
    });
    this.#onEnvelope!();
    const ended = proc.exited.then(() => {
      throw proc.failure('ended too early');
    });
    await Promise.race([seen, ended]);
    ended.catch(() => {});
  }

  /** Takes the envelopes that were seen so far. */
  take(): Json[] {
    return this.#seen.splice(0);
  }

  async stop(): Promise<void> {
    for (const socket of this.#server.clients) socket.terminate();
    this.#server.close();
    await once(this.#server, 'close');
  }
}
