// Plain HTTP on the sentinel's port: health, readiness, metrics, and the data of `fame ps` and `fame trace`. It is
// loaded after the port listens, so that nodes can attach before the web framework is ready.
import type { IncomingMessage, Server, ServerResponse } from 'node:http';
import { Readable } from 'node:stream';
import type { Clock } from '@fame-fabric/shared';
import {
  type ClientAddresses,
  type Doors,
  FabricError,
  type OriginOptions,
  originFault,
  refusalBody,
  refuseMalformed,
  tableCode,
} from '@fame-fabric/shared/router';
import { type Access, type Granted, isKeyed, KEY_ADVICE } from '../access/access.ts';
import type { Guard } from '../access/guard.ts';
import type { Bindings } from '../bindings.ts';
import type { Counters } from '../counters.ts';
import type { Identity } from '../identity.ts';
import type { MemoryCeiling } from '../memory-ceiling.ts';
import type { History } from '../observe/history.ts';
import type { HopLatency } from '../observe/hop-latency.ts';
import type { OpenCalls } from '../open-calls.ts';
import type { QueueBudget } from '../session/queue-budget.ts';
import type { SessionTable } from '../session/session-table.ts';
import type { UplinkStatus } from '../uplink/uplink.ts';
import {
  Fastify,
  type FastifyError,
  type FastifyInstance,
  type FastifyReply,
  type FastifyRequest,
} from './fastify.ts';
import type { SentinelMetrics } from './metrics.ts';
import { PAGE_HEADERS, pageHtml } from './page.ts';
import { SESSION_PATH, sessionRoutes } from './session-routes.ts';
import type { TraceTap } from './trace.ts';

/** Backlog of one trace reader beyond which it misses entries. */
const TRACE_BACKLOG_BYTES = 1_048_576;
const MAX_TRACE_READERS = 8;
/** Interval of the check whether the credential of a trace reader is still valid, in ms. */
const CREDENTIAL_CHECK_MS = 2_000;

/** A silent trace has an empty line in this interval, because `fetch` gives up after 300 s without data. */
const TRACE_KEEP_ALIVE_MS = 60_000;

/** Routes for health checks, which may use any host name. Their answers contain no names. */
const PROBES = new Set(['/healthz', '/readyz', '/fame/v1/attach/health', '/fame/v1/ingress/health']);

/** Path to which naylence nodes send envelopes when they attach over HTTP (decision 41). */
const HTTP_ATTACH = '/fame/v1/ingress/*';

/** Routes that need no key. Without one, their answers contain nothing about a fabric that needs a key. */
const PUBLIC = new Set(['/', '/version', SESSION_PATH]);

export interface HttpDeps {
  access: Access;
  clients: ClientAddresses;
  guard: Guard;
  identity: Identity;
  table: SessionTable;
  bindings: Bindings;
  calls: OpenCalls;
  counters: Counters;
  hops: HopLatency;
  history: History;
  budget: QueueBudget;
  memory: MemoryCeiling;
  trace: TraceTap;
  isReady: () => boolean;
  /** Connections to a parent and to peers. */
  uplinks: readonly { readonly status: UplinkStatus }[];
  clock: Clock;
  /** Monotonic time of the start, in ms. */
  startedAt: number;
  /** The doors of the port. Undefined if it has none. */
  doors: Doors | undefined;
}

/** The pages behind the permission Watch, as policies name them. Any other page that is not public needs Admin. */
const PAGES = new Map([
  ['/fame/v1/nodes', 'nodes'],
  ['/fame/v1/trace', 'trace'],
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
export async function createHttp(
  server: Server,
  deps: HttpDeps,
  options: OriginOptions,
): Promise<HttpHandler> {
  const { access, bindings, budget, calls, clock, guard, identity } = deps;
  const { startedAt, table, trace } = deps;
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
    deps.isReady() ? { status: 'ready' } : reply.code(503).send({ status: 'draining' }),
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
  app.get('/fame/v1/nodes', async () => ({
    sentinel: {
      id: identity.id,
      path: identity.path,
      version: identity.software,
      uptimeMs: clock.monotonic() - startedAt,
      queues: {
        queuedBytes: budget.queuedBytes,
        socketBytes: budget.socketBytes,
        limitBytes: budget.queueBytes,
        totalLimitBytes: budget.queueTotalBytes,
      },
    },
    uplinks: deps.uplinks.map(({ status }) => status),
    nodes: [...table.all()].map((session) => ({
      id: session.systemId,
      path: session.path,
      kind: session.kind,
      state: session.state,
      principal: session.terms.principal.id,
      since: new Date(session.startedAt).toISOString(),
      addresses: [...(bindings.addressesOf(session) ?? [])],
      capabilities: [...bindings.capabilitiesOf(session)],
      queuedMessages: session.outbound.messages,
      queuedBytes: session.outbound.bytes,
      withheldGrants: session.outbound.withheldGrants,
      openCalls: calls.madeCount(session),
      serving: calls.servingCount(session),
    })),
  }));
  sessionRoutes(app, deps, options.isEncrypted ?? false);
  let readers = 0;
  app.get('/fame/v1/trace', async (request, reply) => {
    if (readers >= MAX_TRACE_READERS) {
      const message = `Trace limit reached (${MAX_TRACE_READERS}). Close another trace and try again.`;
      return reply.code(429).send(refusalBody('QUOTA_EXCEEDED', message));
    }
    readers++;
    // A trace may be silent for as long as there is nothing to trace.
    request.raw.socket.setTimeout(0);
    const stream = new Readable({ read() {} });
    const caller = callers.get(request)!;
    const endIfRevoked = (): boolean => {
      const isAllowed = guard.permissions.decide(caller.principal, 'Watch', 'trace').isAllowed;
      if (isAllowed && !access.hasEnded(caller, clock.now())) return false;
      stop();
      keepAlive.stop();
      stream.push(null);
      return true;
    };
    // A trace without entries ends, too.
    const credentialCheck = clock.every(CREDENTIAL_CHECK_MS, endIfRevoked);
    const keepAlive = clock.every(TRACE_KEEP_ALIVE_MS, () => {
      if (!stream.readableEnded && stream.readableLength === 0) stream.push('\n');
    });
    const stop = trace.listen((entries, missed) => {
      if (endIfRevoked()) return;
      if (stream.readableLength > TRACE_BACKLOG_BYTES) return;
      const lines = entries.map((entry) => JSON.stringify(entry));
      if (missed > 0) lines.push(JSON.stringify({ t: clock.now(), missed }));
      stream.push(`${lines.join('\n')}\n`);
    });
    reply.raw.on('close', () => {
      readers--;
      credentialCheck.stop();
      keepAlive.stop();
      stop();
      stream.destroy();
    });
    // Send the headers before the first entry, so that the client can tell when its trace has started.
    reply.raw.flushHeaders?.();
    return reply.type('application/x-ndjson').send(stream);
  });

  await app.ready();
  return handle!;
}
