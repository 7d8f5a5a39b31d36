// The A2A door: cards, JSON-RPC and HTTP+JSON. `request-handler.ts` has the operations, `chat-tasks.ts` and `fame-tasks.ts` the way to
// the agents. The door keeps nothing between requests.
import { createHash } from 'node:crypto';
import { AgentCard, type Task } from '@a2a-js/sdk';
import { ContentTypeNotSupportedError, toRestErrorBody } from '@a2a-js/sdk/errors';
import { FabricError, isFabricError } from '@fame-fabric/shared';
import type { Door, DoorDeps } from '../door.ts';
import type { AgentCard as FabricCard } from '../fabric/agent-card.ts';
import { visitorOf } from '../fabric/visitor-of.ts';
import type { FastifyPluginAsync, FastifyReply, FastifyRequest } from '../fastify.ts';
import { sse } from '../shared/sse.ts';
import { cardOf, legacyCardOf, publicCardOf } from './agent-card.ts';
import { CURSOR } from './chat-task.ts';
import { ChatTasks } from './chat-tasks.ts';
import { a2aError, httpStatusOf, refusal } from './errors.ts';
import { FameTasks } from './fame-tasks.ts';
import { handleHttpJson } from './http-json.ts';
import { errorResponse, handleJsonRpc, readRequest } from './json-rpc.ts';
import { OperationCalls } from './operation-calls.ts';
import { RequestHandler } from './request-handler.ts';
import type { TaskSource, TaskSourceDeps } from './task-source.ts';
import { requestedVersion, versionOf } from './version.ts';

/** Time for which a client may keep a card, in seconds. */
const CARD_AGE = 60;
const JSON_TYPES = /^application\/(?:a2a\+)?json\b/i;
const A2A_TYPE = 'application/a2a+json';
/** Values that can be sent in a header. */
const HEADER_VALUE = /^[\x21-\x7e]+$/;

type AgentRequest = FastifyRequest<{ Params: { agent?: string; '*'?: string } }>;

export const a2aDoor: Door = { name: 'a2a', plugin: (deps) => new Routes(deps).plugin, refusal };

class Routes {
  readonly #deps: DoorDeps;

  constructor(deps: DoorDeps) {
    this.#deps = deps;
  }

  readonly plugin: FastifyPluginAsync = async (app) => {
    // The bindings read bodies themselves, because each has its own form for one that is malformed.
    app.removeAllContentTypeParsers();
    app.addContentTypeParser('*', { parseAs: 'string' }, (_request, body, done) => done(null, body));
    for (const file of ['agent-card.json', 'agent.json']) {
      app.get(`/.well-known/${file}`, (request: AgentRequest, reply) => this.#card(request, reply));
      app.get(`/a2a/:agent/.well-known/${file}`, (request: AgentRequest, reply) =>
        this.#card(request, reply),
      );
    }
    for (const path of ['/a2a', '/a2a/', '/a2a/:agent', '/a2a/:agent/'])
      app.post(path, (request: AgentRequest, reply) => this.#jsonRpc(request, reply));
    app.route({
      method: ['GET', 'POST', 'DELETE'],
      url: '/a2a/:agent/v1/*',
      handler: (request: AgentRequest, reply) => this.#httpJson(request, reply),
    });
  };

  async #card(request: AgentRequest, reply: FastifyReply): Promise<FastifyReply> {
    const isLegacy =
      request.url.split('?')[0]!.endsWith('/agent.json') || requestedVersion(request) === '0.3';
    const card = await this.#cardFor(request, reply);
    const body = JSON.stringify(isLegacy ? await legacyCardOf(card) : AgentCard.toJSON(card));
    const etag = `"${createHash('sha256').update(body).digest('base64url').slice(0, 27)}"`;
    reply.header('etag', etag);
    reply.header('cache-control', `private, max-age=${CARD_AGE}`);
    reply.header('vary', 'A2A-Version, Authorization, Origin, X-Api-Key');
    if (isKnown(request.headers['if-none-match'], etag)) return reply.code(304).send();
    return reply.type('application/json').send(body);
  }

  async #cardFor(request: AgentRequest, reply: FastifyReply): Promise<AgentCard> {
    const { agent } = request.params;
    try {
      const visitor = await visitorOf(this.#deps.fabric, request, reply);
      const found = await visitor.agent(agent ?? this.#deps.options.chatAddress);
      if (!found) throw unknownAgent(agent ?? this.#deps.options.chatAddress);
      return cardOf(found, {
        base: this.#base(request),
        needsCredential: await this.#needsCredential(request),
        canPush: canPush(found),
      });
    } catch (error) {
      // Clients discover how to get a credential. Other agents are not shown to strangers.
      if (agent !== undefined || !isFabricError(error, 'AUTH_MISSING')) throw error;
      return publicCardOf(this.#deps.options.chatAddress, this.#base(request));
    }
  }

  /** True if a request without a credential is refused. */
  async #needsCredential({ raw }: FastifyRequest): Promise<boolean> {
    try {
      const stranger = await this.#deps.fabric.visit({ headers: {}, socket: raw.socket });
      stranger.release();
      return false;
    } catch (error) {
      if (isFabricError(error, 'AUTH_MISSING')) return true;
      throw error;
    }
  }

  #base(request: FastifyRequest): string {
    return this.#deps.options.publicUrl ?? `${request.protocol}://${request.host}`;
  }

  async #jsonRpc(request: AgentRequest, reply: FastifyReply): Promise<FastifyReply> {
    const contentType = request.headers['content-type'] ?? '';
    if (!JSON_TYPES.test(contentType)) {
      const error = new ContentTypeNotSupportedError('Content-Type: expected application/json');
      return reply.code(415).send(errorResponse({}, error, '1.0'));
    }
    const read = readRequest(String(request.body ?? ''));
    if ('response' in read) return reply.send(read.response);
    let version: ReturnType<typeof versionOf> | undefined;
    try {
      version = versionOf(request, ['1.0', '0.3']);
      const handler = await this.#handler(request, reply);
      const result = await handleJsonRpc(handler, read.request, version);
      if (!(Symbol.asyncIterator in result)) return reply.send(result);
      const first = await result.next();
      if (first.done) throw new FabricError('INTERNAL', 'The stream has no events');
      return this.#stream(reply, chained(first.value, result), (error) =>
        errorResponse(read.request, error, version),
      );
    } catch (thrown) {
      if (isFabricError(thrown)) throw thrown;
      return reply.send(errorResponse(read.request, a2aError(thrown, this.#deps.log), version));
    }
  }

  async #httpJson(request: AgentRequest, reply: FastifyReply): Promise<FastifyReply> {
    const { method, headers, query, body } = request;
    const type = headers.accept?.includes(A2A_TYPE) || headers['content-type']?.startsWith(A2A_TYPE);
    reply.type(type ? A2A_TYPE : 'application/json');
    try {
      if (
        body !== undefined &&
        body !== null &&
        body !== '' &&
        !JSON_TYPES.test(headers['content-type'] ?? '')
      ) {
        const error = new ContentTypeNotSupportedError(
          'Content-Type: expected application/json or application/a2a+json',
        );
        return reply.code(415).send(JSON.stringify(toRestErrorBody(error, 415)));
      }
      versionOf(request, ['1.0']);
      const handler = await this.#handler(request, reply);
      const segments = segmentsOf(request.params['*'] ?? '');
      const asText = String(body ?? '');
      const response = await handleHttpJson(handler, {
        method,
        segments,
        query: Object(query) as Record<string, unknown>,
        body: asText,
      });
      if (!response)
        throw new FabricError('NO_ROUTE', `There is no operation ${method} ${request.url.slice(0, 120)}`);
      if ('events' in response) {
        const first = await response.events.next();
        if (first.done) throw new FabricError('INTERNAL', 'The stream has no events');
        return this.#stream(reply, chained(first.value, response.events), (error) =>
          toRestErrorBody(error, httpStatusOf(a2aError(error, this.#deps.log))),
        );
      }
      return reply
        .code(response.status)
        .send(response.body === undefined ? undefined : JSON.stringify(response.body));
    } catch (thrown) {
      const error = a2aError(thrown, this.#deps.log);
      const status = httpStatusOf(error);
      if (status === 401) reply.header('www-authenticate', 'Bearer');
      return reply.code(status).send(JSON.stringify(toRestErrorBody(error, status)));
    }
  }

  /** Finds the agent of a request, and makes the handler of its operations. */
  async #handler(request: AgentRequest, reply: FastifyReply): Promise<RequestHandler> {
    const { fabric, clock, log, options } = this.#deps;
    const visitor = await visitorOf(fabric, request, reply);
    const name = request.params.agent ?? options.chatAddress;
    const agent = await visitor.agent(name);
    if (!agent) throw unknownAgent(name);
    const left = new AbortController();
    reply.raw.once('close', () => left.abort(new FabricError('CALL_CANCELLED', 'The client has left')));
    const { client, principal } = visitor;
    const deps = { client, principal, agent, signal: left.signal, clock, log };
    const source = sourceOf(deps);
    const base = this.#base(request);
    const card = cardOf(agent, { base, needsCredential: false, canPush: canPush(agent) });
    return new RequestHandler({
      source,
      card,
      extendedCard: async () =>
        (await this.#needsCredential(request))
          ? cardOf(agent, { base, needsCredential: true, canPush: canPush(agent) })
          : undefined,
      onTask: (task) => addIds(reply, task),
      log,
    });
  }

  async #stream(
    reply: FastifyReply,
    events: AsyncIterable<unknown>,
    failure: (error: unknown) => unknown,
  ): Promise<FastifyReply> {
    const { heartbeatMs } = this.#deps.options;
    const stream = sse(reply, { heartbeatMs, clock: this.#deps.clock });
    try {
      for await (const event of events) {
        if (stream.isOver) break;
        await stream.send({ data: JSON.stringify(event), id: cursorOf(event) });
      }
    } catch (error) {
      await stream.send({ event: 'error', data: JSON.stringify(failure(error)) });
    }
    stream.end();
    return reply;
  }
}

/** The tasks of an agent. One that cannot describe itself may be an agent of naylence with tasks. */
function sourceOf(deps: TaskSourceDeps): TaskSource {
  const { isChat, hasTasks, isDescribed } = deps.agent;
  if (isChat) return new ChatTasks(deps);
  return hasTasks || !isDescribed ? new FameTasks(deps) : new OperationCalls(deps);
}

/** True if the agent sends push notifications for A2A. */
const canPush = ({ isChat, raw }: FabricCard): boolean => !isChat && raw.a2aPush === true;

const unknownAgent = (name: string): FabricError =>
  new FabricError('NO_ROUTE', `There is no agent ${name.slice(0, 120)}`, { retryable: false });

async function* chained<T>(first: T, rest: AsyncGenerator<T>): AsyncGenerator<T> {
  yield first;
  yield* rest;
}

/** Names the conversation and the turn of a task in the headers. */
function addIds(reply: FastifyReply, { contextId, id, metadata }: Task): void {
  const turn: unknown = metadata?.turnId ?? id;
  if (HEADER_VALUE.test(contextId)) reply.header('x-conversation-id', contextId);
  if (typeof turn === 'string' && HEADER_VALUE.test(turn)) reply.header('x-turn-id', turn);
}

/** The cursor of an event, for the `id` of its SSE event. Events of version 0.3 have their metadata one level higher. */
function cursorOf(event: unknown): string | undefined {
  const body = Object((event as { result?: unknown }).result ?? event) as Record<
    string,
    { metadata?: unknown }
  >;
  const metadata = body.statusUpdate?.metadata ?? body.artifactUpdate?.metadata ?? body.metadata;
  const cursor = (Object(metadata) as Record<string, unknown>)[CURSOR];
  return typeof cursor === 'number' ? String(cursor) : undefined;
}

const isKnown = (header = '', etag: string): boolean =>
  header.split(',').some((one) => one.trim() === '*' || one.trim().replace(/^W\//, '') === etag);

const segmentsOf = (path: string): string[] => path.split('/').filter((segment) => segment !== '');
