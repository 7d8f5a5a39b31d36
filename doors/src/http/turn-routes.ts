// One turn: `GET /agents/ADDRESS/turns/ID` is its report or its events, and DELETE cancels it. The conversation is named as
// `conversation_id` in the query, or in the header X-Conversation-Id.
import type { ConversationEvent, Conversations } from '@fame-fabric/client';
import { FabricError, isFabricError } from '@fame-fabric/shared';
import type { DoorDeps } from '../door.ts';
import { visitorOf } from '../fabric/visitor-of.ts';
import type { FastifyInstance, FastifyRequest } from '../fastify.ts';
import { leftSignal } from '../shared/left-signal.ts';
import { type EventStream, sse } from '../shared/sse.ts';
import { findAgent } from './find-agent.ts';
import { httpError } from './http-error.ts';
import { sendJson, wantsEvents } from './json.ts';
import { eventOf, idInHeader, turnHeaders } from './turn-run.ts';

interface TurnRequest {
  Params: { name: string; turn: string };
  Querystring: { conversation_id?: string };
}

export function turnRoutes(app: FastifyInstance, { fabric, options, clock }: DoorDeps): void {
  app.get<TurnRequest>('/agents/:name/turns/:turn', async (request, reply) => {
    const visitor = await visitorOf(fabric, request, reply);
    const { address } = await findAgent(visitor, request.params.name);
    const { turn } = request.params;
    const conversation = conversationOf(request, request.query.conversation_id);
    const conversations = visitor.client.conversations(address);
    const report = await conversations.turn(conversation, turn);
    reply.headers(turnHeaders(address, conversation, turn));
    if (!wantsEvents(request)) return sendJson(request, reply, report);
    const after = cursorOf(request) ?? Math.max(0, (report.accepted_seq ?? 1) - 1);
    // A browser repeats the request of a stream that has ended, until it gets this status.
    if (report.ended_at !== null && report.seq !== undefined && after >= report.seq)
      return reply.code(204).send();
    const signal = leftSignal(reply);
    const stream = sse(reply, { heartbeatMs: options.heartbeatMs, clock });
    await sendTurn(stream, conversations, { conversation, turn, after, signal });
    return reply;
  });
  app.delete<TurnRequest>('/agents/:name/turns/:turn', async (request, reply) => {
    const visitor = await visitorOf(fabric, request, reply);
    const { address } = await findAgent(visitor, request.params.name);
    const { turn } = request.params;
    const id = conversationOf(request, request.query.conversation_id);
    const conversations = visitor.client.conversations(address);
    // Throws for an unknown turn, which `cancel` would ignore.
    const { state } = await conversations.turn(id, turn);
    if (state === 'open' || state === 'input-required') {
      await visitor.client.conversation(address, { id, isResumed: true }).cancel(turn);
    }
    const report = await conversations.turn(id, turn);
    reply.headers(turnHeaders(address, id, turn));
    return sendJson(request, reply, { conversation_id: id, turn_id: turn, state: report.state });
  });
}

interface FollowedTurn {
  readonly conversation: string;
  readonly turn: string;
  readonly after: number;
  readonly signal: AbortSignal;
}

/** Sends the events of a turn after a cursor, up to its last one. */
async function sendTurn(
  stream: EventStream,
  conversations: Conversations,
  { conversation, turn, after, signal }: FollowedTurn,
): Promise<void> {
  try {
    for await (const event of conversations.follow(conversation, { after, signal })) {
      if (event.type === 'ended') break;
      if (turnOf(event) !== turn) continue;
      await stream.send(eventOf(event.type === 'error' ? { ...event, ...errorFields(event) } : event));
      if (event.type === 'done' || event.type === 'error' || stream.isOver) break;
    }
  } catch (error) {
    if (signal.aborted) return;
    const body = isFabricError(error) ? error : new FabricError('INTERNAL', 'The turn cannot be read');
    await stream.send({ event: 'error', data: JSON.stringify({ error: httpError(body) }) });
  } finally {
    stream.end();
  }
}

const turnOf = (event: ConversationEvent): unknown => ('turn_id' in event ? event.turn_id : undefined);

/** Adds the error in the form of this door to the fields of the event. */
const errorFields = (event: ConversationEvent & { readonly type: 'error' }) => ({
  error: { code: event.code, message: event.message, retryable: event.retryable ?? false },
});

/** @throws {REQUEST_INVALID} */
function conversationOf({ headers }: FastifyRequest, inQuery: string | undefined): string {
  const header = headers['x-conversation-id'];
  const id = inQuery ?? idInHeader(header);
  if (id !== undefined && id !== '') return id;
  throw new FabricError('REQUEST_INVALID', 'The conversation of the turn is missing', {
    details: { fix: 'Add ?conversation_id=ID. The Location header of a turn has the whole path.' },
  });
}

/** @throws {REQUEST_INVALID} */
function cursorOf({ headers }: FastifyRequest): number | undefined {
  const last = headers['last-event-id'];
  if (last === undefined || last === '') return undefined;
  const cursor = Number(last);
  if (Number.isSafeInteger(cursor) && cursor >= 0) return cursor;
  throw new FabricError('REQUEST_INVALID', 'Last-Event-ID must be the id of an event');
}
