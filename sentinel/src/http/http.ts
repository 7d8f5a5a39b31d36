// Plain HTTP on the sentinel's port: health, readiness, metrics, and what `fame ps` and `fame trace` read. The only file
// that knows fastify. It is loaded after the port listens, so that a node can attach before the web framework is there.
import type { IncomingMessage, Server, ServerResponse } from 'node:http';
import { Readable } from 'node:stream';
import Fastify, { type FastifyError, type FastifyInstance, type FastifyReply } from 'fastify';
import { refusalBody, refuseMalformed } from '../door/http-refusal.ts';
import { isAllowedHost, type OriginOptions } from '../door/origin.ts';
import type { OpenCalls } from '../open-calls.ts';
import type { Identity } from '../replies.ts';
import type { Sessions } from '../session/sessions.ts';
import { type Counters, renderMetrics } from './metrics.ts';
import type { TraceEntry, TraceTap } from './trace.ts';

/** Lines that a slow reader of the trace may be behind before lines are skipped for it. */
const TRACE_BACKLOG_BYTES = 1_048_576;
const MAX_TRACE_READERS = 8;

export interface HttpParts {
  self: Identity;
  sessions: Sessions;
  calls: OpenCalls;
  counters: Counters;
  trace: TraceTap;
  isReady: () => boolean;
  startedAt: number;
}

export type RequestHandler = (request: IncomingMessage, response: ServerResponse) => void;

/** Builds the routes for a server that the caller owns; what comes back answers its requests. */
export async function createHttp(
  server: Server,
  parts: HttpParts,
  options: OriginOptions,
): Promise<RequestHandler> {
  const { sessions, counters, calls, trace, self, startedAt } = parts;
  let handle: RequestHandler | undefined;
  const app: FastifyInstance = Fastify({
    logger: false,
    bodyLimit: 1_024,
    exposeHeadRoutes: true,
    forceCloseConnections: true,
    clientErrorHandler: refuseMalformed,
    frameworkErrors: (_error, _request, reply: FastifyReply) => {
      reply.code(400).send(refusalBody('PROTO_MALFORMED', 'The path of the request cannot be read'));
    },
    // The server is the listener's: it listens already and calls `handle` itself.
    serverFactory: (handler) => {
      handle = handler;
      return server;
    },
  });
  // The tables name nodes and addresses: a page that got here through a foreign name must not read them.
  app.addHook('onRequest', async (request, reply) => {
    const isHealth =
      request.url === '/healthz' || request.url === '/readyz' || request.url.endsWith('/health');
    if (!isHealth && !isAllowedHost(request.headers.host, options)) {
      await reply.code(403).send(refusalBody('AUTH_FORBIDDEN', 'This Host is not allowed'));
    }
  });
  app.setNotFoundHandler(async (request, reply) =>
    reply
      .code(404)
      .send(refusalBody('NO_ROUTE', `Nothing is served at ${request.method} ${request.url.slice(0, 120)}`)),
  );
  app.setErrorHandler<FastifyError>(async (error, _request, reply) => {
    const { statusCode = 500, message } = error;
    const ofTheCaller = statusCode === 413 ? 'MESSAGE_TOO_LARGE' : 'PROTO_MALFORMED';
    return reply.code(statusCode).send(refusalBody(statusCode < 500 ? ofTheCaller : 'INTERNAL', message));
  });

  const openSessions = (): number => {
    let open = 0;
    for (const session of sessions.all()) if (session.state === 'attached') open++;
    return open;
  };
  const attachHealth = () => ({
    status: 'healthy',
    active_connections: openSessions(),
    listenerType: 'WebSocketListener',
    listener_type: 'WebSocketListener',
  });
  app.get('/healthz', async () => ({ status: 'ok' }));
  app.get('/readyz', async (_request, reply) =>
    parts.isReady() ? { status: 'ready' } : reply.code(503).send({ status: 'draining' }),
  );
  app.get('/fame/v1/attach/health', async () => attachHealth());
  app.get('/fame/v1/ingress/health', async () => attachHealth());
  app.get('/metrics', async (_request, reply) => {
    let queuedMessages = 0;
    let queuedBytes = 0;
    for (const session of sessions.all()) {
      queuedMessages += session.queuedMessages;
      queuedBytes += session.queuedBytes;
    }
    const gauges = {
      sessions: openSessions(),
      openCalls: calls.count,
      queuedMessages,
      queuedBytes,
      uptimeMs: Date.now() - startedAt,
    };
    return reply.type('text/plain; version=0.0.4').send(renderMetrics(counters, gauges));
  });
  app.get('/fame/v1/nodes', async () => ({
    sentinel: { id: self.id, path: self.path, version: self.software, uptimeMs: Date.now() - startedAt },
    nodes: [...sessions.all()].map((session) => ({
      id: session.systemId,
      path: session.path,
      kind: session.kind,
      state: session.state,
      since: new Date(session.since).toISOString(),
      addresses: [...(session.addresses ?? [])],
      capabilities: [...(session.capabilities?.keys() ?? [])],
      queuedMessages: session.queuedMessages,
      queuedBytes: session.queuedBytes,
      openCalls: session.calls?.size ?? 0,
      serving: session.serving,
    })),
  }));
  let readers = 0;
  app.get('/fame/v1/trace', async (_request, reply) => {
    if (readers >= MAX_TRACE_READERS) {
      return reply
        .code(429)
        .send({ error: { code: 'QUOTA_EXCEEDED', message: `${MAX_TRACE_READERS} traces are open` } });
    }
    readers++;
    const stream = new Readable({ read() {} });
    const stop = trace.listen((entries: readonly TraceEntry[], missed: number) => {
      if (stream.readableLength > TRACE_BACKLOG_BYTES) return;
      const lines = entries.map((entry) => JSON.stringify(entry));
      if (missed > 0) lines.push(JSON.stringify({ t: Date.now(), missed }));
      stream.push(`${lines.join('\n')}\n`);
    });
    reply.raw.on('close', () => {
      readers--;
      stop();
      stream.destroy();
    });
    // The headers go at once, so that a reader knows it is listening before anything happens.
    reply.raw.flushHeaders?.();
    return reply.type('application/x-ndjson').send(stream);
  });

  await app.ready();
  return handle!;
}
