// One whole answer of a model. Not streaming is collecting: the splitter reads the stream, and what counts is its end.
import type { ChatModel, ModelChunk, ModelRequest, Usage } from './model.ts';
import { type Reply, splitToolStream } from './stream/split-tool-stream.ts';
import { roughUsage } from './usage.ts';

export interface CollectedReply extends Reply {
  /** As the model server counted; by the rough rule of four characters a token where it did not. */
  usage: Usage;
  /** What stood behind the arguments of a call, by the call's id; the splitter leaves it out. */
  behind: ReadonlyMap<string, string>;
}

/** Asks `model` and waits for its whole answer. Aborting `signal` closes the request and rejects with its reason. */
export async function collectReply(
  model: ChatModel,
  request: ModelRequest,
  signal?: AbortSignal,
): Promise<CollectedReply> {
  signal?.throwIfAborted();
  const texts = new ArgumentTexts();
  const warned = new Set<string>();
  const stream = splitToolStream(texts.tap(model.stream(request, signal ? { signal } : {})), {
    toUserKey: null,
    ...(signal ? { signal } : {}),
    onWarning: ({ toolCallId }) => toolCallId !== undefined && warned.add(toolCallId),
  });
  const reply = await stream.done;
  const calls = (reply.message.tool_calls ?? []).filter((call) => warned.has(call.id));
  const behind = calls.map((call) => [call.id, texts.behind(call.id, call.function.arguments)] as const);
  return { ...reply, usage: reply.usage ?? roughUsage(request, reply.message), behind: new Map(behind) };
}

/** The argument texts of an answer, whole. A slot of the API is an index; another id at an index is another call. */
class ArgumentTexts {
  readonly #calls: { id: string | undefined; text: string }[] = [];
  readonly #at = new Map<number, { id: string | undefined; text: string }>();

  /** The same chunks, looked at as they pass. Leaving it leaves the source. */
  tap(source: AsyncIterable<ModelChunk>): AsyncIterable<ModelChunk> {
    return {
      [Symbol.asyncIterator]: () => {
        const iterator = source[Symbol.asyncIterator]();
        return {
          next: async () => {
            const step = await iterator.next();
            if (!step.done) this.#note(step.value);
            return step;
          },
          return: async () => (await iterator.return?.()) ?? { done: true, value: undefined },
        };
      },
    };
  }

  /** What follows `taken` in the text of the call. */
  behind(id: string, taken: string): string {
    const text = this.#calls.find((call) => call.id === id)?.text ?? '';
    return text.startsWith(taken) ? text.slice(taken.length) : '';
  }

  #note(chunk: ModelChunk): void {
    for (const delta of chunk.choices[0]?.delta.tool_calls ?? []) {
      const index = delta.index ?? 0;
      let call = this.#at.get(index);
      if (!call || (delta.id && call.id && delta.id !== call.id)) {
        call = { id: undefined, text: '' };
        this.#at.set(index, call);
        this.#calls.push(call);
      }
      call.id ??= delta.id;
      call.text += delta.function?.arguments ?? '';
    }
  }
}
