// One whole answer of a model. Not streaming is collecting: the splitter reads the stream, and what counts is its end.
import type { ChatModel, ModelRequest, Usage } from '../model.ts';
import { type Reply, splitToolStream } from '../stream/split-tool-stream.ts';

export interface CollectedReply extends Reply {
  /** As the model server counted; by the rough rule of four characters a token where it did not. */
  usage: Usage;
}

/** Asks `model` and waits for its whole answer. Aborting `signal` closes the request and rejects with its reason. */
export async function collectReply(
  model: ChatModel,
  request: ModelRequest,
  signal?: AbortSignal,
): Promise<CollectedReply> {
  const inner = new AbortController();
  const stop = (): void => inner.abort(signal?.reason);
  signal?.throwIfAborted();
  signal?.addEventListener('abort', stop, { once: true });
  try {
    const stream = splitToolStream(model.stream(request, { signal: inner.signal }), {
      toUserKey: null,
      signal: inner.signal,
    });
    const reply = await stream.done;
    return { ...reply, usage: reply.usage ?? roughUsage(request, reply) };
  } finally {
    signal?.removeEventListener('abort', stop);
  }
}

const tokensOf = (value: unknown): number => Math.ceil(JSON.stringify(value).length / 4);

/** What an answer without a usage report is taken to have cost, so that no budget is blind to it. */
export function roughUsage(request: ModelRequest, reply: Reply): Usage {
  const prompt_tokens = tokensOf([request.messages, request.tools ?? []]);
  const completion_tokens = tokensOf(reply.message);
  return { prompt_tokens, completion_tokens, total_tokens: prompt_tokens + completion_tokens };
}
