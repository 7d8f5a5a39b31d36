// The port. Checks each upgrade (path, Origin, Host), creates the socket of the node, and passes it to admission. Plain HTTP
// requests go to the handler that the wiring passes in.
import { randomInt } from 'node:crypto';
import type { IncomingMessage, Server, ServerResponse } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import type { Clock, Logger } from '@fame-fabric/shared';
import { ATTACH_PATH } from '@fame-fabric/shared/internal';
import {
  type ClientAddresses,
  ConnectionSlots,
  closeWith,
  DEFAULT_CONNECTIONS_PER_ADDRESS,
  FabricError,
  HTTP_IDLE_MS,
  http,
  isLoopback,
  isLoopbackAddress,
  LIMITS,
  limitServer,
  refusalBytes,
  refuseOn,
  SERVER_OPTIONS,
  settingForPage,
  upgradeFault,
} from '@fame-fabric/shared/router';
import { type ServerOptions, WebSocketServer } from 'ws';
import type { Access } from '../access/access.ts';
import { BEARER_PROTOCOL } from '../access/credential.ts';
import { CLOSE } from '../close-codes.ts';
import type { Counters } from '../counters.ts';
import type { NodeTransport } from '../session/node-transport.ts';
import type { QueueBudget } from '../session/queue-budget.ts';
import type { Admission, Claim } from './admission.ts';
import { EarlyRefusals } from './early-refusals.ts';
import { NodeSocket, remoteOf } from './node-socket.ts';
import { PlainSocket } from './plain-socket.ts';
import { wsMismatch } from './ws-check.ts';

const ADMISSION_PATHS = /^\/fame\/v1\/attach\/ws\/(downstream|peer)\/([^/?#]+)\/?$/;

/** Time in which the other end must answer a close frame, in ms. */
const CLOSE_TIMEOUT_MS = 2_000;

/** Answers a plain HTTP request of `server`. */
export type RequestHandler = (server: Server, request: IncomingMessage, response: ServerResponse) => void;

/** Creates the server of a port with TLS. */
interface TlsPort {
  createServer(
    options: object,
    onRequest: (request: IncomingMessage, response: ServerResponse) => void,
  ): Server;
}

export interface ListenerDeps {
  access: Access;
  admission: Admission;
  onRequest: RequestHandler;
  /** Handles upgrades to paths that are not those of nodes. Returns false for an unknown path. @default none */
  onUpgrade?: ((request: IncomingMessage, socket: Duplex, head: Buffer) => boolean) | undefined;
  clock: Clock;
  budget: QueueBudget;
  clients: ClientAddresses;
  counters: Counters;
  /** @default the port serves plain HTTP */
  tls?: TlsPort | undefined;
  log: Logger;
}

export interface ListenerOptions {
  readonly port: number;
  readonly host: string;
  readonly allowedOrigins: readonly string[];
  readonly allowedHosts: readonly string[];
  /** True if the port serves TLS. @default false */
  readonly isEncrypted?: boolean | undefined;
  /** Connections of one client address that have not attached. Loopback has no limit. @default 200 */
  readonly maxConnectionsPerAddress?: number | undefined;
  /** Reads and writes through the public interface of `ws` alone. @default only if the installed `ws` fails `ws-check.ts` */
  readonly usesPlainWs?: boolean | undefined;
}

export class Listener {
  readonly #deps: ListenerDeps;
  readonly #options: ListenerOptions;
  readonly #httpServer: Server;
  readonly #wsServer: WebSocketServer;
  readonly #usesPlainWs: boolean;
  readonly #sockets = new Set<NodeTransport>();
  readonly #slots: ConnectionSlots;
  /** Absent if the port serves TLS, whose handshake costs more than the request. */
  readonly #earlyRefusals: EarlyRefusals | undefined;
  /** Release the slots of connections that clients opened directly, by address and port: TLS wraps the socket in another object. */
  readonly #releases = new Map<string, () => void>();

  constructor(deps: ListenerDeps, options: ListenerOptions) {
    this.#deps = deps;
    this.#options = options;
    const mismatch = wsMismatch();
    if (mismatch !== undefined) {
      deps.log.warn('the installed ws does not work as expected; using slower sockets', {
        reason: mismatch,
      });
    }
    this.#usesPlainWs = options.usesPlainWs ?? mismatch !== undefined;
    const onRequest = (request: IncomingMessage, response: ServerResponse): void => {
      // Not `timeout` of the server: each socket of a node would keep the timer that its upgrade stops.
      request.socket.setTimeout(HTTP_IDLE_MS);
      deps.onRequest(this.#httpServer, request, response);
    };
    this.#httpServer =
      deps.tls?.createServer(SERVER_OPTIONS, onRequest) ?? http.createServer(SERVER_OPTIONS, onRequest);
    limitServer(this.#httpServer);
    // `closeTimeout` is documented by ws and missing in its types.
    const wsOptions: ServerOptions & { closeTimeout: number } = {
      noServer: true,
      clientTracking: false,
      perMessageDeflate: false,
      // The transport answers pings: `ws` would answer any number of them.
      autoPong: false,
      maxPayload: LIMITS.maxFrameBytes,
      maxFragments: 64,
      maxBufferedChunks: 1_024,
      closeTimeout: CLOSE_TIMEOUT_MS,
      // Any offered subprotocol is accepted. A node that offers `bearer, <token>` gets `bearer` back, never the token.
      handleProtocols: (offered) =>
        offered.has(BEARER_PROTOCOL) ? BEARER_PROTOCOL : (offered.values().next().value ?? false),
    };
    this.#wsServer = new WebSocketServer(wsOptions);
    this.#slots = new ConnectionSlots(options.maxConnectionsPerAddress ?? DEFAULT_CONNECTIONS_PER_ADDRESS);
    if (deps.tls === undefined) this.#earlyRefusals = this.#interceptConnections();
    if (!isLoopback(options.host)) this.#httpServer.on('connection', (socket) => this.#connected(socket));
    this.#httpServer.on('upgrade', (request, socket, head) => this.#upgrade(request, socket, head));
  }

  /** Opens the port and returns its number. @throws {CONFIG_INVALID} when it is taken or may not be opened */
  async start(): Promise<number> {
    const { port, host } = this.#options;
    await new Promise<void>((resolve, reject) => {
      const onError = (error: NodeJS.ErrnoException): void => reject(portError(error, host, port));
      this.#httpServer.once('error', onError);
      this.#httpServer.listen({ port, host, backlog: 4_096 }, () => {
        this.#httpServer.off('error', onError);
        resolve();
      });
    });
    return (this.#httpServer.address() as AddressInfo).port;
  }

  #interceptConnections(): EarlyRefusals {
    const server = this.#httpServer;
    const [listener] = server.listeners('connection');
    const refusals = new EarlyRefusals({
      clock: this.#deps.clock,
      serve: (socket) => listener!.call(server, socket),
      onRefused: () => this.#deps.counters.exceedQuota('attaches'),
    });
    server.off('connection', listener as (socket: Socket) => void);
    server.on('connection', (socket) => refusals.admit(socket));
    return refusals;
  }

  // Counts a connection before it sends anything. Those of a proxy count for its clients, once their requests name them.
  #connected(socket: Socket): void {
    const { clients } = this.#deps;
    const address = clients.of({ headers: {}, socket });
    if (isLoopbackAddress(address) || clients.isTrusted(address)) return;
    const release = this.#take(address);
    if (release === undefined) {
      socket.destroy();
      return;
    }
    const remote = remoteOf(socket);
    this.#releases.set(remote, release);
    socket.once('close', () => {
      this.#releases.delete(remote);
      release();
    });
  }

  #take(address: string): (() => void) | undefined {
    const release = this.#slots.take(address);
    if (release !== undefined) return release;
    const { counters, log } = this.#deps;
    counters.exceedQuota('connections');
    log.warn('refused a connection: its address has too many that have not attached', { remote: address });
    return undefined;
  }

  #upgrade(request: IncomingMessage, socket: Duplex, head: Buffer): void {
    const { access, admission, budget, clients, clock, log } = this.#deps;
    // Python sentinels of naylence attach with an empty list of subprotocols, which `ws` refuses.
    if (request.headers['sec-websocket-protocol']?.trim() === '')
      delete request.headers['sec-websocket-protocol'];
    const url = request.url ?? '';
    const query = url.indexOf('?');
    const match = ADMISSION_PATHS.exec(query < 0 ? url : url.slice(0, query));
    if (!match) {
      if (this.#deps.onUpgrade?.(request, socket, head)) return;
      refuseOn(socket, 404, 'NO_ROUTE', `Nodes attach at ${ATTACH_PATH}/SYSTEM_ID`);
      return;
    }
    if (!admission.isOpen) {
      refuseOn(socket, 503, 'ADMIT_FULL', 'The sentinel accepts no more nodes now. Try again later.');
      return;
    }
    const fault = upgradeFault(request.headers, this.#options, !isLoopback(this.#options.host));
    if (fault !== undefined) {
      const { origin, host } = request.headers;
      log.warn('refused a connection: its Origin or Host is not allowed', {
        code: 'AUTH_FORBIDDEN',
        origin: origin?.slice(0, 120),
        host: host?.slice(0, 120),
        fix: settingForPage(request.headers, this.#options),
        remote: clients.hasProxies ? clients.of(request) : remoteOf(socket as Socket),
      });
      refuseOn(socket, 403, 'AUTH_FORBIDDEN', fault);
      return;
    }
    let systemId: string;
    try {
      systemId = decodeURIComponent(match[2]!);
    } catch {
      refuseOn(socket, 400, 'PROTO_MALFORMED', 'The system id in the path cannot be read');
      return;
    }
    const origin = match[1] as Claim['origin'];
    // A wrong credential is refused by the ack of the attach: a browser cannot read the answer to an upgrade. Admission waits for
    // a credential that is still being verified.
    const authentication = access.authenticate(request);
    const excess = admission.attachFault(authentication);
    if (excess !== undefined) {
      const answer = refusalBytes(429, 'QUOTA_EXCEEDED', excess.reason, excess.retryAfterMs);
      this.#earlyRefusals?.keep(request.headers.authorization, answer, excess);
      closeWith(socket, answer);
      return;
    }
    const client = clients.isForwarded(request) ? clients.of(request) : undefined;
    let onAttached = this.#releases.size > 0 ? this.#releases.get(remoteOf(socket as Socket)) : undefined;
    if (client !== undefined && !isLoopbackAddress(client)) {
      onAttached = this.#take(client);
      if (onAttached === undefined) {
        refuseOn(
          socket,
          429,
          'QUOTA_EXCEEDED',
          'Your address has too many connections that have not attached',
        );
        return;
      }
      socket.once('close', onAttached);
    }
    const claim: Claim = { origin, systemId, authentication, onAttached };
    this.#wsServer.handleUpgrade(request, socket, head, (ws) => {
      const tcp = socket as Socket;
      tcp.setNoDelay(true);
      const node = this.#usesPlainWs
        ? new PlainSocket(ws, tcp, { budget, clock, remote: client })
        : new NodeSocket(ws, tcp, { budget, clock, remote: client, hasHead: head.length > 0 });
      this.#sockets.add(node);
      ws.on('close', () => this.#sockets.delete(node));
      admission.open(node, claim);
    });
  }

  /** Closes all connections, then the port. Connections that do not answer the close within a second are terminated. */
  async close(reason: string): Promise<void> {
    const closed = new Promise<void>((resolve) => this.#httpServer.close(() => resolve()));
    // Nodes that return all at once would overload a sentinel that has just started.
    for (const node of this.#sockets) {
      node.close(CLOSE.goingAway, `${reason}; retryAfterMs=${randomInt(200, 2_000)}`);
    }
    const closeTimer = setTimeout(() => {
      for (const node of this.#sockets) node.terminate();
      this.#httpServer.closeAllConnections();
    }, 1_000);
    this.#httpServer.closeIdleConnections();
    await closed;
    clearTimeout(closeTimer);
  }
}

function portError(error: NodeJS.ErrnoException, host: string, port: number): FabricError {
  const invalid = (message: string, details?: Record<string, unknown>): FabricError =>
    new FabricError('CONFIG_INVALID', message, { cause: error, ...(details && { details }) });
  if (error.code === 'EADDRINUSE') {
    return invalid(
      `Port ${port} on ${host} is taken. Stop the process that uses it (\`make stop\`, if \`make start\` started it), or choose another port with FAME_LISTENER_PORT.`,
      { reason: 'port-taken' },
    );
  }
  if (error.code === 'EACCES') {
    return invalid(`This user may not open port ${port}. Choose one above 1023 with FAME_LISTENER_PORT.`);
  }
  if (error.code === 'EADDRNOTAVAIL' || error.code === 'ENOTFOUND') {
    return invalid(
      `FAME_LISTENER_HOST is ${host}, which is not an interface of this machine. Choose one of its addresses.`,
    );
  }
  return invalid(`Port ${port} on ${host} cannot be opened: ${error.message}`);
}
