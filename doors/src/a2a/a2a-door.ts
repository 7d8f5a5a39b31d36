// The A2A door: cards, JSON-RPC and HTTP+JSON. `request-handler.ts` has the operations; `chat-tasks.ts`, `fame-tasks.ts` and
// `operation-calls.ts` call the agents. The door stores nothing between requests.
import { createHash } from 'node:crypto';
import { FabricError, isFabricError } from '@fame-fabric/shared';
import type { Door, DoorDeps } from '../door.ts';
import type { FastifyPluginAsync, FastifyReply } from '../fastify.ts';
import { legacyCardOf } from './agent-card.ts';
import { type AgentRequest, AgentRequests } from './agent-requests.ts';
import { a2aError, httpStatusOf, refusal } from './errors.ts';
import { sendEvents } from './event-stream.ts';
import { handleHttpJson } from './http-json.ts';
import { errorResponse, handleJsonRpc, readRequest } from './json-rpc.ts';
import { handleLegacyHttpJson } from './legacy-http-json.ts';
import { AgentCard, ContentTypeNotSupportedError, toLegacyHTTPError, toRestErrorBody } from './sdk.ts';
import { requestedVersion, type Version, versionOf } from './version.ts';

/** Time for which a client may keep a card, in seconds. */
const CARD_AGE = 60;
const JSON_TYPES = /^application\/(?:a2a\+)?json\b/i;
const A2A_TYPE = 'application/a2a+json';

export const a2aDoor: Door = { name: 'a2a', plugin: (deps) => new Routes(deps).plugin, refusal };

class Routes {
  readonly #deps: DoorDeps;
  readonly #requests: AgentRequests;

  constructor(deps: DoorDeps) {
    this.#deps = deps;
    this.#requests = new AgentRequests(deps);
  }

  readonly plugin: FastifyPluginAsync = async (app) => {
    // The bindings parse bodies themselves, because each has its own error for a malformed body.
    app.removeAllContentTypeParsers();
    app.addContentTypeParser('*', { parseAs: 'string' }, (_request, body, done) => done(null, body));
    for (const folder of ['', '/a2a/:agent'])
      for (const file of ['agent-card.json', 'agent.json'])
        app.get(`${folder}/.well-known/${file}`, (request: AgentRequest, reply) =>
          this.#card(request, reply),
        );
    for (const path of ['/a2a', '/a2a/', '/a2a/:agent', '/a2a/:agent/'])
      app.post(path, (request: AgentRequest, reply) => this.#jsonRpc(request, reply));
    app.route({
      method: ['GET', 'POST', 'DELETE'],
      url: '/a2a/:agent/v1/*',
      handler: (request: AgentRequest, reply) => this.#httpJson(request, reply),
    });
  };

  async #card(request: AgentRequest, reply: FastifyReply): Promise<FastifyReply> {
    const isLegacyPath = request.url.split('?')[0]!.endsWith('/agent.json');
    const isLegacy = isLegacyPath || requestedVersion(request) === '0.3';
    const card = await this.#requests.card(request, reply);
    const body = JSON.stringify(isLegacy ? await legacyCardOf(card) : AgentCard.toJSON(card));
    const etag = `"${createHash('sha256').update(body).digest('base64url').slice(0, 27)}"`;
    reply.header('etag', etag);
    reply.header('cache-control', `private, max-age=${CARD_AGE}`);
    reply.header('vary', 'A2A-Version, Authorization, Origin, X-Api-Key');
    if (isKnown(request.headers['if-none-match'], etag)) return reply.code(304).send();
    return reply.type('application/json').send(body);
  }

  async #jsonRpc(request: AgentRequest, reply: FastifyReply): Promise<FastifyReply> {
    if (!JSON_TYPES.test(request.headers['content-type'] ?? '')) {
      const error = new ContentTypeNotSupportedError('Content-Type: expected application/json');
      return reply.code(415).send(errorResponse({}, error, '1.0'));
    }
    const read = readRequest(String(request.body ?? ''));
    if ('response' in read) return reply.send(read.response);
    let version: Version | undefined;
    const failure = (error: unknown): unknown =>
      errorResponse(read.request, a2aError(error, this.#deps.log), version);
    try {
      version = versionOf(request);
      const handler = await this.#requests.handler(request, reply);
      const result = await handleJsonRpc(handler, read.request, version);
      if (!(Symbol.asyncIterator in result)) return reply.send(result);
      return await sendEvents(reply, this.#deps, result, failure);
    } catch (error) {
      if (isFabricError(error)) throw error; // an error of the caller or the agent, which has its own HTTP status
      return reply.send(failure(error));
    }
  }

  async #httpJson(request: AgentRequest, reply: FastifyReply): Promise<FastifyReply> {
    const { method, headers, query, url } = request;
    const contentType = headers['content-type'] ?? '';
    const body = String(request.body ?? '');
    const isLegacy = requestedVersion(request) === undefined || requestedVersion(request) === '0.3';
    const usesA2AType = headers.accept?.includes(A2A_TYPE) || contentType.startsWith(A2A_TYPE);
    reply.type(usesA2AType && !isLegacy ? A2A_TYPE : 'application/json');
    const failure = (thrown: unknown, given?: number): { status: number; body: unknown } => {
      const error = a2aError(thrown, this.#deps.log);
      const status = given ?? httpStatusOf(error);
      return { status, body: isLegacy ? toLegacyHTTPError(error) : toRestErrorBody(error, status) };
    };
    if (body !== '' && !JSON_TYPES.test(contentType)) {
      const text = 'Content-Type: expected application/json or application/a2a+json';
      // An unsupported media type of a part is a 400 instead.
      const refused = failure(new ContentTypeNotSupportedError(text), 415);
      return reply.code(refused.status).send(JSON.stringify(refused.body));
    }
    try {
      versionOf(request);
      const handler = await this.#requests.handler(request, reply);
      const handle = isLegacy ? handleLegacyHttpJson : handleHttpJson;
      const response = await handle(handler, {
        method,
        segments: (request.params['*'] ?? '').split('/').filter((segment) => segment !== ''),
        query: Object(query) as Record<string, unknown>,
        body,
      });
      if (!response)
        throw new FabricError('NO_ROUTE', `There is no operation ${method} ${url.slice(0, 120)}`);
      if ('events' in response)
        return await sendEvents(reply, this.#deps, response.events, (error) => failure(error).body);
      return reply
        .code(response.status)
        .send(response.body === undefined ? undefined : JSON.stringify(response.body));
    } catch (thrown) {
      const { status, body: answer } = failure(thrown);
      if (status === 401) reply.header('www-authenticate', 'Bearer');
      return reply.code(status).send(JSON.stringify(answer));
    }
  }
}

const isKnown = (header = '', etag: string): boolean =>
  header.split(',').some((one) => one.trim() === '*' || one.trim().replace(/^W\//, '') === etag);
