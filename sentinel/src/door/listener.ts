// The WebSocket door. It checks the upgrade (path, Origin, Host), and limits what a connection may cost before it attaches.
// Once a node is admitted its messages go straight from its `node-socket.ts` to the router.
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { type Clock, FabricError, LIMITS, type Logger } from '@fame-fabric/shared';
import { type ServerOptions, type WebSocket, WebSocketServer } from 'ws';
import { CLOSE } from '../close-codes.ts';
import type { Router } from '../route.ts';
import type { Ticker } from '../session/session.ts';
import type { Sessions } from '../session/sessions.ts';
import type { Admission, Claim } from './admission.ts';
import { refuseOn } from './http-refusal.ts';
import { NodeSocket } from './node-socket.ts';
import { isAllowedOrigin } from './origin.ts';

const ATTACH_PATH = /^\/fame\/v1\/attach\/ws\/(downstream|peer)\/([^/?#]+)\/?$/;

/** How long the other end has to answer a close frame, in ms. */
const CLOSE_TIMEOUT_MS = 2_000;

/** Connections that may be open without having attached. */
const MAX_UNATTACHED = 1_024;

export interface ListenerParts {
  admission: Admission;
  router: Router;
  sessions: Sessions;
  clock: Clock;
  ticker: Ticker;
  log: Logger;
}

export interface ListenerOptions {
  port: number;
  host: string;
  allowedOrigins: readonly string[];
  allowedHosts: readonly string[];
}

export class Listener {
  readonly #parts: ListenerParts;
  readonly #options: ListenerOptions;
  readonly #http: Server;
  readonly #door: WebSocketServer;
  readonly #unattached = new Set<NodeSocket>();
  readonly #sockets = new Set<NodeSocket>();
  /** Answers plain HTTP requests. */
  onRequest: (request: IncomingMessage, response: ServerResponse) => void = (_request, response) => {
    response.writeHead(503).end();
  };

  constructor(parts: ListenerParts, options: ListenerOptions) {
    this.#parts = parts;
    this.#options = options;
    this.#http = createServer(
      { maxHeaderSize: 16_384, connectionsCheckingInterval: 2_000 },
      (request, response) => this.onRequest(request, response),
    );
    this.#http.headersTimeout = 10_000;
    this.#http.requestTimeout = 15_000;
    this.#http.keepAliveTimeout = 5_000;
    // `closeTimeout` is documented by ws and missing in its types.
    const doorOptions: ServerOptions & { closeTimeout: number } = {
      noServer: true,
      clientTracking: false,
      perMessageDeflate: false,
      maxPayload: LIMITS.maxFrameBytes,
      maxFragments: 64,
      maxBufferedChunks: 1_024,
      // A connection whose other end does not answer the close frame is ended.
      closeTimeout: CLOSE_TIMEOUT_MS,
      // Any offered subprotocol is fine; a node that offers `bearer, <token>` must see `bearer` come back.
      handleProtocols: (offered) => offered.values().next().value ?? false,
    };
    this.#door = new WebSocketServer(doorOptions);
    this.#http.on('upgrade', (request, socket, head) => this.#upgrade(request, socket, head));
  }

  get server(): Server {
    return this.#http;
  }

  /** Opens the port and returns its number. @throws {CONFIG_INVALID} when it is taken or may not be opened */
  async start(): Promise<number> {
    const { port, host } = this.#options;
    await new Promise<void>((resolve, reject) => {
      const failed = (error: NodeJS.ErrnoException): void => reject(portError(error, host, port));
      this.#http.once('error', failed);
      this.#http.listen({ port, host, backlog: 4_096 }, () => {
        this.#http.off('error', failed);
        resolve();
      });
    });
    return (this.#http.address() as AddressInfo).port;
  }

  #upgrade(request: IncomingMessage, socket: Duplex, head: Buffer): void {
    const { admission, log, clock } = this.#parts;
    const url = request.url ?? '';
    const query = url.indexOf('?');
    const match = ATTACH_PATH.exec(query < 0 ? url : url.slice(0, query));
    if (!match) {
      refuseOn(socket, 404, 'NO_ROUTE', 'Nodes attach at /fame/v1/attach/ws/downstream/SYSTEM_ID');
      return;
    }
    if (admission.draining || this.#unattached.size >= MAX_UNATTACHED) {
      refuseOn(socket, 503, 'ADMIT_FULL', 'The sentinel takes no more nodes now; try again later');
      return;
    }
    if (!isAllowedOrigin(request.headers.origin, request.headers.host, this.#options)) {
      log.warn('refused a web page: its origin is not allowed', {
        code: 'AUTH_FORBIDDEN',
        origin: request.headers.origin?.slice(0, 120),
      });
      refuseOn(socket, 403, 'AUTH_FORBIDDEN', 'This Origin is not allowed');
      return;
    }
    let systemId: string;
    try {
      systemId = decodeURIComponent(match[2]!);
    } catch {
      refuseOn(socket, 400, 'PROTO_MALFORMED', 'The system id in the path cannot be read');
      return;
    }
    const claim: Claim = { origin: match[1] as Claim['origin'], systemId };
    this.#door.handleUpgrade(request, socket, head, (ws) => {
      const opening = { openedAt: clock.now(), hasHead: head.length > 0 };
      const node = new NodeSocket(ws, socket as Socket, claim, opening, this.#message);
      this.#open(node, ws, socket as Socket);
    });
  }

  readonly #message = (node: NodeSocket, bytes: Buffer): void => {
    if (node.session !== undefined) this.#parts.router.receive(node.session, bytes);
    else this.#first(node, bytes);
  };

  #open(node: NodeSocket, ws: WebSocket, socket: Socket): void {
    const { sessions } = this.#parts;
    this.#unattached.add(node);
    this.#sockets.add(node);
    socket.setNoDelay(true);
    ws.on('message', (data) => this.#message(node, data as Buffer));
    ws.on('pong', () => {
      if (node.session !== undefined) node.session.heardAt = this.#parts.ticker.now;
      node.ponged();
    });
    // ws closes a connection after every protocol error by itself, with the code of RFC 6455.
    ws.on('error', () => node.stopReading());
    ws.on('close', (code) => {
      this.#unattached.delete(node);
      this.#sockets.delete(node);
      if (node.session !== undefined) sessions.detach(node.session, node, code === CLOSE.normal);
      node.session = undefined;
    });
    socket.on('drain', () => node.session?.drained());
  }

  #first(node: NodeSocket, bytes: Buffer): void {
    if (node.spoke) return;
    node.spoke = true;
    const session = this.#parts.admission.admit(node, node.claim, bytes);
    // One that was refused counts among the unattached until it is closed.
    if (session === undefined) return;
    this.#unattached.delete(node);
    node.attached(session);
  }

  /** Closes connections that were opened before `olderThan` and have said nothing. */
  closeUnattached(olderThan: number): void {
    for (const node of this.#unattached) {
      if (node.openedAt > olderThan) break;
      this.#unattached.delete(node);
      if (node.spoke) node.terminate();
      else this.#parts.admission.refuse(node, undefined, 'ADMIT_TIMEOUT', 'No NodeAttach came in time');
    }
  }

  /** Takes no more connections; those that are open stay. */
  stopListening(): void {
    this.#http.close();
    this.#http.closeIdleConnections();
  }

  /** Closes all that is open, then the port; what does not answer the close within a second is ended. */
  async close(reason: string): Promise<void> {
    const closed = new Promise<void>((resolve) => this.#http.close(() => resolve()));
    // Nodes that come back all at once would meet a sentinel that has just started.
    for (const node of this.#sockets) {
      node.close(CLOSE.goingAway, `${reason}; retryAfterMs=${Math.round(200 + Math.random() * 1_800)}`);
    }
    const impatience = setTimeout(() => {
      for (const node of this.#sockets) node.terminate();
      this.#http.closeAllConnections();
    }, 1_000);
    this.#http.closeIdleConnections();
    await closed;
    clearTimeout(impatience);
  }
}

function portError(error: NodeJS.ErrnoException, host: string, port: number): FabricError {
  if (error.code === 'EADDRINUSE') {
    return new FabricError(
      'CONFIG_INVALID',
      `Port ${port} on ${host} is taken. Stop what has it (\`make stop\`, if \`make start\` began it), or choose another port with FAME_LISTENER_PORT.`,
      { cause: error, details: { reason: 'port-taken' } },
    );
  }
  if (error.code === 'EACCES') {
    return new FabricError(
      'CONFIG_INVALID',
      `Port ${port} may not be opened by this user; use one above 1023.`,
      {
        cause: error,
      },
    );
  }
  if (error.code === 'EADDRNOTAVAIL' || error.code === 'ENOTFOUND') {
    return new FabricError('CONFIG_INVALID', `FAME_LISTENER_HOST ${host} is no interface of this machine.`, {
      cause: error,
    });
  }
  return new FabricError('CONFIG_INVALID', `Port ${port} on ${host} cannot be opened: ${error.message}`, {
    cause: error,
  });
}
