// Reads the body of a Chat Completions response: bytes in, chunks out. Tolerates the fields that servers of this API add, omit
// or spell differently.
import type { Readable } from 'node:stream';
import type { Clock } from '@fame-fabric/shared';
import type { FinishReason, ModelChunk, ToolCallDelta, Usage } from '../model.ts';
import { type ByteReader, byteReader } from './byte-reader.ts';
import { EventParser, type WireEvent } from './event-parser.ts';

/** The part of a response that is read here. The platform's `Response` and `NodeResponse` both have it. */
interface CompletionResponse {
  readonly body: Readable | AsyncIterable<Uint8Array> | null;
}

/**
 * Chunks of one response, which is an event stream or one JSON object regardless of its content type. A body that is read to its
 * end returns its connection for the next request.
 */
export class CompletionBody {
  readonly #reader: ByteReader | undefined;
  readonly #decoder = new TextDecoder();
  readonly #parser = new EventParser();
  /** True once the server sent `[DONE]`: only the end of the HTTP body follows. */
  complete = false;
  #ended = false;
  #failure: Error | undefined;
  readonly #progress: Progress = { hasChoice: false, hasAnswer: false, hasCalls: false, hasFinish: false };

  constructor(response: CompletionResponse) {
    this.#reader = response.body ? byteReader(response.body) : undefined;
  }

  /**
   * Returns the chunks of the next read, which may be none, or undefined at the end.
   * @throws the error of the network, or one that the server sent in the stream
   */
  async next(): Promise<ModelChunk[] | undefined> {
    if (this.#failure) throw this.#failure;
    if (this.complete || this.#ended || !this.#reader) return undefined;
    const pieces = await this.#reader.next();
    if (!pieces) {
      this.#ended = true;
      return this.#read([...this.#parser.push(this.#decoder.decode()), ...this.#parser.end()]);
    }
    let text = '';
    for (const piece of pieces) text += this.#decoder.decode(piece, { stream: true });
    return this.#read(this.#parser.push(text));
  }

  /** Returns the chunks before a fault first; the next call throws the fault. Text that arrived together becomes one chunk. */
  #read(events: readonly WireEvent[]): ModelChunk[] {
    const chunks: ModelChunk[] = [];
    const add = (value: unknown): void => {
      const chunk = readChunk(value, this.#progress);
      if (chunk && !joinText(chunks.at(-1), chunk)) chunks.push(chunk);
    };
    for (const event of events) {
      try {
        if (event.kind === 'fault') throw event.error;
        if (event.kind === 'done') {
          this.complete = true;
          this.#finish(chunks);
          break;
        }
        if (Array.isArray(event.value)) event.value.forEach(add);
        else add(event.value);
      } catch (error) {
        if (chunks.length === 0) throw error;
        this.#failure = error as Error;
        break;
      }
    }
    return chunks;
  }

  /** Adds the finish reason that some servers omit. `[DONE]` marks a complete answer. */
  #finish(chunks: ModelChunk[]): void {
    const { hasChoice, hasCalls, hasFinish } = this.#progress;
    if (!hasChoice || hasFinish) return;
    const finish_reason = hasCalls ? 'tool_calls' : 'stop';
    chunks.push({ choices: [{ index: 0, delta: {}, finish_reason }] });
  }

  /** Reads the rest of the body, so that its connection can carry the next request. Aborts `request` after `withinMs`. */
  readToEnd(clock: Clock, withinMs: number, request: AbortController): void {
    const reader = this.#reader;
    if (!reader || this.#ended) return;
    const timer = clock.after(withinMs, () => request.abort());
    const drain = async (): Promise<void> => {
      while (await reader.next());
    };
    // The answer is complete, so a failure of its connection has no effect.
    drain().then(
      () => timer.stop(),
      () => timer.stop(),
    );
  }
}

type Loose = Record<string, unknown>;

/** Parts of the answer that have arrived so far. */
interface Progress {
  hasChoice: boolean;
  /** Text or calls. */
  hasAnswer: boolean;
  hasCalls: boolean;
  hasFinish: boolean;
}

const asText = (value: unknown): string | undefined => {
  if (value === undefined || value === null) return undefined;
  return typeof value === 'string' ? value : JSON.stringify(value);
};
const asLoose = (value: unknown): Loose =>
  typeof value === 'object' && value !== null ? (value as Loose) : {};
const asNumber = (value: unknown): number | undefined => (typeof value === 'number' ? value : undefined);

/** Reads the fields of a chunk that we use; returns undefined for a chunk without any. @throws an error that the server sent */
function readChunk(raw: unknown, progress: Progress): ModelChunk | undefined {
  const chunk = asLoose(raw);
  const { choices, model } = chunk;
  const list = Array.isArray(choices) ? choices.map(asLoose) : [];
  // Moonshot and Groq send the usage in places of their own.
  const usage = chunk.usage ?? list[0]?.usage ?? asLoose(chunk.x_groq).usage;
  const error = chunk.error || (list.length === 0 && !usage && errorOf(chunk));
  if (error) throw streamError(error);
  if (list.length === 0 && !usage) return undefined;
  return {
    choices: list.map((choice, i) => readChoice(choice, i, progress)),
    usage: usage ? readUsage(usage as Loose) : undefined,
    model: typeof model === 'string' && model ? model : undefined,
  };
}

/** An error that is not under `error`: that of vLLM, FastAPI and some gateways. */
function errorOf(chunk: Loose): unknown {
  const { object, message, detail, msg } = chunk;
  return object === 'error' || message || detail || msg ? chunk : undefined;
}

function readChoice(choice: Loose, i: number, progress: Progress): ModelChunk['choices'][number] {
  const { error } = choice;
  if (error) throw streamError(error);
  let delta = readDelta(asLoose(choice.delta));
  // Servers that do not stream send a message. At the end of a stream a message repeats the whole answer.
  if (!delta && !progress.hasAnswer) delta = readDelta(asLoose(choice.message ?? { content: choice.text }));
  const finish_reason = readFinish(choice.finish_reason);
  progress.hasChoice = true;
  if (delta?.content || delta?.refusal || delta?.tool_calls) progress.hasAnswer = true;
  if (delta?.tool_calls) progress.hasCalls = true;
  if (finish_reason) progress.hasFinish = true;
  return { index: asNumber(choice.index) ?? i, delta: delta ?? {}, finish_reason };
}

/** Reads a delta or a message; returns undefined for one without content. */
function readDelta(raw: Loose): ModelChunk['choices'][number]['delta'] | undefined {
  let content: string | undefined;
  let refusal: string | undefined;
  let reasoning: string | undefined;
  let calls: ToolCallDelta[] | undefined;
  let extra: Loose | undefined;
  for (const key in raw) {
    const value = raw[key];
    if (value === null || value === undefined || value === '') continue;
    if (key === 'content') {
      if (typeof value === 'string') content = value;
      else ({ content, reasoning } = readParts(value));
    } else if (key === 'refusal') refusal = asText(value);
    else if (key === 'tool_calls') calls = readCalls(value);
    else if (key === 'function_call') calls ??= readCalls({ function: value });
    else if (
      key !== 'role' &&
      (typeof value === 'string' || (typeof value === 'object' && !isEmpty(value)))
    ) {
      extra ??= {};
      extra[key] = value;
      if (typeof value === 'string' && REASONING_KEYS.has(key)) reasoning ??= value;
    }
  }
  if (!content && !refusal && !reasoning && !calls && !extra) return undefined;
  return { content, refusal, reasoning, extra, tool_calls: calls };
}

/** Fields in which servers send reasoning. */
const REASONING_KEYS = new Set(['reasoning_content', 'reasoning', 'reasoning_text', 'thinking']);

/** Reads content that is a list of parts. Separates the text from the reasoning. */
function readParts(value: unknown): { content: string | undefined; reasoning: string | undefined } {
  let content = '';
  let reasoning = '';
  for (const part of Array.isArray(value) ? value : [value]) {
    if (typeof part === 'string') content += part;
    else {
      const { type, text, refusal, thinking, reasoning: reason } = asLoose(part);
      const thought = thinking ?? reason;
      if (thought) reasoning += typeof thought === 'string' ? thought : (readParts(thought).content ?? '');
      else if (type === 'thinking' || type === 'reasoning') reasoning += asText(text) ?? '';
      else content += asText(text) ?? asText(refusal) ?? '';
    }
  }
  return { content: content || undefined, reasoning: reasoning || undefined };
}

const isEmpty = (value: object): boolean => Object.keys(value).length === 0;

/** Finish reasons of other APIs, which some servers forward. */
const FINISH_REASONS: Readonly<Record<string, FinishReason>> = Object.freeze({
  end_turn: 'stop',
  eos: 'stop',
  eos_token: 'stop',
  stop_sequence: 'stop',
  complete: 'stop',
  max_tokens: 'length',
  model_length: 'length',
  max_output_tokens: 'length',
  tool_use: 'tool_calls',
  tool_call: 'tool_calls',
  safety: 'content_filter',
});

/** Some servers send "" or "null" while the answer continues. @throws for the reason `error` */
function readFinish(reason: unknown): FinishReason | null {
  if (typeof reason !== 'string' || reason === '') return null;
  const name = reason.toLowerCase();
  if (name === 'null' || name === 'none') return null;
  if (name === 'error') throw streamError('the server ended its answer with an error');
  return FINISH_REASONS[name] ?? (name as FinishReason);
}

/** Appends the text of `next` to `last`. Returns false if one of them has more than the text of one choice. */
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
  const { content, refusal, reasoning, extra, tool_calls } = choice!.delta;
  return Boolean(content) && !refusal && !reasoning && !extra && !tool_calls;
};

function readCalls(value: unknown): ToolCallDelta[] | undefined {
  const calls = (Array.isArray(value) ? value : [value]).filter(
    (call) => typeof call === 'object' && call !== null,
  );
  return calls.length > 0 ? (calls as Loose[]).map(readCall) : undefined;
}

function readCall(call: Loose): ToolCallDelta {
  const { index, id, type: _type, function: nested, ...rest } = call;
  // Some servers send the name and the arguments without the object around them.
  const {
    name,
    arguments: args,
    ...others
  } = nested === undefined || nested === null ? rest : asLoose(nested);
  const extra = nested === undefined || nested === null ? others : rest;
  return {
    index: asNumber(index),
    id: typeof id === 'string' && id ? id : undefined,
    function: { name: asText(name) || undefined, arguments: asText(args) },
    ...(hasContent(extra) ? { extra } : {}),
  };
}

function hasContent(fields: Loose): boolean {
  for (const key in fields) if (fields[key] !== null && fields[key] !== undefined) return true;
  return false;
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
  const { message, msg, detail, code, type, param } = error;
  const text = asText(message ?? msg ?? detail) ?? JSON.stringify(error);
  // Some gateways send the HTTP status as the code.
  return Object.assign(new Error(text), { error, code, type, param, status: asNumber(code) });
}
