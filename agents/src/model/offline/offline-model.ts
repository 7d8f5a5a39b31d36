// The built-in model: deterministic rules without a network. Agents use it when neither a key nor a base URL is set. It reads
// only the messages of the request, and describes itself on request. This file streams the answers of the rules.
import { type Clock, systemClock } from '@fame-fabric/shared';
import { cutText, pause } from '@fame-fabric/shared/internal';
import type { ChatModel, FinishReason, ModelChunk, ModelRequest, Usage } from '../model.ts';
import { modelStream } from '../model-stream.ts';
import { answer, type OfflineAnswer } from './answer.ts';

export const OFFLINE_MODEL_NAME = 'offline';

export interface OfflineModelOptions {
  /** Pause between two chunks, which makes streaming visible. @default 15 */
  chunkDelayMs?: number | undefined;
  /** @default systemClock */
  clock?: Clock | undefined;
}

const CHARS_PER_TOKEN = 4;
const ARGUMENT_CHARS = 12;

const tokens = (chars: number): number => Math.ceil(chars / CHARS_PER_TOKEN);

/** Splits a text into words, each with the space before it. The joined words are the text. */
const wordChunks = (text: string): string[] => text.match(/\s*\S+|\s+$/g) ?? [];

function usageOf(request: ModelRequest, written: number): Usage {
  const read = JSON.stringify([request.messages, request.tools ?? []]).length;
  const prompt_tokens = tokens(read);
  const completion_tokens = tokens(written);
  return { prompt_tokens, completion_tokens, total_tokens: prompt_tokens + completion_tokens };
}

/** Cuts a text before the first of the `stop` texts. */
function cutAtStop(text: string, stop: ModelRequest['stop']): string {
  const stops = (typeof stop === 'string' ? [stop] : (stop ?? [])).filter((one) => one !== '');
  const ends = stops.map((one) => text.indexOf(one)).filter((at) => at >= 0);
  return text.slice(0, Math.min(text.length, ...ends));
}

/** Yields the chunks of an answer without pauses. `max_tokens` and `stop` cut text, never a tool call. */
function* offlineChunks(request: ModelRequest): Generator<ModelChunk, void> {
  const reply: OfflineAnswer = answer(request);
  const limit = (request.max_tokens ?? Number.POSITIVE_INFINITY) * CHARS_PER_TOKEN;
  const whole = cutAtStop(reply.text, request.stop);
  const cut = whole.length > limit;
  const text = cut ? cutText(whole, limit, '') : whole;
  const part = (
    delta: ModelChunk['choices'][number]['delta'],
    finish_reason: FinishReason | null = null,
  ): ModelChunk => ({
    choices: [{ index: 0, delta, finish_reason }],
    model: OFFLINE_MODEL_NAME,
  });

  let written = text.length;
  for (const content of wordChunks(text)) yield part({ content });
  for (const [index, call] of reply.calls.entries()) {
    const args = JSON.stringify(call.args);
    written += call.name.length + args.length;
    yield part({ tool_calls: [{ index, id: call.id, function: { name: call.name, arguments: '' } }] });
    for (let at = 0; at < args.length; at += ARGUMENT_CHARS) {
      yield part({ tool_calls: [{ index, function: { arguments: args.slice(at, at + ARGUMENT_CHARS) } }] });
    }
  }
  yield part({}, reply.calls.length > 0 ? 'tool_calls' : cut ? 'length' : 'stop');
  yield { choices: [], usage: usageOf(request, written), model: OFFLINE_MODEL_NAME };
}

/** Makes the built-in model. */
export function offlineModel(options: OfflineModelOptions = {}): ChatModel {
  const { chunkDelayMs = 15, clock = systemClock } = options;

  async function* chunks(request: ModelRequest, signal: AbortSignal): AsyncGenerator<ModelChunk, void> {
    let first = true;
    for (const chunk of offlineChunks(request)) {
      signal.throwIfAborted();
      if (!first && chunkDelayMs > 0) await pause(clock, chunkDelayMs, signal);
      first = false;
      yield chunk;
    }
  }
  return {
    name: OFFLINE_MODEL_NAME,
    provider: 'offline',
    stream: (request, { signal } = {}) => modelStream(signal, (inner) => chunks(request, inner)),
  };
}
