// Items of turns and conversations as lists, with the pages of the OpenAI API.
import type { ConversationEvent, ModelMessage, ToolResult } from '@fame-fabric/client';
import { invalid } from '../openai-error.ts';
import { type FunctionCallOutputItem, type Item, itemIds, outputText, type TurnPlace } from './resource.ts';
import { ResponseBuilder } from './response-builder.ts';
import { eventsOfTurn, settled } from './turn-events.ts';

type Ids = ReturnType<typeof itemIds>;
type StartedEvent = Extract<ConversationEvent, { type: 'started' }>;
type AcceptedEvent = Extract<ConversationEvent, { type: 'turn' }>;
/** An event of a turn. */
type OwnEvent = ConversationEvent & { turn_id: string };

/** The items that a turn was given: results of calls, then the text of the user. */
export function inputItems(
  { tool_results: results = [], user_message: text }: AcceptedEvent,
  place: TurnPlace,
): Item[] {
  const idOf = itemIds(place);
  const items: Item[] = results.map((result, i) => resultItem(result, idOf('fco', `in${i}`)));
  if (text !== '' || items.length === 0) items.push(inputMessage('user', text, idOf('msg', 'in')));
  return items;
}

/** The items that a conversation began with. Those of a fork belong to the responses before it. */
export function startItems({ messages = [] }: StartedEvent, place: Omit<TurnPlace, 'turn'>): Item[] {
  const idOf = itemIds({ ...place, turn: '' });
  return messages.flatMap((message, i) => messageItems(message, i, idOf));
}

function messageItems(message: ModelMessage, index: number, idOf: Ids): Item[] {
  const id = idOf('msg', `start${index}`);
  switch (message.role) {
    case 'assistant': {
      const { content, tool_calls: calls = [] } = message;
      const items: Item[] = calls.map(({ id: call_id, function: { name, arguments: args } }, i) => ({
        type: 'function_call',
        id: idOf('fc', `start${index}_${i}`),
        status: 'completed',
        call_id,
        name,
        arguments: args,
      }));
      if (content) {
        items.unshift({
          type: 'message',
          id,
          status: 'completed',
          role: 'assistant',
          content: [outputText(content)],
        });
      }
      return items;
    }
    case 'tool':
      return [resultItem(message, idOf('fco', `start${index}`))];
    default:
      return [inputMessage(message.role, message.content, id)];
  }
}

const inputMessage = (role: 'user' | 'system', text: string, id: string): Item => ({
  type: 'message',
  id,
  status: 'completed',
  role,
  content: [{ type: 'input_text', text }],
});

const resultItem = ({ tool_call_id, content }: ToolResult, id: string): FunctionCallOutputItem => ({
  type: 'function_call_output',
  id,
  status: 'completed',
  call_id: tool_call_id,
  output: content,
});

/** All items of a conversation, oldest first. */
export function conversationItems(
  events: readonly ConversationEvent[],
  place: Omit<TurnPlace, 'turn'>,
): Item[] {
  const items: Item[] = [];
  const byTurn = new Map<string, ConversationEvent[]>();
  for (const event of events) {
    if (event.type === 'started') items.push(...startItems(event, place));
    if (!('turn_id' in event)) continue;
    const { turn_id: turn } = event as OwnEvent;
    const own = byTurn.get(turn);
    if (own) own.push(event);
    else byTurn.set(turn, [event]);
  }
  for (const [turn, own] of byTurn) {
    const [accepted] = own;
    if (accepted?.type === 'turn') items.push(...inputItems(accepted, { ...place, turn }));
    items.push(...outputItems(own, { ...place, turn }));
  }
  return items;
}

function outputItems(events: readonly ConversationEvent[], place: TurnPlace): Item[] {
  const head = { id: '', model: place.agent, createdAt: 0, echo: {} as never };
  const builder = new ResponseBuilder(head, place, { now: () => 0 });
  for (const event of settled(eventsOfTurn(events, place.turn)).events) builder.add(event);
  return builder.response.output;
}

export interface ItemPage {
  object: 'list';
  data: Item[];
  first_id: string | null;
  last_id: string | null;
  has_more: boolean;
}

const MAX_LIMIT = 100;

/** Returns the page that a query asks for. `order` is `desc` by default. @throws {PARAMS_INVALID} */
export function pageOf(items: readonly Item[], query: unknown): ItemPage {
  const { limit: given, order = 'desc', after } = (query ?? {}) as Record<string, unknown>;
  if (order !== 'asc' && order !== 'desc') throw invalid('order', 'must be asc or desc.');
  const limit = given === undefined ? 20 : Number(given);
  if (!Number.isInteger(limit) || limit < 1 || limit > MAX_LIMIT)
    throw invalid('limit', `must be a whole number from 1 to ${MAX_LIMIT}.`);
  const ordered = order === 'asc' ? [...items] : items.toReversed();
  const start = after === undefined ? 0 : ordered.findIndex(({ id }) => id === after) + 1;
  if (after !== undefined && start === 0) throw invalid('after', 'is the id of no item in the list.');
  const data = ordered.slice(start, start + limit);
  return {
    object: 'list',
    data,
    first_id: data[0]?.id ?? null,
    last_id: data.at(-1)?.id ?? null,
    has_more: start + limit < ordered.length,
  };
}
