// Checks responses of the OpenAI door against the published schemas, and against the rules for event streams that no schema contains.
import { schemaFaults } from './published-schemas.ts';

/** A request and its whole response. */
export interface Exchange {
  readonly method: string;
  /** Path with the query. */
  readonly url: string;
  readonly status: number;
  readonly contentType: string;
  readonly body: string;
}

/** An event of a stream. */
export interface SentEvent {
  readonly event: string | undefined;
  readonly id: string | undefined;
  readonly data: string;
}

type Fields = Record<string, unknown>;

/** Reads the events of a stream. Comments are left out. */
export const readEvents = (body: string): SentEvent[] =>
  body.split('\n\n').flatMap((block) => {
    const lines = block.split('\n').filter((line) => line !== '' && !line.startsWith(':'));
    const field = (name: string): string | undefined =>
      lines.find((line) => line.startsWith(`${name}: `))?.slice(name.length + 2);
    const data = field('data');
    return data === undefined ? [] : [{ event: field('event'), id: field('id'), data }];
  });

/** Returns the faults of a response; empty if it is as published. */
export function exchangeFaults(exchange: Exchange): string[] {
  const { status, url, contentType, body } = exchange;
  const path = url.split('?')[0]!;
  if (contentType.startsWith('text/event-stream')) {
    const events = readEvents(body);
    return path === '/v1/chat/completions' ? chunkFaults(events) : eventFaults(events);
  }
  if (body === '') return [];
  const value = JSON.parse(body) as Fields;
  if (status >= 400) return schemaFaults('openai_chat', 'ErrorResponse', value);
  return valueFaults(exchange.method, path, value);
}

function valueFaults(method: string, path: string, value: Fields): string[] {
  const [, , collection, id, part, itemId] = path.split('/');
  if (collection === 'models') return schemaFaults('openai_chat', id ? 'Model' : 'ListModelsResponse', value);
  if (collection === 'chat') return schemaFaults('openai_chat', 'CreateChatCompletionResponse', value);
  if (itemId !== undefined) return itemFaults(value);
  if (part === 'input_items' || part === 'items') return listFaults(value);
  if (collection === 'responses' && id === 'compact' && method === 'POST')
    return schemaFaults('openresponses', 'CompactResource', value);
  // OpenAI's document does not have conversations. `published-types.test.ts` compares them with the types of its library.
  return collection === 'responses' ? responseFaults(value) : [];
}

/** An item of another implementation carries a prefix, and the schemas have no place for it. */
const isExtension = (item: unknown): boolean =>
  typeof item === 'object' && item !== null && /^\w+:\w+$/.test(String((item as Fields).type));

function responseFaults(response: Fields): string[] {
  const output = Array.isArray(response.output) ? response.output : [];
  const plain = { ...response, output: output.filter((item) => !isExtension(item)) };
  return [
    ...schemaFaults('openresponses', 'ResponseResource', plain),
    ...schemaFaults('openai_chat', 'Response', forOpenAi(plain)),
    ...output.flatMap((item) => itemFaults(item)),
  ];
}

/**
 * OpenAI's document and that of Open Responses disagree: only the latter has a null `usage`, which it requires of a response that runs,
 * and codes of errors beyond a fixed list. OpenAI's is older than the status `cancelled`, which its library has.
 */
function forOpenAi(response: Fields): Fields {
  const { usage, status, ...rest } = response;
  return {
    ...rest,
    status: status === 'cancelled' ? 'incomplete' : status,
    error: null,
    ...(usage === null ? {} : { usage }),
  };
}

function itemFaults(item: unknown): string[] {
  if (!isExtension(item)) return schemaFaults('openresponses', 'ItemField', item);
  // The rules of the specification for all items.
  const { id, status } = item as Fields;
  return typeof id === 'string' && ['in_progress', 'completed', 'incomplete'].includes(String(status))
    ? []
    : [`${JSON.stringify(item)} has no id or no status`];
}

function listFaults(list: Fields): string[] {
  const data = Array.isArray(list.data) ? list.data : [];
  const isList =
    list.object === 'list' && typeof list.has_more === 'boolean' && 'first_id' in list && 'last_id' in list;
  return [...(isList ? [] : ['no list of items']), ...data.flatMap((item) => itemFaults(item))];
}

function chunkFaults(events: readonly SentEvent[]): string[] {
  return events.flatMap(({ data }) => {
    if (data === '[DONE]') return [];
    const chunk = JSON.parse(data) as Fields;
    return schemaFaults(
      'openai_chat',
      chunk.error ? 'ErrorResponse' : 'CreateChatCompletionStreamResponse',
      chunk,
    );
  });
}

/** Names of the schemas of events whose names do not follow from their types. */
const SCHEMAS: Readonly<Record<string, string>> = {
  'response.output_text.delta': 'ResponseOutputTextDeltaStreamingEvent',
  error: 'ErrorStreamingEvent',
};

const schemaOf = (type: string): string => {
  const words = type.replace('response.', '').split(/[._]/);
  const name = words.map((word) => word[0]!.toUpperCase() + word.slice(1)).join('');
  return SCHEMAS[type] ?? `Response${name}StreamingEvent`;
};

/** Faults of the events of a response: their schemas, their order, their numbers, and the end of the stream. */
export function eventFaults(events: readonly SentEvent[]): string[] {
  const faults: string[] = [];
  let number = -1;
  const last = events.at(-1);
  if (last?.data !== '[DONE]') faults.push('the stream does not end with [DONE]');
  for (const { event, id, data } of events) {
    if (data === '[DONE]') continue;
    const value = JSON.parse(data) as Fields;
    const { type, sequence_number: next, item, response } = value;
    if (event !== type) faults.push(`event ${event} has the type ${type}`);
    if (id !== undefined) faults.push(`event ${event} has the id ${id}`);
    if (typeof next !== 'number' || next <= number) faults.push(`number ${next} follows ${number}`);
    number = Number(next);
    const plain = isExtension(item) ? { ...value, item: null } : value;
    if (isExtension(item)) faults.push(...itemFaults(item));
    if (response) faults.push(...responseFaults(response as Fields));
    const checked = response ? { ...plain, response: withoutExtensions(response as Fields) } : plain;
    faults.push(...schemaFaults('openresponses', schemaOf(String(type)), checked));
  }
  return faults;
}

const withoutExtensions = (response: Fields): Fields => ({
  ...response,
  output: (response.output as unknown[]).filter((item) => !isExtension(item)),
});
