// The server side of Chat Completions: the objects and events that it sends. The offline server and the fake server of the
// tests share it.
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { FinishReason, ModelChunk, ToolCall, Usage } from '../model.ts';

export interface WireIds {
  /** `chatcmpl-...` */
  readonly id: string;
  /** Seconds since the epoch. */
  readonly created: number;
  readonly model: string;
}

/** Makes a `chat.completion.chunk`. The first chunk of an answer has the role. */
export const chunkObject = (chunk: ModelChunk, ids: WireIds, first: boolean): Record<string, unknown> => ({
  id: ids.id,
  object: 'chat.completion.chunk',
  created: ids.created,
  model: chunk.model ?? ids.model,
  choices: chunk.choices.map(({ delta: { extra, reasoning, ...delta }, ...choice }, i) => ({
    index: choice.index ?? i,
    delta: {
      ...(first ? { role: 'assistant' } : {}),
      ...delta,
      ...(reasoning ? { reasoning_content: reasoning } : {}),
      ...extra,
      ...(delta.tool_calls
        ? {
            tool_calls: delta.tool_calls.map(({ extra: fields, ...call }) =>
              call.id ? { type: 'function', ...call, ...fields } : { ...call, ...fields },
            ),
          }
        : {}),
    },
    logprobs: null,
    finish_reason: choice.finish_reason ?? null,
  })),
  ...(chunk.usage ? { usage: usageObject(chunk.usage) } : {}),
});

const usageObject = ({ cached_tokens, ...usage }: Usage): Record<string, unknown> => ({
  ...usage,
  ...(cached_tokens === undefined ? {} : { prompt_tokens_details: { cached_tokens } }),
});

/** Assembles a whole `chat.completion` from its chunks. */
export function completionObject(chunks: Iterable<ModelChunk>, ids: WireIds): Record<string, unknown> {
  let content = '';
  let refusal = '';
  let finish: FinishReason = 'stop';
  let usage: Usage | undefined;
  let { model } = ids;
  const calls: ToolCall[] = [];
  for (const chunk of chunks) {
    usage = chunk.usage ?? usage;
    model = chunk.model ?? model;
    for (const { delta, finish_reason } of chunk.choices) {
      content += delta.content ?? '';
      refusal += delta.refusal ?? '';
      finish = finish_reason ?? finish;
      for (const { index = Math.max(0, calls.length - 1), id, function: fn } of delta.tool_calls ?? []) {
        calls[index] ??= { id: id ?? '', type: 'function', function: { name: '', arguments: '' } };
        calls[index].function.name += fn?.name ?? '';
        calls[index].function.arguments += fn?.arguments ?? '';
      }
    }
  }
  const message = {
    role: 'assistant',
    content: content === '' && (calls.length > 0 || refusal !== '') ? null : content,
    refusal: refusal === '' ? null : refusal,
    ...(calls.length > 0 ? { tool_calls: calls } : {}),
  };
  return {
    id: ids.id,
    object: 'chat.completion',
    created: ids.created,
    model,
    choices: [{ index: 0, message, logprobs: null, finish_reason: finish }],
    ...(usage ? { usage: usageObject(usage) } : {}),
  };
}

export interface ApiError {
  readonly message: string;
  /** @default invalid_request_error */
  readonly type?: string;
  readonly param?: string | null;
  readonly code?: string | null;
}

export const errorObject = ({
  message,
  type = 'invalid_request_error',
  param = null,
  code = null,
}: ApiError) => ({
  error: { message, type, param, code },
});

export const modelsObject = (ids: readonly string[], created: number) => ({
  object: 'list',
  data: ids.map((id) => ({ id, object: 'model', created, owned_by: 'fame-fabric' })),
});

export const EVENT_STREAM_HEADERS = Object.freeze({
  'content-type': 'text/event-stream; charset=utf-8',
  'cache-control': 'no-cache',
});

export const event = (data: unknown): string =>
  `data: ${typeof data === 'string' ? data : JSON.stringify(data)}\n\n`;

/** Sends a JSON body. */
export function sendJson(
  response: ServerResponse,
  status: number,
  body: unknown,
  headers: Record<string, string> = {},
): void {
  const bytes = Buffer.from(JSON.stringify(body));
  response.writeHead(status, {
    'content-type': 'application/json',
    'content-length': bytes.length,
    ...headers,
  });
  response.end(bytes);
}

/** The fault of a request body, with its HTTP status. */
export class BodyError extends Error {
  readonly status: 400 | 413;
  constructor(status: 400 | 413, message: string) {
    super(message);
    this.status = status;
  }
}

/** Reads a JSON body of at most `maxBytes`. @throws BodyError */
export async function readJson(request: IncomingMessage, maxBytes: number): Promise<unknown> {
  const parts: Buffer[] = [];
  let size = 0;
  for await (const part of request as AsyncIterable<Buffer>) {
    size += part.length;
    if (size > maxBytes) throw new BodyError(413, `The body is larger than ${maxBytes} bytes.`);
    parts.push(part);
  }
  try {
    return JSON.parse(Buffer.concat(parts).toString('utf8'));
  } catch {
    throw new BodyError(400, 'The body is not valid JSON.');
  }
}
