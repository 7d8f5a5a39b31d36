// Requests to the Responses API without a connection, for unit tests. Each response is checked against the published schemas.
import type { DoorKit } from './door-kit.ts';
import { exchangeFaults, readEvents } from './openai-exchange.ts';

// biome-ignore lint/suspicious/noExplicitAny: tests read fields of JSON, and a wrong one fails them.
type Json = any;

export interface Answer {
  readonly status: number;
  readonly headers: Readonly<Record<string, unknown>>;
  /** The JSON body; undefined for a stream. */
  readonly body: Json;
  /** The events of a stream, without `[DONE]`. */
  readonly events: readonly Json[];
}

/** Sends a request, and checks its response. @throws {Error} with the faults */
export async function send(
  kit: Pick<DoorKit, 'inject'>,
  method: 'GET' | 'POST' | 'DELETE',
  url: string,
  { body, headers = {} }: { body?: unknown; headers?: Readonly<Record<string, string>> } = {},
): Promise<Answer> {
  const response = await kit.inject({
    method,
    url,
    headers: { ...(body === undefined ? {} : { 'content-type': 'application/json' }), ...headers },
    ...(body === undefined ? {} : { payload: JSON.stringify(body) }),
  });
  const { statusCode: status, body: text } = response;
  const contentType = String(response.headers['content-type'] ?? '');
  const faults = exchangeFaults({ method, url, status, contentType, body: text });
  if (faults.length > 0)
    throw new Error(`${method} ${url}: ${faults.slice(0, 20).join('; ')}\n${text.slice(0, 2_000)}`);
  const isStream = contentType.startsWith('text/event-stream');
  const data = isStream ? readEvents(text).map((event) => event.data) : [];
  return {
    status,
    headers: response.headers,
    body: isStream || text === '' ? undefined : JSON.parse(text),
    events: data.filter((one) => one !== '[DONE]').map((one) => JSON.parse(one)),
  };
}

/** Creates a response with the chat agent. */
export const respond = (
  kit: Pick<DoorKit, 'inject'>,
  body: Readonly<Record<string, unknown>>,
  headers: Readonly<Record<string, string>> = {},
): Promise<Answer> => send(kit, 'POST', '/v1/responses', { body: { model: 'chat', ...body }, headers });

export const get = (
  kit: Pick<DoorKit, 'inject'>,
  url: string,
  headers: Readonly<Record<string, string>> = {},
): Promise<Answer> => send(kit, 'GET', url, { headers });

/** The text of a response. */
export const textOf = (response: Json): string =>
  (response.output as Json[])
    .flatMap((item) => (item.type === 'message' ? item.content : []))
    .map((part) => part.text)
    .join('');

/** A response without its times: the first response has the clock of the door, and the journal that of the agent. */
export const withoutTimes = ({ created_at: _created, completed_at: _completed, ...rest }: Json): Json => rest;
