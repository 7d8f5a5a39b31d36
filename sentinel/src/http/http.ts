// Plain HTTP on the sentinel's port: health, readiness, metrics, and the data of `fame ps` and `fame trace`. It is
// loaded after the port listens, so that nodes can attach before the web framework is ready.
import type { IncomingMessage, Server, ServerResponse } from 'node:http';
import type { Clock } from '@fame-fabric/shared';
import {
  FabricError,
  type OriginOptions,
  originFault,
  refusalBody,
  refuseMalformed,
  tableCode,
} from '@fame-fabric/shared/router';
import { type Granted, isKeyed, KEY_ADVICE } from '../access/access.ts';
import type { Counters } from '../counters.ts';
import type { HopLatency } from '../observe/hop-latency.ts';
import { type DoctorDeps, type DoctorOptions, runChecks } from './doctor.ts';
import {
  Fastify,
  type FastifyError,
  type FastifyInstance,
  type FastifyReply,
  type FastifyRequest,
} from './fastify.ts';
import type { SentinelMetrics } from './metrics.ts';
import { NODES_PATH, type NodesRoutesDeps, nodesRoutes } from './nodes-routes.ts';
import { PAGE_HEADERS, pageHtml } from './page.ts';
import { SESSION_PATH, type SessionRoutesDeps, sessionRoutes } from './session-routes.ts';
import { TRACE_PATH, type TraceRouteDeps, traceRoute } from './trace-route.ts';

/** Routes for health checks, which may use any host name. Their answers contain no names. */
const PROBES = new Set(['/healthz', '/readyz', '/fame/v1/attach/health', '/fame/v1/ingress/health']);

/** Path to which naylence nodes send envelopes when they attach over HTTP (decision 41). */
const HTTP_ATTACH = '/fame/v1/ingress/*';

const DOCTOR_PATH = '/fame/v1/doctor';

/** Routes that need no key. Without one, their answers contain nothing about a fabric that needs a key. */
const PUBLIC = new Set(['/', '/version', SESSION_PATH]);

export interface HttpDeps extends NodesRoutesDeps, TraceRouteDeps, SessionRoutesDeps, DoctorDeps {
  counters: Counters;
  hops: HopLatency;
  clock: Clock;
}

export interface HttpOptions extends OriginOptions, DoctorOptions {}

/** The pages behind the permission Watch, as policies name them. Any other page that is not public needs Admin. */
const PAGES = new Map([
  [NODES_PATH, 'nodes'],
  [TRACE_PATH, 'trace'],
  [DOCTOR_PATH, 'doctor'],
  ['/fame/v1/history', 'history'],
  ['/metrics', 'metrics'],
]);

// An agent whose OPENAI_BASE_URL points to a sentinel shows this text as the error of its model server.
function noRouteText(method: string, url: string, doors: string | undefined): string {
  const text = `There is no route ${method} ${url.slice(0, 120)}`;
  if (doors !== undefined) return `${text}. This port serves ${doors}`;
  return /\/(?:chat\/completions|models)\b/.test(url)
    ? `${text}: this is a Fame Fabric sentinel, not a model server. Check OPENAI_BASE_URL`
    : text;
}

const HTTP_ATTACH_REFUSED =
  'This sentinel has no HTTP attach. Attach over a WebSocket: set FAME_DIRECT_ADMISSION_URL to ' +
  'ws://HOST:PORT/fame/v1/attach/ws/downstream, and FAME_ADMISSION_PROFILE to open, or to direct if the node has a token';

const NOT_PERMITTED =
  'This page needs the role admin, or a policy that allows Watch. The key of this request has neither.';
const KEY_MISSING = new FabricError('AUTH_MISSING', `This page needs a key. ${KEY_ADVICE}`);

/** Status of a credential that was not accepted, unless it is 401. */
const STATUS_OF_FAULT: Readonly<Record<string, number>> = { AUTH_FORBIDDEN: 403, AUTH_UNAVAILABLE: 503 };

export type HttpHandler = (request: IncomingMessage, response: ServerResponse) => void;

/** Builds the routes for a server that the caller owns; returns the function that answers its requests. */
export async function createHttp(server: Server, deps: HttpDeps, options: HttpOptions): Promise<HttpHandler> {
  const { access, guard, identity, table } = deps;
  let handle: HttpHandler | undefined;
  const app: FastifyInstance = Fastify({
    logger: false,
    bodyLimit: 1_024,
    exposeHeadRoutes: true,
    forceCloseConnections: true,
    clientErrorHandler: refuseMalformed,
    frameworkErrors: (_error, _request, reply: FastifyReply) => {
      reply.code(400).send(refusalBody('PROTO_MALFORMED', 'The path of the request cannot be read'));
    },
    // The server belongs to the listener, which calls `handle` itself.
    serverFactory: (handler) => {
      handle = handler;
      return server;
    },
  });
  const callers = new WeakMap<FastifyRequest, Granted>();
  // The tables contain nodes and addresses. Only holders of the key may read them, and no web page that reaches this port through
  // a foreign DNS name.
  app.addHook('onRequest', async (request, reply) => {
    // Decide by the matched route, never by the text of the URL: its sender may append anything to it.
    if (PROBES.has(request.routeOptions.url ?? '')) return;
    const fault = originFault(request.headers, options);
    if (fault !== undefined) return reply.code(403).send(refusalBody('AUTH_FORBIDDEN', fault));
    // Before the body is read, which may have any size and type.
    if (request.routeOptions.url === HTTP_ATTACH) {
      return reply.code(501).send(refusalBody('OPERATION_UNSUPPORTED', HTTP_ATTACH_REFUSED));
    }
    if (request.is404 || PUBLIC.has(request.routeOptions.url ?? '')) return;
    const authentication = await access.authenticate(request);
    const page = PAGES.get(request.routeOptions.url ?? '');
    if (authentication.ok) {
      const { principal } = authentication;
      const action = page === undefined ? 'Admin' : 'Watch';
      if (guard.admits({ principal, action, address: page, remote: deps.clients.of(request) })) {
        callers.set(request, authentication);
        return;
      }
    }
    if (authentication.ok && isKeyed(authentication.principal)) {
      return reply
        .code(403)
        .header('www-authenticate', 'Bearer error="insufficient_scope"')
        .send(refusalBody('AUTH_FORBIDDEN', NOT_PERMITTED));
    }
    const { code, message } = authentication.ok ? KEY_MISSING : authentication.fault;
    const status = STATUS_OF_FAULT[code] ?? 401;
    if (status !== 401) return reply.code(status).send(refusalBody(tableCode(code), message));
    return reply
      .code(401)
      .header('www-authenticate', 'Bearer')
      .send(refusalBody(tableCode(code), message));
  });
  app.setNotFoundHandler(async (request, reply) =>
    reply.code(404).send(refusalBody('NO_ROUTE', noRouteText(request.method, request.url, deps.doors?.text))),
  );
  app.setErrorHandler<FastifyError>(async (error, _request, reply) => {
    const { statusCode = 500, message } = error;
    const clientError = statusCode === 413 ? 'MESSAGE_TOO_LARGE' : 'PROTO_MALFORMED';
    return reply.code(statusCode).send(refusalBody(statusCode < 500 ? clientError : 'INTERNAL', message));
  });

  const openSessions = (): number => {
    let open = 0;
    for (const session of table.all()) if (session.state === 'attached') open++;
    return open;
  };
  const attachHealth = () => ({
    status: 'healthy',
    active_connections: openSessions(),
    listenerType: 'WebSocketListener',
    listener_type: 'WebSocketListener',
  });
  app.get('/', async (_request, reply) =>
    reply.headers(PAGE_HEADERS).type('text/html; charset=utf-8').send(pageHtml(identity.version, deps.doors)),
  );
  app.get('/version', async () => ({ name: 'fame-fabric', version: identity.version }));
  app.get('/healthz', async () => ({ status: 'ok' }));
  app.get('/readyz', async (_request, reply) =>
    deps.isReady()
      ? // A sentinel without its cluster serves its own nodes, so it stays ready.
        { status: 'ready', cluster: deps.cluster?.status.state }
      : reply.code(503).send({ status: 'draining' }),
  );
  app.get('/fame/v1/attach/health', async () => attachHealth());
  app.get('/fame/v1/ingress/health', async () => attachHealth());
  // The hook above refuses every request.
  app.all(HTTP_ATTACH, async () => undefined);
  let metrics: Promise<SentinelMetrics> | undefined;
  app.get('/metrics', async (_request, reply) => {
    // Loaded for the first scrape, because most sentinels of developers have none.
    metrics ??= import('./metrics.ts').then(({ SentinelMetrics }) => new SentinelMetrics(deps));
    const { text, contentType } = await (await metrics).render();
    return reply.type(contentType).send(text);
  });
  app.get('/fame/v1/history', async () => deps.history.view);
  const callerOf = (request: FastifyRequest): Granted => callers.get(request)!;
  app.get(DOCTOR_PATH, async () => {
    const remote = await deps.cluster?.addresses();
    const remoteAddresses = remote && new Set(remote.map(({ address }) => address));
    return { checks: runChecks({ ...deps, remoteAddresses }, options) };
  });
  sessionRoutes(app, deps, options.isEncrypted ?? false);
  nodesRoutes(app, deps, callerOf);
  traceRoute(app, deps, callerOf);

  await app.ready();
  return handle!;
}
