// The routes of /v1/responses and /v1/conversations.
import { FabricError } from '@fame-fabric/shared';
import type { DoorDeps } from '../../door.ts';
import { visitorOf } from '../../fabric/visitor-of.ts';
import type { FastifyPluginAsync } from '../../fastify.ts';
import { idHeader } from '../../shared/id-header.ts';
import { compact } from './compact.ts';
import { Continuations } from './continuations.ts';
import { conversationRoutes } from './conversations.ts';
import { createResponse, secondsOf } from './create.ts';
import { inputItems, pageOf, startItems } from './item-list.ts';
import { readTurn, storedResponse } from './journal-reader.ts';
import { inThisApi } from './param-names.ts';
import { type ResponseRef, readResponseId, responseNotFound } from './response-ids.ts';
import { startingAfter, streamStored } from './retrieve.ts';

type Params = { Params: { id: string } };

/** Creates the plugin. Its errors go to the handler of the door, with the parameters of this API. */
export const responsesRoutes =
  (deps: DoorDeps): FastifyPluginAsync =>
  async (app) => {
    const { fabric } = deps;
    const continuations = new Continuations();
    const now = (): number => secondsOf(deps);
    // The Python client sends the content type of JSON without a body.
    const parseJson = app.getDefaultJsonParser('error', 'error');
    app.addContentTypeParser('application/json', { parseAs: 'string' }, (request, body, done) => {
      if (body === '') done(null, undefined);
      else void parseJson(request, String(body), done);
    });
    app.setErrorHandler((error) => {
      throw inThisApi(error);
    });
    app.post('/v1/responses', (request, reply) => createResponse({ ...deps, continuations }, request, reply));
    app.post('/v1/responses/compact', async (request, reply) =>
      compact(deps, await visitorOf(fabric, request, reply), request.body),
    );
    app.get<Params>('/v1/responses/:id', async (request, reply) => {
      const ref = storedRef(request.params.id);
      const { stream, starting_after } = request.query as Record<string, unknown>;
      const after = startingAfter(starting_after);
      const visitor = await visitorOf(fabric, request, reply);
      reply.header('x-conversation-id', idHeader(ref.conversation)).header('x-turn-id', idHeader(ref.turn));
      if (stream === 'true') return streamStored(deps, { visitor, ref, after, reply });
      return (await storedResponse(visitor, ref, now)).response;
    });
    app.post<Params>('/v1/responses/:id/cancel', async (request, reply) => {
      const ref = storedRef(request.params.id);
      const visitor = await visitorOf(fabric, request, reply);
      const { hasEnded } = await readTurn(visitor, ref);
      const { agent, conversation: id, turn } = ref;
      if (!hasEnded) await visitor.client.conversation(agent, { id, isResumed: true }).cancel(turn);
      return (await storedResponse(visitor, ref, now)).response;
    });
    app.get<Params>('/v1/responses/:id/input_items', async (request, reply) => {
      const ref = storedRef(request.params.id);
      const visitor = await visitorOf(fabric, request, reply);
      const { accepted } = await readTurn(visitor, ref);
      const conversations = visitor.client.conversations(ref.agent);
      const { events } = await conversations.readEvents(ref.conversation, { limit: 2 });
      const [started, first] = events;
      const isFirst = first?.type === 'turn' && first.turn_id === ref.turn;
      const before =
        isFirst && started?.type === 'started' && !started.forked_from ? startItems(started, ref) : [];
      return pageOf([...before, ...inputItems(accepted, ref)], request.query);
    });
    app.delete<Params>('/v1/responses/:id', async (request, reply) => {
      const ref = storedRef(request.params.id);
      const visitor = await visitorOf(fabric, request, reply);
      await readTurn(visitor, ref);
      throw new FabricError(
        'OPERATION_UNSUPPORTED',
        'Responses cannot be deleted here. The retention of the agent removes them with their conversation; send store: false for one that is not kept.',
      );
    });
    conversationRoutes(app, deps);
  };

/** Reads the id of a stored response. @throws {TURN_UNKNOWN} */
function storedRef(id: string): ResponseRef {
  const ref = readResponseId(id);
  if (ref?.isStored) return ref;
  throw responseNotFound(id);
}
