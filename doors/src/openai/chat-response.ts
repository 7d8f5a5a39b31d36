// The objects that a Chat Completions client receives: the whole completion, and the chunks of a stream.
import type { DoneEvent, FinishReason, TurnUsage } from '@fame-fabric/client';

/** Ids and time of one answer. */
export interface AnswerIds {
  readonly conversationId: string;
  readonly turnId: string;
  /** Address of the agent. */
  readonly model: string;
  /** Seconds since the epoch. */
  readonly created: number;
}

type OpenAiFinish = 'stop' | 'length' | 'tool_calls' | 'content_filter';

const idOf = ({ turnId }: AnswerIds): string => `chatcmpl-${turnId}`;

const metadataOf = ({ conversationId, turnId }: AnswerIds): Record<string, string> => ({
  conversation_id: conversationId,
  turn_id: turnId,
});

/** The whole answer. `metadata` is a field of OpenAI's stored completions. */
export function completion(ids: AnswerIds, done: DoneEvent): object {
  const calls = done.tool_calls ?? [];
  return {
    id: idOf(ids),
    object: 'chat.completion',
    created: ids.created,
    model: ids.model,
    choices: [
      {
        index: 0,
        message: {
          role: 'assistant',
          content: done.text === '' && calls.length > 0 ? null : done.text,
          refusal: null,
          ...(calls.length > 0 ? { tool_calls: calls } : {}),
        },
        logprobs: null,
        finish_reason: finishOf(done),
      },
    ],
    usage: usageOf(done.usage),
    metadata: metadataOf(ids),
  };
}

interface Delta {
  role?: 'assistant';
  content?: string;
  refusal?: null;
  tool_calls?: object[];
}

/** Writes the chunks of one stream. */
export class ChunkWriter {
  readonly #ids: AnswerIds;
  readonly #hasUsage: boolean;

  /** @param hasUsage true if the client asked for the usage in the last chunk */
  constructor(ids: AnswerIds, hasUsage: boolean) {
    this.#ids = ids;
    this.#hasUsage = hasUsage;
  }

  /** The first chunk, with the role. */
  first(): string {
    return this.#chunk({ role: 'assistant', content: '', refusal: null }, null, {
      metadata: metadataOf(this.#ids),
    });
  }

  text(content: string): string {
    return this.#chunk({ content }, null);
  }

  /** The chunks that end the answer: the calls, the reason, and the usage if the client asked for it. */
  last(done: DoneEvent): string[] {
    const calls = (done.tool_calls ?? []).map((call, index) =>
      this.#chunk({ tool_calls: [{ index, ...call }] }, null),
    );
    const chunks = [...calls, this.#chunk({}, finishOf(done))];
    if (this.#hasUsage)
      chunks.push(JSON.stringify({ ...this.#head(), choices: [], usage: usageOf(done.usage) }));
    return chunks;
  }

  #chunk(delta: Delta, finish: OpenAiFinish | null, more: object = {}): string {
    return JSON.stringify({
      ...this.#head(),
      choices: [{ index: 0, delta, logprobs: null, finish_reason: finish }],
      ...(this.#hasUsage ? { usage: null } : {}),
      ...more,
    });
  }

  #head(): object {
    const { created, model } = this.#ids;
    return { id: idOf(this.#ids), object: 'chat.completion.chunk', created, model };
  }
}

const FINISH: Readonly<Record<FinishReason, OpenAiFinish>> = {
  stop: 'stop',
  length: 'length',
  tool_calls: 'tool_calls',
  content_filter: 'content_filter',
  // The text of the refusal was already sent as content.
  refusal: 'content_filter',
};

const finishOf = ({ finish = 'stop' }: DoneEvent): OpenAiFinish => FINISH[finish] ?? 'stop';

/** The usage of a turn, which may have several model calls. Zeros if the agent does not report it. */
function usageOf(usage: TurnUsage = {}): object {
  const { prompt_tokens = 0, completion_tokens = 0, cached_tokens = 0 } = usage;
  const { total_tokens = prompt_tokens + completion_tokens } = usage;
  return {
    prompt_tokens,
    completion_tokens,
    total_tokens,
    prompt_tokens_details: { cached_tokens },
  };
}
