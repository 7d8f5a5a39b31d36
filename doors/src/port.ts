// The port of doors in a separate process, with the limits of a sentinel's port.
import type { IncomingMessage, Server, ServerResponse } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { type Clock, FabricError, type Logger } from '@fame-fabric/shared';
import {
  ClientAddresses,
  ConnectionSlots,
  HTTP_IDLE_MS,
  type HttpDoors,
  http,
  isLoopback,
  isLoopbackAddress,
  limitServer,
  refusalBody,
  refuseMalformed,
  refuseOn,
  SERVER_OPTIONS,
} from '@fame-fabric/shared/router';

export interface DoorPortDeps {
  doors: HttpDoors;
  /** True if a door answers requests to this path. */
  claims: (path: string) => boolean;
  /** Describes the doors of the port, such as `OpenAI at /v1, MCP at /mcp`. */
  served: string;
  clock: Clock;
  log: Logger;
}

export interface DoorPortOptions {
  readonly port: number;
  readonly host: string;
  readonly trustedProxies: readonly string[];
  /** Connections of one client address. Loopback has no limit. */
  readonly maxConnectionsPerAddress: number;
}

export class DoorPort {
  readonly #deps: DoorPortDeps;
  readonly #options: DoorPortOptions;
  readonly #server: Server;
  readonly #clients: ClientAddresses;
  readonly #slots: ConnectionSlots;
  /** Responses that have not ended. */
  readonly #open = new Set<ServerResponse>();
  #onIdle: (() => void) | undefined;
  #isDraining = false;

  constructor(deps: DoorPortDeps, options: DoorPortOptions) {
    this.#deps = deps;
    this.#options = options;
    this.#clients = new ClientAddresses(options.trustedProxies);
    this.#slots = new ConnectionSlots(options.maxConnectionsPerAddress);
    this.#server = http.createServer(SERVER_OPTIONS, (request, response) => this.#answer(request, response));
    limitServer(this.#server);
    this.#server.on('upgrade', (request, socket, head) => this.#upgrade(request, socket, head));
    this.#server.on('clientError', refuseMalformed);
    if (!isLoopback(options.host)) this.#server.on('connection', (socket) => this.#connected(socket));
  }

  /** Opens the port and returns its number. @throws {CONFIG_INVALID} if it is in use, or may not be opened */
  async start(): Promise<number> {
    const { port, host } = this.#options;
    await new Promise<void>((resolve, reject) => {
      this.#server.once('error', (error: NodeJS.ErrnoException) => {
        const reason = error.code === 'EADDRINUSE' ? 'it is in use' : error.message;
        reject(new FabricError('CONFIG_INVALID', `FAME_DOORS_PORT: cannot open ${host}:${port}: ${reason}`));
      });
      this.#server.listen({ port, host }, resolve);
    });
    return (this.#server.address() as AddressInfo).port;
  }

  #connected(socket: Socket): void {
    const address = this.#clients.of({ headers: {}, socket });
    if (isLoopbackAddress(address) || this.#clients.isTrusted(address)) return;
    const release = this.#slots.take(address);
    if (release === undefined) {
      this.#deps.log.warn('refused a connection: too many from its address', { remote: address });
      socket.destroy();
      return;
    }
    socket.once('close', release);
  }

  #answer(request: IncomingMessage, response: ServerResponse): void {
    request.socket.setTimeout(HTTP_IDLE_MS);
    const { url = '' } = request;
    const query = url.indexOf('?');
    const path = query < 0 ? url : url.slice(0, query);
    if (path === '/healthz') {
      sendJson(response, 200, { status: 'ok' });
      return;
    }
    if (path === '/readyz') {
      sendJson(response, this.#isDraining ? 503 : 200, { status: this.#isDraining ? 'draining' : 'ready' });
      return;
    }
    if (this.#isDraining) {
      response.setHeader('connection', 'close');
      sendJson(response, 503, refusalBody('LINK_DRAINING', 'The doors are closing'));
      return;
    }
    if (!this.#deps.claims(path)) {
      sendJson(
        response,
        404,
        refusalBody(
          'NO_ROUTE',
          `There is no route ${request.method} ${path.slice(0, 120)}. This port serves ${this.#deps.served}`,
        ),
      );
      return;
    }
    this.#open.add(response);
    response.once('close', () => {
      this.#open.delete(response);
      if (this.#open.size === 0) this.#onIdle?.();
    });
    this.#deps.doors.handle(request, response);
  }

  #upgrade(request: IncomingMessage, socket: Duplex, head: Buffer): void {
    const { url = '' } = request;
    const query = url.indexOf('?');
    socket.on('error', () => {}); // a client that leaves while its door loads
    const isClaimed = this.#deps.claims(query < 0 ? url : url.slice(0, query));
    if (isClaimed && !this.#isDraining) this.#deps.doors.upgrade(request, socket, head);
    else
      refuseOn(
        socket,
        isClaimed ? 503 : 404,
        isClaimed ? 'LINK_DRAINING' : 'NO_ROUTE',
        'No WebSocket is served here',
      );
  }

  /** Refuses new requests, lets open responses finish for up to `drainMs`, then closes the doors and the port. */
  async drain(drainMs: number): Promise<void> {
    this.#isDraining = true;
    if (this.#open.size > 0) {
      const { promise, resolve } = Promise.withResolvers<void>();
      this.#onIdle = resolve;
      const deadline = this.#deps.clock.after(drainMs, resolve, { keepAlive: true });
      await promise;
      deadline.stop();
    }
    await this.#deps.doors.close();
    const closed = new Promise<void>((resolve) => this.#server.close(() => resolve()));
    this.#server.closeAllConnections();
    await closed;
  }
}

function sendJson(response: ServerResponse, status: number, body: unknown): void {
  response.writeHead(status, { 'content-type': 'application/json; charset=utf-8' });
  response.end(`${JSON.stringify(body)}\n`);
}
