// Chat Completions requests without a connection, for unit tests of the OpenAI door.
import type { DoorKit } from './door-kit.ts';
import { exchangeFaults } from './openai-exchange.ts';

export interface ChatReply {
  readonly status: number;
  readonly headers: Readonly<Record<string, unknown>>;
  /** The JSON body of a whole answer. */
  readonly body: ChatBody;
  /** Raw text of the body. */
  readonly text: string;
  /** The data of the events of a stream, without `[DONE]`. */
  readonly chunks: readonly ChatChunk[];
  /** True if the stream ended with `[DONE]`. */
  readonly isDone: boolean;
}

interface ChatBody {
  readonly id: string;
  readonly choices: readonly {
    message: { content: string | null; tool_calls?: unknown[] };
    finish_reason: string;
  }[];
  readonly metadata: { conversation_id: string; turn_id: string };
  readonly error?: { message: string; type: string; param: string | null; code: string | null };
  readonly [field: string]: unknown;
}

interface ChatChunk {
  readonly choices: readonly {
    delta: { role?: string; content?: string; tool_calls?: unknown[] };
    finish_reason: string | null;
  }[];
  readonly [field: string]: unknown;
}

/** Sends a request to `/v1/chat/completions`. */
export async function chat(
  kit: DoorKit,
  body: Readonly<Record<string, unknown>>,
  headers: Readonly<Record<string, string>> = {},
): Promise<ChatReply> {
  const response = await kit.inject({
    method: 'POST',
    url: '/v1/chat/completions',
    headers: { 'content-type': 'application/json', ...headers },
    payload: JSON.stringify({ model: 'chat', ...body }),
  });
  const text = response.body;
  const contentType = String(response.headers['content-type'] ?? '');
  const url = '/v1/chat/completions';
  const faults = exchangeFaults({
    method: 'POST',
    url,
    status: response.statusCode,
    contentType,
    body: text,
  });
  if (faults.length > 0) throw new Error(`${faults.slice(0, 20).join('; ')}\n${text.slice(0, 2_000)}`);
  const isStream = String(response.headers['content-type']).startsWith('text/event-stream');
  const data = isStream
    ? text.split('\n').flatMap((line) => (line.startsWith('data: ') ? [line.slice(6)] : []))
    : [];
  const isDone = data.at(-1) === '[DONE]';
  return {
    status: response.statusCode,
    headers: response.headers,
    body: isStream ? {} : JSON.parse(text),
    text,
    chunks: (isDone ? data.slice(0, -1) : data).map((one) => JSON.parse(one)),
    isDone,
  } as ChatReply;
}

export const user = (content: unknown) => ({ role: 'user', content });
export const assistant = (content: string) => ({ role: 'assistant', content });
export const system = (content: string) => ({ role: 'system', content });
