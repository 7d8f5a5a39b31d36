// Reads the body of a Chat Completions response: bytes in, chunks out. Tolerates the fields that servers of this API add, omit
// or spell differently.
import type { Clock } from '@fame-fabric/shared';
import type { FinishReason, ModelChunk, ToolCallDelta, Usage } from '../model.ts';
import { EventParser } from './event-parser.ts';

/** The part of a response that is read here. The platform's `Response` and `NodeResponse` both have it. */
interface CompletionResponse {
  readonly headers: { get(name: string): string | null };
  readonly body: AsyncIterable<Uint8Array> | null;
  text(): Promise<string>;
}

/** The chunks of one response. A body that is read to its end returns its connection for the next request. */
export class CompletionBody {
  readonly #response: CompletionResponse;
  readonly #reader: AsyncIterator<Uint8Array> | undefined;
  readonly #decoder = new TextDecoder();
  readonly #parser = new EventParser();
  /** True once the server sent `[DONE]`: only the end of the HTTP body follows. */
  complete = false;
  #ended = false;
  #failure: Error | undefined;

  constructor(response: CompletionResponse) {
    this.#response = response;
    // A server that does not stream answers with one JSON object. A web page is read the same way and fails to parse.
    const isStream = !/\b(?:json|html)\b/i.test(response.headers.get('content-type') ?? '');
    this.#reader = isStream ? response.body?.[Symbol.asyncIterator]() : undefined;
  }

  /**
   * Returns the chunks of the next read, which may be none, or undefined at the end.
   * @throws the error of the network, or one that the server sent in the stream
   */
  async next(): Promise<ModelChunk[] | undefined> {
    if (this.#failure) throw this.#failure;
    if (this.complete || this.#ended) return undefined;
    if (!this.#reader) {
      this.#ended = true;
      return this.#read([await this.#response.text()], asChunk);
    }
    const { done, value } = await this.#reader.next();
    this.#ended = done === true;
    const events = done
      ? this.#parser.end()
      : this.#parser.push(this.#decoder.decode(value, { stream: true }));
    const end = events.indexOf('[DONE]');
    this.complete = end >= 0;
    return this.#read(end >= 0 ? events.slice(0, end) : events);
  }

  /** Returns the chunks before a fault first; the next call throws the fault. Text that arrived together becomes one chunk. */
  #read(texts: readonly string[], convert: (raw: Loose) => unknown = (raw) => raw): ModelChunk[] {
    const chunks: ModelChunk[] = [];
    for (const text of texts) {
      try {
        const chunk = readChunk(convert(JSON.parse(text)));
        if (chunk && !joinText(chunks.at(-1), chunk)) chunks.push(chunk);
      } catch (error) {
        if (chunks.length === 0) throw error;
        this.#failure = error as Error;
        break;
      }
    }
    return chunks;
  }

  /** Reads the rest of the body, so that its connection can carry the next request. Aborts `request` after `withinMs`. */
  readToEnd(clock: Clock, withinMs: number, request: AbortController): void {
    const reader = this.#reader;
    if (!reader || this.#ended) return;
    const timer = clock.after(withinMs, () => request.abort());
    const drain = async (): Promise<void> => {
      while (!(await reader.next()).done);
    };
    // The answer is complete, so a failure of its connection has no effect.
    drain().then(
      () => timer.stop(),
      () => timer.stop(),
    );
  }
}

type Loose = Record<string, unknown>;

/** Converts a whole `chat.completion` to one chunk. */
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
const asNumber = (value: unknown): number | undefined => (typeof value === 'number' ? value : undefined);

/** Reads the fields of a chunk that we use; returns undefined for a chunk without any. */
function readChunk(raw: unknown): ModelChunk | undefined {
  const { choices, usage, model, error } = (raw ?? {}) as Loose;
  if (error) throw streamError(error);
  const read = (Array.isArray(choices) ? (choices as Loose[]) : []).map((choice, i) => {
    const { content, refusal, tool_calls } = (choice.delta ?? {}) as Loose;
    return {
      index: asNumber(choice.index) ?? i,
      delta: {
        content: typeof content === 'string' ? content : undefined,
        ...(typeof refusal === 'string' ? { refusal } : {}),
        tool_calls:
          Array.isArray(tool_calls) && tool_calls.length > 0
            ? (tool_calls as Loose[]).map(readCall)
            : undefined,
      },
      finish_reason: ((choice.finish_reason as FinishReason | '' | null | undefined) ||
        null) as FinishReason | null,
    };
  });
  if (read.length === 0 && !usage) return undefined;
  return {
    choices: read,
    usage: usage ? readUsage(usage as Loose) : undefined,
    model: typeof model === 'string' && model ? model : undefined,
  };
}

/** Adds the text of `next` to `last`. Returns false if either is more than the text of one choice. */
function joinText(last: ModelChunk | undefined, next: ModelChunk): boolean {
  if (!last || !isTextOnly(last) || !isTextOnly(next)) return false;
  const [choice] = last.choices;
  const [more] = next.choices;
  if (choice!.index !== more!.index || last.model !== next.model) return false;
  choice!.delta.content! += more!.delta.content!;
  return true;
}

const isTextOnly = ({ choices, usage }: ModelChunk): boolean => {
  const [choice] = choices;
  if (choices.length !== 1 || usage || choice!.finish_reason) return false;
  const { content, refusal, tool_calls } = choice!.delta;
  return Boolean(content) && refusal === undefined && tool_calls === undefined;
};

function readCall(call: Loose): ToolCallDelta {
  const fn = (call.function ?? {}) as Loose;
  return {
    index: asNumber(call.index),
    id: typeof call.id === 'string' && call.id ? call.id : undefined,
    function: { name: asText(fn.name) || undefined, arguments: asText(fn.arguments) },
  };
}

function readUsage(usage: Loose): Usage {
  const count = (value: unknown): number => asNumber(value) ?? 0;
  const cached = (usage.prompt_tokens_details as Loose | null | undefined)?.cached_tokens;
  const prompt_tokens = count(usage.prompt_tokens);
  const completion_tokens = count(usage.completion_tokens);
  const sum = {
    prompt_tokens,
    completion_tokens,
    total_tokens: count(usage.total_tokens) || prompt_tokens + completion_tokens,
  };
  // Absent and not undefined: usage is journaled and sent as JSON.
  return typeof cached === 'number' ? { ...sum, cached_tokens: cached } : sum;
}

/** Converts an error inside the stream to the shape of the library's errors with a status. */
function streamError(raw: unknown): Error {
  const error: Loose = typeof raw === 'object' && raw !== null ? (raw as Loose) : { message: String(raw) };
  const { message, code, type, param } = error;
  // Some gateways send the HTTP status as the code.
  return Object.assign(new Error(String(message)), { error, code, type, param, status: asNumber(code) });
}
