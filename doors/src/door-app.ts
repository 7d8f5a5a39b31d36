// The web server of a door: limits, checks of Origin and Host, CORS, and errors in the form of the protocol.
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Duplex } from 'node:stream';
import { FabricError, isFabricError, type Logger, newId } from '@fame-fabric/shared';
import { closestMatch, type Tracing, tracing } from '@fame-fabric/shared/internal';
import {
  HTTP_IDLE_MS,
  type RequestOriginOptions,
  refuseOn,
  requestFault,
  upgradeFault,
} from '@fame-fabric/shared/router';
import type { Door, SocketHandler } from './door.ts';
import {
  Fastify,
  type FastifyError,
  type FastifyInstance,
  type FastifyPluginAsync,
  type FastifyReply,
  type FastifyRequest,
} from './fastify.ts';
import { addCorsHeaders, preflightHeaders } from './shared/cors.ts';
import { checkDepth } from './shared/json-depth.ts';
import { inRequestSpan, startRequestSpan } from './shared/request-span.ts';
import { statusOf } from './shared/status.ts';

export interface DoorAppDeps {
  door: Door;
  plugin: FastifyPluginAsync;
  /** @default the door has no WebSockets */
  sockets?: SocketHandler | undefined;
  origins: RequestOriginOptions;
  log: Logger;
}

/** Methods that a path may have, for the answer to another one. */
const METHODS = ['GET', 'POST', 'PUT', 'PATCH', 'DELETE'] as const;

/** The web server of one door, without a port. */
export interface DoorApp {
  handle(request: IncomingMessage, response: ServerResponse): void;
  upgrade(request: IncomingMessage, socket: Duplex, head: Buffer): void;
  /** Sends a request without a connection, for tests. */
  readonly inject: FastifyInstance['inject'];
  close(): Promise<void>;
}

export async function makeDoorApp(
  { door, plugin, sockets, origins, log }: DoorAppDeps,
  { bodyBytes }: { bodyBytes: number },
): Promise<DoorApp> {
  const app = Fastify({
    logger: false,
    bodyLimit: bodyBytes,
    exposeHeadRoutes: true,
    routerOptions: { maxParamLength: 1_024 },
    frameworkErrors: (_error, request, reply: FastifyReply) => {
      const error = new FabricError(
        'PROTO_MALFORMED',
        `The path ${request.url.slice(0, 120)} cannot be read`,
      );
      return refuse(reply, door, error, 400);
    },
  });
  app.addHook('onRequest', async (request, reply) => {
    const fault = requestFault(request.headers, request.method, origins);
    if (fault !== undefined) return refuse(reply, door, new FabricError('AUTH_FORBIDDEN', fault), 403);
    addCorsHeaders(request.headers, reply);
    const preflight = preflightHeaders(request.method, request.headers);
    if (preflight !== undefined) return reply.code(204).headers(preflight).send();
  });
  if (tracing) addSpans(app, tracing);
  // The body has arrived, so the time limit of the request ends. The agent may take longer.
  app.addHook('preHandler', async (request) => {
    setIdleTimeout(request, 0);
    checkDepth(request.body);
  });
  app.addHook('onSend', async (request) => setIdleTimeout(request, HTTP_IDLE_MS));
  const paths = new Set<string>();
  app.addHook('onRoute', ({ url }) => {
    if (!/[:*]|\/$/.test(url)) paths.add(url);
  });
  app.setNotFoundHandler(async (request, reply) => {
    const [path = ''] = request.url.split('?');
    const methods = METHODS.filter((method) => paths.has(path) && app.hasRoute({ method, url: path }));
    if (methods.length > 0) {
      reply.header('allow', methods.join(', '));
      const text = `${path} takes ${methods.join(' and ')}, not ${request.method}`;
      return refuse(reply, door, new FabricError('REQUEST_INVALID', text), 405);
    }
    const near = closestMatch(path, paths);
    const fix = near ? `Did you mean ${near}?` : `This door has ${[...paths].join(', ')}.`;
    const text = `There is no route ${request.method} ${path.slice(0, 120)}`;
    return refuse(
      reply,
      door,
      new FabricError('NO_ROUTE', text, { retryable: false, details: { fix } }),
      404,
    );
  });
  app.setErrorHandler<FastifyError>(async (thrown, request, reply) => {
    const { error, status } = errorOf(thrown, bodyBytes);
    if (status === 500 && error.code === 'INTERNAL' && !isFabricError(thrown)) {
      const id = newId();
      log.error('a request to a door failed', {
        id,
        door: door.name,
        route: request.routeOptions.url,
        error: thrown,
      });
      return refuse(reply, door, new FabricError('INTERNAL', `The request failed (log line ${id})`), 500);
    }
    return refuse(reply, door, error, status);
  });
  await app.register(plugin);
  await app.ready();
  return {
    handle: (request, response) => app.routing(request, response),
    inject: app.inject.bind(app),
    upgrade(request, socket, head) {
      const fault = upgradeFault(request.headers, origins, origins.isOpen);
      if (fault !== undefined) refuseOn(socket, 403, 'AUTH_FORBIDDEN', fault);
      else if (sockets) sockets.upgrade(request, socket, head);
      else refuseOn(socket, 404, 'NO_ROUTE', 'No WebSocket is served here');
    },
    async close() {
      sockets?.close();
      await app.close();
    },
  };
}

// The context of the span is lost while the body is read, so the handler starts in it again.
function addSpans(app: FastifyInstance, tracer: Tracing): void {
  app.addHook('onRequest', async (request, reply) =>
    startRequestSpan(tracer, request.raw, reply.raw, request.routeOptions.url ?? 'unknown'),
  );
  app.addHook('preHandler', (request, _reply, done) => inRequestSpan(request.raw, done));
}

function setIdleTimeout(request: FastifyRequest, ms: number): void {
  request.raw.socket.setTimeout?.(ms);
}

function errorOf(thrown: FastifyError, bodyBytes: number): { error: FabricError; status: number } {
  if (isFabricError(thrown)) return { error: thrown, status: statusOf(thrown) };
  const { statusCode = 500, message } = thrown;
  if (statusCode === 413) {
    const text = `The body of the request is larger than ${bodyBytes} bytes`;
    return { error: new FabricError('MESSAGE_TOO_LARGE', text), status: 413 };
  }
  if (statusCode === 415) {
    const text = 'The body has no content type of JSON';
    const details = { fix: 'Send the header Content-Type: application/json.' };
    return { error: new FabricError('PROTO_MALFORMED', text, { details }), status: 415 };
  }
  if (statusCode < 500) return { error: new FabricError('PROTO_MALFORMED', message), status: statusCode };
  return { error: new FabricError('INTERNAL', 'The request failed'), status: 500 };
}

/** Answers with an error in the form of the door. */
function refuse(reply: FastifyReply, door: Door, error: FabricError, given: number): FastifyReply {
  const { status = given, headers = {}, body } = door.refusal(error, given);
  if (status === 401) reply.header('www-authenticate', 'Bearer');
  const { retryAfterMs } = error.details ?? {};
  if (typeof retryAfterMs === 'number' && retryAfterMs >= 0) {
    reply.header('retry-after', String(Math.ceil(retryAfterMs / 1_000)));
  }
  return reply.code(status).headers(headers).send(body);
}
