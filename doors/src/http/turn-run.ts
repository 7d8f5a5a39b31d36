// Turns over plain HTTP: `POST /agents/ADDRESS/run_turn` with a message. The turn continues if its reader leaves, and a request with the
// same turn id or Idempotency-Key joins it.
import { createHash } from 'node:crypto';
import type { Client, TurnEvent, TurnOptions } from '@fame-fabric/client';
import { FabricError, isFabricError, newId } from '@fame-fabric/shared';
import type { DoorDeps } from '../door.ts';
import type { AgentCard } from '../fabric/agent-card.ts';
import type { Visitor } from '../fabric/door-fabric.ts';
import type { FastifyReply, FastifyRequest } from '../fastify.ts';
import { firstTurn, refusesUnknown } from '../shared/first-turn.ts';
import { leftSignal } from '../shared/left-signal.ts';
import { sse } from '../shared/sse.ts';
import { baseUrlOf, pathOf } from './examples.ts';
import { httpError } from './http-error.ts';
import { sendJson, wantsEvents } from './json.ts';

/** Time that a stream waits for its first event before it sends its headers, in ms, so that a refused turn is an HTTP error. */
const FIRST_EVENT_MS = 300;
const MAX_ID_CHARS = 128;

/** True if the operation runs a turn of a conversation. */
export const isTurn = ({ isChat }: AgentCard, method: string): boolean =>
  isChat && (method === 'run_turn' || method === 'run_turn_stream');

export interface TurnCall {
  readonly request: FastifyRequest;
  readonly reply: FastifyReply;
  readonly visitor: Visitor;
  readonly agent: AgentCard;
}

/** The agent, and the URL of the port for an example. */
interface Target {
  readonly address: string;
  readonly base: string;
}

/** The turn that a request asks for. */
interface TurnBody {
  readonly text: string;
  readonly conversationId: string | undefined;
  readonly turn: TurnOptions & { readonly turnId: string };
  readonly systemPrompt: string | undefined;
  readonly isEphemeral: boolean | undefined;
}

/** Runs or joins a turn, and answers with its outcome or its events. */
export async function runTurn(call: TurnCall, { clock, options }: DoorDeps): Promise<FastifyReply> {
  const { request, reply, visitor, agent } = call;
  const body = readTurn(request, visitor, {
    address: agent.address,
    base: baseUrlOf(request, options.publicUrl),
  });
  const conversationId = body.conversationId ?? newId();
  const ids = { conversation_id: conversationId, turn_id: body.turn.turnId };
  reply.headers(turnHeaders(agent.address, ids.conversation_id, ids.turn_id));
  const signal = leftSignal(reply);
  const events = turnEvents(visitor.client, agent, conversationId, body, signal);
  if (!wantsEvents(request)) {
    let outcome: Record<string, unknown> = {};
    for await (const event of events) if (event.type === 'done') outcome = { ...event };
    const { type: _type, seq: _seq, ...done } = outcome;
    return sendJson(request, reply, { ...ids, ...done });
  }
  let first = events.next();
  const { promise: waited, resolve } = Promise.withResolvers<void>();
  const timer = clock.after(FIRST_EVENT_MS, resolve);
  try {
    await Promise.race([first, waited]);
  } finally {
    timer.stop();
  }
  const stream = sse(reply, { heartbeatMs: options.heartbeatMs, clock });
  try {
    for (let event = await first; !event.done && !stream.isOver; event = await first) {
      await stream.send(eventOf(event.value));
      first = events.next();
    }
  } catch (error) {
    if (stream.isOver) return reply;
    const body = isFabricError(error)
      ? httpError(error)
      : httpError(new FabricError('INTERNAL', 'The turn failed'));
    await stream.send({ event: 'error', data: JSON.stringify({ ...ids, error: body }) });
  } finally {
    await events.return();
    stream.end();
  }
  return reply;
}

/** Headers that name a turn. `Location` is the path of its outcome and its events. */
export const turnHeaders = (
  address: string,
  conversationId: string,
  turnId: string,
): Record<string, string> => ({
  'x-conversation-id': encodeURIComponent(conversationId),
  'x-turn-id': encodeURIComponent(turnId),
  location: `${pathOf(address)}/turns/${encodeURIComponent(turnId)}?conversation_id=${encodeURIComponent(conversationId)}`,
});

/** Decodes an id that `turnHeaders` has written. */
export function idInHeader(value: string | readonly string[] | undefined): string | undefined {
  if (typeof value !== 'string') return undefined;
  try {
    return decodeURIComponent(value);
  } catch {
    return value;
  }
}

/** Converts an event to a server-sent event. Its id is the cursor, which a client sends back as Last-Event-ID. */
export const eventOf = (event: { readonly type: string; readonly seq?: number | undefined }) => ({
  event: event.type,
  data: JSON.stringify(event),
  id: event.seq === undefined ? undefined : String(event.seq),
});

// Starts a named conversation that does not exist, so that people can choose its name.
function turnEvents(
  client: Client,
  agent: AgentCard,
  id: string,
  { text, turn, conversationId, ...settings }: TurnBody,
  signal: AbortSignal,
): AsyncGenerator<TurnEvent, void> {
  const { address } = agent;
  const options: TurnOptions = { ...turn, signal, onLeave: 'continue' };
  const fresh = client.conversation(address, { id, ...settings });
  if (conversationId === undefined && !refusesUnknown(agent)) return fresh.stream(text, options);
  const existing = client.conversation(address, { id, isResumed: true });
  return firstTurn(
    () => existing.stream(text, options),
    () => fresh.start(),
  );
}

/** @throws {REQUEST_INVALID} */
function readTurn(request: FastifyRequest, { principal }: Visitor, target: Target): TurnBody {
  const { address } = target;
  const { body, headers } = request;
  if (typeof body !== 'object' || body === null || Array.isArray(body)) {
    throw invalid('The body must be an object with user_message', target);
  }
  const fields = body as Readonly<Record<string, unknown>>;
  const text = fields.user_message ?? fields.message;
  const { tool_results: toolResults, options, include, after } = fields;
  if (typeof text !== 'string' && !(text === undefined && toolResults !== undefined)) {
    throw invalid('user_message must be a text', target);
  }
  const key = textOf('Idempotency-Key', headers['idempotency-key'], 1_024);
  const turnId =
    textOf('turn_id', fields.turn_id, MAX_ID_CHARS) ?? (key && turnIdOf(principal, address, key));
  const last = headers['last-event-id'] ?? after;
  const cursor = last === undefined || last === '' ? undefined : Number(last);
  if (cursor !== undefined && !(Number.isSafeInteger(cursor) && cursor >= 0)) {
    throw invalid('Last-Event-ID must be the id of an event', target);
  }
  if (cursor !== undefined && turnId === undefined) {
    throw invalid('Last-Event-ID needs the turn_id or the Idempotency-Key of the turn', target);
  }
  return {
    text: typeof text === 'string' ? text : '',
    conversationId:
      textOf('conversation_id', fields.conversation_id, MAX_ID_CHARS) ??
      textOf('X-Conversation-Id', idInHeader(headers['x-conversation-id']), MAX_ID_CHARS),
    systemPrompt: textOf('system_prompt', fields.system_prompt, Number.POSITIVE_INFINITY),
    isEphemeral: fields.ephemeral === true ? true : undefined,
    turn: {
      turnId: turnId ?? newId(),
      after: cursor,
      // The agent checks these.
      options: options as TurnOptions['options'],
      toolResults: toolResults as TurnOptions['toolResults'],
      retryKey: textOf('retry_key', fields.retry_key, MAX_ID_CHARS),
      retryCount: fields.retry_count as number | undefined,
      include: (Array.isArray(include) ? include : undefined) as TurnOptions['include'],
    },
  };
}

const turnIdOf = (principal: string, address: string, key: string): string =>
  `idem-${createHash('sha256')
    .update(JSON.stringify([principal, address, key]))
    .digest('base64url')}`;

function textOf(name: string, value: unknown, maxChars: number): string | undefined {
  if (value === undefined || value === null || value === '') return undefined;
  if (typeof value === 'string' && value.length <= maxChars && value.isWellFormed()) return value;
  throw new FabricError('REQUEST_INVALID', `${name} must be a text of at most ${maxChars} characters`);
}

const invalid = (message: string, { base, address }: Target): FabricError =>
  new FabricError('REQUEST_INVALID', message, {
    details: { example: `curl -s ${base}${pathOf(address)}/run_turn -d '{"user_message":"Hello"}'` },
  });
