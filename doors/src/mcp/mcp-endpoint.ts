// The path /mcp, for both eras of the protocol. Since 2026-07-28, each request is independent, and closing it cancels it. Clients of earlier
// versions open a session with `initialize`, and a call continues if its response is not read. A request without a session is served alone.
import type { IncomingHttpHeaders } from 'node:http';
import { FabricError } from '@fame-fabric/shared';
import type { DoorDeps } from '../door.ts';
import type { Visitor } from '../fabric/door-fabric.ts';
import { visitorOf } from '../fabric/visitor-of.ts';
import type { FastifyReply, FastifyRequest } from '../fastify.ts';
import { leftSignal, onClosed } from '../shared/left-signal.ts';
import { ListWatch } from './list-watch.ts';
import { mcpServer } from './mcp-server.ts';
import { authOf, type ServerDeps } from './request-context.ts';
import { respond } from './respond.ts';
import {
  canPoll,
  createMcpHandler,
  declaredBy,
  isLegacyRequest,
  type McpHttpHandler,
  rpcError,
  type ServerEventBus,
  tasksMissing,
} from './sdk.ts';
import { type Session, Sessions } from './sessions.ts';

const SESSION_HEADER = 'mcp-session-id';
/** Code of this protocol for an unknown session, and for other refusals of the transport. */
const SESSION_UNKNOWN = -32_001;
const SERVER_ERROR = -32_603;
/** Maximum number of messages of a batch. Only versions before 2025-06-18 have batches. */
const MAX_BATCH = 100;

interface Exchange {
  readonly request: FastifyRequest;
  readonly reply: FastifyReply;
  readonly visitor: Visitor;
  readonly web: Request;
}

export class McpEndpoint {
  readonly #deps: DoorDeps;
  readonly #server: ServerDeps;
  readonly #sessions: Sessions;
  readonly #watch: ListWatch;
  readonly #handlers = new Set<McpHttpHandler>();

  constructor(deps: DoorDeps, version: string) {
    const { clock, log, options } = deps;
    this.#deps = deps;
    this.#server = { clock, log, version, chatAddress: options.chatAddress };
    this.#sessions = new Sessions(clock);
    this.#watch = new ListWatch(clock);
  }

  async handle(request: FastifyRequest, reply: FastifyReply): Promise<void> {
    const visitor = await visitorOf(this.#deps.fabric, request, reply);
    const web = webRequest(request, leftSignal(reply));
    const exchange: Exchange = { request, reply, visitor, web };
    if (Array.isArray(request.body) && request.body.length > MAX_BATCH)
      throw new FabricError('REQUEST_INVALID', `A batch has at most ${MAX_BATCH} messages.`);
    const answer = (await isLegacyRequest(web.clone(), request.body))
      ? this.#legacy(exchange)
      : this.#modern(exchange);
    await respond(reply, answer, {
      clock: this.#deps.clock,
      heartbeatMs: this.#deps.options.heartbeatMs,
      takesEvents: request.headers.accept?.includes('text/event-stream') ?? false,
    });
  }

  #modern({ request, reply, visitor, web }: Exchange): Promise<Response> {
    const refusal = this.#refusedListener(request.body, visitor);
    if (refusal) return Promise.resolve(refusal);
    const handler = createMcpHandler(() => mcpServer(this.#server, { hasTasks: true }), {
      legacy: 'reject',
      bus: this.#busFor(visitor),
      keepAliveMs: this.#deps.options.heartbeatMs,
    });
    this.#handlers.add(handler);
    onClosed(reply, () => this.#handlers.delete(handler));
    return handler.fetch(web, { parsedBody: request.body, authInfo: authOf(visitor) });
  }

  async #legacy({ request, reply, visitor, web }: Exchange): Promise<Response> {
    const options = { parsedBody: request.body, authInfo: authOf(visitor) };
    const session = await this.#sessionOf(request, visitor);
    if (session === 'unknown') return rpcError(404, SESSION_UNKNOWN, 'Session not found');
    if (session === undefined) {
      const handler = createMcpHandler(() => mcpServer(this.#server, { hasTasks: false }), {
        keepAliveMs: this.#deps.options.heartbeatMs,
      });
      return handler.fetch(web, options);
    }
    const endUse = this.#sessions.use(session);
    onClosed(reply, endUse);
    if (request.method === 'GET') {
      const stop = this.#watch.listen(visitor, () => void notifyOfAgents(session));
      onClosed(reply, stop);
    }
    return session.transport.handleRequest(web, options);
  }

  async #sessionOf(
    { headers, body }: FastifyRequest,
    visitor: Visitor,
  ): Promise<Session | 'unknown' | undefined> {
    const id = headers[SESSION_HEADER];
    if (typeof id === 'string') return this.#sessions.find(id, visitor.principal) ?? 'unknown';
    if (!messagesOf(body).some(({ method }) => method === 'initialize')) return undefined;
    return this.#sessions.open(visitor.principal, mcpServer(this.#server, { hasTasks: false }));
  }

  /** Refuses a `subscriptions/listen` that asks for tasks without their extension, or that exceeds the limit. */
  #refusedListener(body: unknown, { principal }: Visitor): Response | undefined {
    const [message] = messagesOf(body);
    if (message?.method !== 'subscriptions/listen') return undefined;
    const { notifications } = (message.params ?? {}) as { notifications?: { taskIds?: unknown } };
    if (notifications?.taskIds !== undefined && !canPoll(declaredBy(message.params))) {
      const { code, message: text, data } = tasksMissing();
      return rpcError(400, code, text, { id: message.id, data });
    }
    if (!this.#watch.isFull(principal)) return undefined;
    return rpcError(429, SERVER_ERROR, 'Subscription limit reached', { id: message.id });
  }

  #busFor(visitor: Visitor): ServerEventBus {
    return {
      publish: () => {},
      subscribe: (listener) =>
        this.#watch.listen(visitor, () => {
          listener({ kind: 'tools_list_changed' });
          listener({ kind: 'prompts_list_changed' });
        }),
    };
  }

  async close(): Promise<void> {
    await Promise.all([...this.#handlers].map((handler) => handler.close()));
    await this.#sessions.close();
  }
}

/** Ignores a client that has disconnected. */
const notifyOfAgents = ({ server }: Session): Promise<unknown> =>
  Promise.allSettled([server.sendToolListChanged(), server.sendPromptListChanged()]);

interface Message {
  readonly id?: unknown;
  readonly method?: unknown;
  readonly params?: Record<string, unknown>;
}

const messagesOf = (body: unknown): Message[] =>
  (Array.isArray(body) ? body : [body]).filter((message) => typeof message === 'object' && message !== null);

/** The request without its body, which has been parsed. */
function webRequest({ method, headers, host, url }: FastifyRequest, signal: AbortSignal): Request {
  return new Request(`http://${host || 'localhost'}${url}`, { method, headers: webHeaders(headers), signal });
}

const webHeaders = (headers: IncomingHttpHeaders): Headers => {
  const copy = new Headers();
  for (const [name, value] of Object.entries(headers))
    for (const one of Array.isArray(value) ? value : [value]) if (one !== undefined) copy.append(name, one);
  return copy;
};
