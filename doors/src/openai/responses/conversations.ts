// /v1/conversations: conversations of an agent in the form of the OpenAI API. The agent stores them; the id names the agent.
import type { ConversationEvent } from '@fame-fabric/client';
import { FabricError, isFabricError, newId } from '@fame-fabric/shared';
import type { DoorDeps } from '../../door.ts';
import type { Visitor } from '../../fabric/door-fabric.ts';
import { visitorOf } from '../../fabric/visitor-of.ts';
import type { FastifyInstance } from '../../fastify.ts';
import { chatAgent } from '../models.ts';
import { invalid } from '../openai-error.ts';
import { metadataOf } from './create-request.ts';
import { readItems } from './input-items.ts';
import { conversationItems, pageOf } from './item-list.ts';
import { isUnknown, recorded } from './journal-reader.ts';
import type { Item } from './resource.ts';
import { conversationId, conversationNotFound, readConversationId } from './response-ids.ts';
import { MAX_HISTORY_TURNS } from './turn-place.ts';

export interface ConversationResource {
  id: string;
  object: 'conversation';
  /** Seconds since the epoch. */
  created_at: number;
  metadata: Readonly<Record<string, unknown>>;
}

type Params = { Params: { id: string; item?: string } };

const START_TIMEOUT_MS = 30_000;
/** Events of a conversation whose items can be listed. */
const MAX_EVENTS = 100_000;

export function conversationRoutes(app: FastifyInstance, deps: DoorDeps): void {
  const { fabric, options } = deps;
  app.post('/v1/conversations', async (request, reply) => {
    const visitor = await visitorOf(fabric, request, reply);
    return create(visitor, request.body ?? {}, options.chatAddress);
  });
  /** An id of another door does not name an agent. The conversation then belongs to the agent at FAME_CHAT_ADDRESS. */
  const refOf = ({ params: { id } }: { params: { id: string } }): ConversationRef => ({
    id,
    ...(readConversationId(id) ?? { agent: options.chatAddress, conversation: id }),
  });
  app.get<Params>('/v1/conversations/:id', async (request, reply) => {
    const visitor = await visitorOf(fabric, request, reply);
    const { ref, started } = await startOf(visitor, refOf(request));
    return resourceOf(conversationId(ref.agent, ref.conversation), started);
  });
  app.get<Params>('/v1/conversations/:id/items', async (request, reply) => {
    const visitor = await visitorOf(fabric, request, reply);
    return pageOf(await itemsOf(visitor, refOf(request)), request.query);
  });
  app.get<Params>('/v1/conversations/:id/items/:item', async (request, reply) => {
    const visitor = await visitorOf(fabric, request, reply);
    const { item: itemId = '' } = request.params;
    const item = (await itemsOf(visitor, refOf(request))).find((one) => one.id === itemId);
    if (item) return item;
    throw new FabricError('TURN_UNKNOWN', `Item with id '${itemId.slice(0, 200)}' not found.`, {
      retryable: false,
      details: { param: 'item_id', openAiCode: 'item_not_found' },
    });
  });
  const journaled = 'The journal of the agent keeps each conversation unchanged.';
  for (const [method, url, reason] of [
    ['POST', '/v1/conversations/:id', 'The metadata of a conversation cannot be changed.'],
    ['DELETE', '/v1/conversations/:id', `Conversations cannot be deleted here. ${journaled}`],
    ['POST', '/v1/conversations/:id/items', 'Items are added by a response in the conversation.'],
    ['DELETE', '/v1/conversations/:id/items/:item', `Items cannot be deleted. ${journaled}`],
  ] as const) {
    app.route<Params>({
      method,
      url,
      handler: async (request, reply) => {
        const visitor = await visitorOf(fabric, request, reply);
        await startOf(visitor, refOf(request));
        throw new FabricError('OPERATION_UNSUPPORTED', reason);
      },
    });
  }
}

async function create(visitor: Visitor, body: unknown, chatAddress: string): Promise<ConversationResource> {
  if (typeof body !== 'object' || body === null || Array.isArray(body))
    throw invalid('body', 'must be a JSON object.');
  const { items, metadata: given, model = chatAddress } = body as Record<string, unknown>;
  if (typeof model !== 'string' || model === '') throw invalid('model', 'must be a text that is not empty.');
  const metadata = metadataOf(given);
  const messages = items === undefined || items === null ? [] : readItems(items, 'items');
  const { address } = await chatAgent(visitor, model);
  const system = messages.filter(({ role }) => role === 'system').map(({ content }) => content);
  const others = messages.filter(({ role }) => role !== 'system');
  const id = newId();
  const start = {
    id,
    max_history_length: MAX_HISTORY_TURNS,
    ...(system.length > 0 ? { system_prompt: system.join('\n\n') } : {}),
    ...(others.length > 0 ? { messages: others } : {}),
    ...(Object.keys(metadata).length > 0 ? { payload: { metadata } } : {}),
  };
  const { client } = visitor;
  await client.call(address, 'start_task', start, { timeoutMs: START_TIMEOUT_MS, resend: true });
  const ref = { id: conversationId(address, id), agent: address, conversation: id };
  const { started } = await startOf(visitor, ref);
  return resourceOf(ref.id, started);
}

/** A conversation at an agent, with the id that the client uses. */
interface ConversationRef {
  readonly id: string;
  readonly agent: string;
  readonly conversation: string;
}

type StartedEvent = Extract<ConversationEvent, { type: 'started' }>;

/** Reads the start of a conversation. @throws {CONVERSATION_UNKNOWN} also for one of another principal */
async function startOf(visitor: Visitor, ref: ConversationRef) {
  const conversations = visitor.client.conversations(ref.agent);
  try {
    const { events } = await conversations.readEvents(ref.conversation, { limit: 1 });
    const [started] = events;
    if (started?.type === 'started') return { ref, conversations, started };
  } catch (error) {
    if (isFabricError(error, 'METHOD_NOT_FOUND')) throw error;
    if (!isUnknown(error)) throw error;
  }
  throw conversationNotFound(ref.id);
}

async function itemsOf(visitor: Visitor, ref: ConversationRef): Promise<Item[]> {
  const { conversations } = await startOf(visitor, ref);
  const events: ConversationEvent[] = [];
  for await (const event of recorded(conversations, ref.conversation)) {
    events.push(event);
    if (events.length > MAX_EVENTS) {
      throw new FabricError('MESSAGE_TOO_LARGE', `The conversation has more than ${MAX_EVENTS} events.`);
    }
  }
  return conversationItems(events, ref);
}

function resourceOf(id: string, { at, payload }: StartedEvent): ConversationResource {
  const { metadata = {} } = (payload ?? {}) as { metadata?: Record<string, unknown> };
  return { id, object: 'conversation', created_at: Math.floor(Date.parse(at) / 1_000), metadata };
}
