// Cuts the texts and arguments of a recorded stream at other offsets. The answer stays the same, and so must the result of every
// reader.
import type { ModelChunk, ToolCallDelta } from '../model/model.ts';
import { pieces } from './script.ts';

/** Cuts a text into pieces, in order and complete. */
export type Cut = (text: string) => readonly string[];

/** Cuts into pieces of `size` UTF-16 units. May cut through a surrogate pair, as real servers do through escapes. */
export const everyChars =
  (size: number): Cut =>
  (text) =>
    pieces(text, size);

/** Cuts in two pieces: before and after `at`. */
export const cutAt =
  (at: number): Cut =>
  (text) =>
    [text.slice(0, at), text.slice(at)].filter(Boolean);

/** Cuts into random pieces, determined by the seed. */
export function randomCuts(seed: number, maxChars = 12): Cut {
  const random = seeded(seed);
  return (text) => {
    const parts: string[] = [];
    for (let at = 0; at < text.length; ) {
      const size = 1 + Math.floor(random() * maxChars);
      parts.push(text.slice(at, at + size));
      at += size;
    }
    return parts;
  };
}

/** Makes a source of numbers from 0 up to 1, determined by the seed (mulberry32). */
export function seeded(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** Returns the same answer, with its contents and arguments cut by `cut`. Opening deltas, finish reasons and usage stay in place. */
export function rechunk(chunks: readonly ModelChunk[], cut: Cut): ModelChunk[] {
  return joined(chunks).flatMap((chunk): ModelChunk[] => {
    const [choice] = chunk.choices;
    const { content, tool_calls: calls } = choice?.delta ?? {};
    if (choice && typeof content === 'string' && content) {
      return cut(content).map((part) => ({ ...chunk, choices: [{ ...choice, delta: { content: part } }] }));
    }
    const [call] = calls ?? [];
    const text = call?.function?.arguments;
    if (!choice || !call || !text) return [chunk];
    const { arguments: _text, ...opening } = call.function ?? {};
    const chunkOf = (delta: ToolCallDelta): ModelChunk => ({
      ...chunk,
      choices: [{ ...choice, delta: { tool_calls: [delta] } }],
    });
    return [
      ...(call.id || opening.name ? [chunkOf({ ...call, function: { ...opening, arguments: '' } })] : []),
      ...cut(text).map((part) => chunkOf({ index: call.index, function: { arguments: part } })),
    ];
  });
}

/** Yields all cuts to test for texts of up to `longest` characters: each size, and each cut in two. */
export function* allCuts(longest: number): Generator<Cut> {
  for (let size = 1; size <= longest; size += 1) yield everyChars(size);
  for (let at = 1; at < longest; at += 1) yield cutAt(at);
}

/** Splits the chunks into one delta each, and joins adjacent pieces of the same text or call. */
function joined(chunks: readonly ModelChunk[]): ModelChunk[] {
  const single = chunks.flatMap((chunk): ModelChunk[] => {
    const [choice] = chunk.choices;
    if (!choice) return [chunk];
    const { content, tool_calls: calls = [] } = choice.delta;
    const { finish_reason: finish, ...rest } = choice;
    const parts = [
      ...(typeof content === 'string' && content ? [{ content }] : []),
      ...calls.map((call) => ({ tool_calls: [call] })),
    ];
    const { usage, ...bare } = chunk;
    return [
      ...parts.map((delta): ModelChunk => ({ ...bare, choices: [{ ...rest, delta }] })),
      ...(finish || usage || parts.length === 0
        ? [{ ...chunk, choices: [{ ...choice, delta: {} }] } satisfies ModelChunk]
        : []),
    ];
  });
  return single.reduce<ModelChunk[]>((list, chunk) => {
    const merged = merge(list.at(-1), chunk);
    if (merged) list[list.length - 1] = merged;
    else list.push(chunk);
    return list;
  }, []);
}

function merge(left: ModelChunk | undefined, right: ModelChunk): ModelChunk | undefined {
  const a = left?.choices[0];
  const b = right.choices[0];
  if (!left || !a || !b || a.finish_reason || b.finish_reason) return undefined;
  if (typeof a.delta.content === 'string' && typeof b.delta.content === 'string') {
    return { ...left, choices: [{ ...a, delta: { content: a.delta.content + b.delta.content } }] };
  }
  const before = a.delta.tool_calls?.[0];
  const after = b.delta.tool_calls?.[0];
  // An id or a name opens a call; without them a delta continues the call at its index.
  if (!before || !after || after.id || after.function?.name || before.index !== after.index) return undefined;
  const text = `${before.function?.arguments ?? ''}${after.function?.arguments ?? ''}`;
  return {
    ...left,
    choices: [
      { ...a, delta: { tool_calls: [{ ...before, function: { ...before.function, arguments: text } }] } },
    ],
  };
}
