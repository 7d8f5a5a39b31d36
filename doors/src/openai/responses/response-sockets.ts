// The WebSocket transport of Open Responses at /v1/responses: a client sends `response.create` messages, and each response is sent as the
// events of its stream, one response after another. A response that is not stored can be continued on its own connection only.
import type { IncomingMessage } from 'node:http';
import type { Duplex } from 'node:stream';
import { FabricError } from '@fame-fabric/shared';
import { refuseOn } from '@fame-fabric/shared/router';
import { type ServerOptions, WebSocketServer } from 'ws';
import type { DoorDeps, SocketHandler } from '../../door.ts';
import type { Visitor } from '../../fabric/door-fabric.ts';
import { statusOf } from '../../shared/status.ts';
import { asFabricError } from './param-names.ts';
import { ResponseSocket } from './response-socket.ts';

/** Maximum number of open sockets. */
const MAX_SOCKETS = 1_024;
/** Maximum number of open sockets of one principal. */
const MAX_OF_PRINCIPAL = 256;
/** Time in which a client must answer a close frame, in ms. */
const CLOSE_TIMEOUT_MS = 2_000;

export class ResponseSockets implements SocketHandler {
  readonly #deps: DoorDeps;
  readonly #server: WebSocketServer;
  /** Upgrades whose credential is being verified, and open sockets. */
  #count = 0;
  readonly #open = new Set<ResponseSocket>();
  /** Number of sockets by principal. */
  readonly #ofPrincipal = new Map<string, number>();
  #isClosed = false;

  constructor(deps: DoorDeps) {
    this.#deps = deps;
    // `closeTimeout` is documented by ws and missing in its types.
    const options: ServerOptions & { closeTimeout: number } = {
      noServer: true,
      clientTracking: false,
      maxPayload: deps.options.bodyBytes,
      maxFragments: 64,
      maxBufferedChunks: 1_024,
      perMessageDeflate: false,
      closeTimeout: CLOSE_TIMEOUT_MS,
    };
    this.#server = new WebSocketServer(options);
  }

  upgrade(request: IncomingMessage, socket: Duplex, head: Buffer): void {
    const path = (request.url ?? '').split('?')[0];
    if (path !== '/v1/responses') {
      refuseOn(socket, 404, 'NO_ROUTE', 'WebSockets are served at /v1/responses');
      return;
    }
    if (this.#count >= MAX_SOCKETS || this.#isClosed) {
      refuseOn(socket, 503, 'QUOTA_EXCEEDED', `The door has ${MAX_SOCKETS} WebSockets already`);
      return;
    }
    this.#count += 1;
    socket.once('close', () => {
      this.#count -= 1;
    });
    // A client that leaves before the answer is an error of its socket only.
    socket.on('error', () => {});
    void this.#admit(request, socket, head);
  }

  async #admit(request: IncomingMessage, socket: Duplex, head: Buffer): Promise<void> {
    let visitor: Visitor;
    try {
      visitor = await this.#deps.fabric.visit(request);
    } catch (thrown) {
      const error = asFabricError(thrown);
      refuseOn(socket, statusOf(error), error.code as 'AUTH_INVALID', error.message);
      return;
    }
    if (socket.destroyed || this.#isClosed) {
      visitor.release();
      socket.destroy();
      return;
    }
    const { principal } = visitor;
    if (!this.#take(principal)) {
      visitor.release();
      const text = `You have ${MAX_OF_PRINCIPAL} WebSockets already`;
      refuseOn(socket, 429, 'QUOTA_EXCEEDED', text);
      return;
    }
    socket.once('close', () => {
      this.#give(principal);
      visitor.release();
    });
    this.#server.handleUpgrade(request, socket, head, (webSocket) => {
      const one = new ResponseSocket(webSocket, visitor, this.#deps);
      this.#open.add(one);
      const stop = visitor.onEnd(() =>
        one.close(new FabricError('AUTH_EXPIRED', 'The credential has ended')),
      );
      webSocket.once('close', () => {
        stop();
        this.#open.delete(one);
      });
    });
  }

  #take(principal: string): boolean {
    const count = this.#ofPrincipal.get(principal) ?? 0;
    if (count >= MAX_OF_PRINCIPAL) return false;
    this.#ofPrincipal.set(principal, count + 1);
    return true;
  }

  #give(principal: string): void {
    const count = this.#ofPrincipal.get(principal)! - 1;
    if (count > 0) this.#ofPrincipal.set(principal, count);
    else this.#ofPrincipal.delete(principal);
  }

  close(): void {
    this.#isClosed = true;
    for (const socket of this.#open) socket.close(new FabricError('LINK_DRAINING', 'The door is closing'));
  }
}
