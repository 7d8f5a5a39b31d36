// Chunks of streamed answers for tests and benchmarks: a text cut at any offsets, a call in pieces, and sources that wait, fail
// or count the pulled chunks.
import type { FinishReason, ModelChunk, ToolCallDelta, Usage } from '../model/model.ts';

export { pieces } from './script.ts';

export const contentChunk = (content: string): ModelChunk => ({
  choices: [{ index: 0, delta: { content } }],
});
export const callChunk = (...deltas: ToolCallDelta[]): ModelChunk => ({
  choices: [{ index: 0, delta: { tool_calls: deltas } }],
});
export const finishChunk = (finish_reason: FinishReason): ModelChunk => ({
  choices: [{ index: 0, delta: {}, finish_reason }],
});
export const usageChunk = (usage: Usage): ModelChunk => ({ choices: [], usage });

/** Cuts a text at the given offsets. */
export function cutAt(text: string, offsets: readonly number[]): string[] {
  const edges = [
    0,
    ...offsets.filter((at) => at > 0 && at < text.length).toSorted((a, b) => a - b),
    text.length,
  ];
  return edges.slice(1).map((end, n) => text.slice(edges[n], end));
}

/** Makes one tool call as OpenAI streams it: an opening delta with id and name, then the arguments in pieces. */
export function callChunks(index: number, id: string, name: string, args: readonly string[]): ModelChunk[] {
  return [
    callChunk({ index, id, function: { name, arguments: '' } }),
    ...args.map((piece) => callChunk({ index, function: { arguments: piece } })),
  ];
}

/** Yields chunks. Calls and awaits the functions among them in order. */
export async function* sourceOf(
  chunks: Iterable<ModelChunk | (() => void | Promise<void>)>,
): AsyncGenerator<ModelChunk, void, undefined> {
  for (const chunk of chunks) {
    if (typeof chunk === 'function') await chunk();
    else yield chunk;
  }
}

/** A source that counts the pulled chunks, and whose `return` takes effect at once, like that of a response body. */
export class CountedSource implements AsyncIterableIterator<ModelChunk> {
  pulled = 0;
  closed = false;
  #stop: (() => void) | undefined;
  readonly #chunks: readonly (ModelChunk | 'stall')[];

  constructor(chunks: readonly (ModelChunk | 'stall')[]) {
    this.#chunks = chunks;
  }
  async next(): Promise<IteratorResult<ModelChunk>> {
    if (this.closed) return { value: undefined, done: true };
    const chunk = this.#chunks[this.pulled];
    this.pulled += 1;
    if (chunk === 'stall') {
      await new Promise<void>((resolve) => {
        this.#stop = resolve;
      });
      return { value: undefined, done: true };
    }
    return chunk ? { value: chunk, done: false } : { value: undefined, done: true };
  }
  async return(): Promise<IteratorResult<ModelChunk>> {
    this.closed = true;
    this.#stop?.();
    return { value: undefined, done: true };
  }
  [Symbol.asyncIterator](): this {
    return this;
  }
}

/** Reads a source to its end. */
export async function collect<T>(source: AsyncIterable<T>): Promise<T[]> {
  const all: T[] = [];
  for await (const item of source) all.push(item);
  return all;
}

/** Reads until the source ends or fails. Returns the items and the error. */
export async function collectUntilError<T>(
  source: AsyncIterable<T>,
): Promise<{ items: T[]; error: unknown }> {
  const items: T[] = [];
  try {
    for await (const item of source) items.push(item);
  } catch (error) {
    return { items, error };
  }
  return { items, error: undefined };
}
