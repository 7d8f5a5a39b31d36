// The answer of a Chat Completions server, from the bytes of a response to the chunks that we read: tolerant of what the
// many servers that speak this API send besides, leave out, or spell differently.
import type { Clock } from '@fame-fabric/shared';
import type { FinishReason, ModelChunk, ToolCallDelta, Usage } from '../model.ts';
import { EventParser } from './event-parser.ts';

/** The chunks of one response. Its own reader, so that a body read to the end gives its connection back. */
export class CompletionBody {
  readonly #response: Response;
  readonly #reader: ReadableStreamDefaultReader<Uint8Array> | undefined;
  readonly #decoder = new TextDecoder();
  readonly #parser = new EventParser();
  /** Whether the server said that its answer is whole: what follows is only the end of the HTTP body. */
  complete = false;
  #ended = false;
  #failure: Error | undefined;

  constructor(response: Response) {
    this.#response = response;
    // A server that does not stream answers in one piece of JSON (or with a web page, which is none).
    const streams = !/\b(?:json|html)\b/i.test(response.headers.get('content-type') ?? '');
    this.#reader = streams ? response.body?.getReader() : undefined;
  }

  /** The chunks that came together, perhaps none; undefined at the end. @throws what the server or the network did */
  async next(): Promise<ModelChunk[] | undefined> {
    if (this.#failure) throw this.#failure;
    if (this.complete || this.#ended) return undefined;
    if (!this.#reader) {
      this.#ended = true;
      return this.#read([await this.#response.text()], asChunk);
    }
    const { done, value } = await this.#reader.read();
    this.#ended = done;
    const found = done
      ? this.#parser.end()
      : this.#parser.push(this.#decoder.decode(value, { stream: true }));
    const end = found.indexOf('[DONE]');
    this.complete = end >= 0;
    return this.#read(end >= 0 ? found.slice(0, end) : found);
  }

  /** What came before a fault is handed on first; the fault is thrown by the next call. */
  #read(texts: readonly string[], convert: (raw: Loose) => unknown = (raw) => raw): ModelChunk[] {
    const chunks: ModelChunk[] = [];
    for (const text of texts) {
      try {
        const chunk = readChunk(convert(JSON.parse(text)));
        if (chunk) chunks.push(chunk);
      } catch (error) {
        if (chunks.length === 0) throw error;
        this.#failure = error as Error;
        break;
      }
    }
    return chunks;
  }

  /** Reads what is left of the body, so that its connection can carry the next request. Cuts it when that takes long. */
  readToEnd(clock: Clock, withinMs: number, cut: AbortController): void {
    const reader = this.#reader;
    if (!reader || this.#ended) return;
    const timer = clock.after(withinMs, () => cut.abort());
    const drain = async (): Promise<void> => {
      while (!(await reader.read()).done);
    };
    // The answer is whole: nobody cares any more whether its connection ends well.
    drain().then(
      () => timer.stop(),
      () => timer.stop(),
    );
  }
}

/** A whole `chat.completion` as one chunk. */
const asChunk = (whole: Loose): unknown => ({
  ...whole,
  choices: (Array.isArray(whole.choices) ? (whole.choices as Loose[]) : []).map((choice) => ({
    ...choice,
    delta: choice.message ?? {},
  })),
});

const asText = (value: unknown): string | undefined => {
  if (value === undefined || value === null) return undefined;
  return typeof value === 'string' ? value : JSON.stringify(value);
};

type Loose = Record<string, unknown>;

/** The part of a chunk that we read, whatever else a server puts into it; undefined for a chunk without news. */
function readChunk(raw: unknown): ModelChunk | undefined {
  const { choices, usage, model, error } = (raw ?? {}) as Loose;
  if (error) throw streamError(error);
  const read = (Array.isArray(choices) ? (choices as Loose[]) : []).map((choice, i) => {
    const delta = (choice.delta ?? {}) as Loose;
    const calls = Array.isArray(delta.tool_calls) ? (delta.tool_calls as Loose[]).map(readCall) : [];
    return {
      index: typeof choice.index === 'number' ? choice.index : i,
      delta: {
        ...(typeof delta.content === 'string' ? { content: delta.content } : {}),
        ...(calls.length > 0 ? { tool_calls: calls } : {}),
      },
      finish_reason: ((choice.finish_reason as FinishReason | '' | null | undefined) ||
        null) as FinishReason | null,
    };
  });
  if (read.length === 0 && !usage) return undefined;
  return {
    choices: read,
    ...(usage ? { usage: readUsage(usage as Loose) } : {}),
    ...(typeof model === 'string' && model ? { model } : {}),
  };
}

function readCall(call: Loose): ToolCallDelta {
  const fn = (call.function ?? {}) as Loose;
  const name = asText(fn.name);
  const args = asText(fn.arguments);
  return {
    ...(typeof call.index === 'number' ? { index: call.index } : {}),
    ...(typeof call.id === 'string' && call.id ? { id: call.id } : {}),
    function: { ...(name ? { name } : {}), ...(args === undefined ? {} : { arguments: args }) },
  };
}

function readUsage(usage: Loose): Usage {
  const count = (value: unknown): number => (typeof value === 'number' ? value : 0);
  const cached = (usage.prompt_tokens_details as Loose | null | undefined)?.cached_tokens;
  const prompt_tokens = count(usage.prompt_tokens);
  const completion_tokens = count(usage.completion_tokens);
  return {
    prompt_tokens,
    completion_tokens,
    total_tokens: count(usage.total_tokens) || prompt_tokens + completion_tokens,
    ...(typeof cached === 'number' ? { cached_tokens: cached } : {}),
  };
}

/** An error that came inside the stream, in the shape that errors with a status have. */
function streamError(raw: unknown): Error {
  const error: Loose = typeof raw === 'object' && raw !== null ? (raw as Loose) : { message: String(raw) };
  const { message, code, type, param } = error;
  // Some gateways put the HTTP status there.
  const status = typeof code === 'number' ? { status: code } : {};
  return Object.assign(new Error(String(message)), { error, code, type, param, ...status });
}
