// THE PATH of a turn: ask the model, hand its text on while it arrives, run the tools it calls, ask again, until it answers
// without a call. One async generator tells it in events; not streaming means collecting them. It keeps nothing: what the
// events mean for the record and for the callers is the business of `conversation-host.ts`.
import { FabricError } from '@fame-fabric/shared';
import type { TurnDraft } from './history.ts';
import type { AssistantMessage, ChatModel, FinishReason, ModelMessage, Usage } from './model.ts';

/** What happens in a turn, in order. The turn goes on only when its consumer asks for the next event. */
export type TurnEvent =
  | { type: 'model_called'; step: number; model: string; messages: readonly ModelMessage[] }
  | { type: 'text'; text: string }
  | {
      type: 'model_replied';
      step: number;
      model: string;
      message: AssistantMessage;
      finish: FinishReason;
      usage?: Usage;
    }
  | { type: 'tool_started'; callId: string; name: string }
  | { type: 'tool_finished'; callId: string; name: string; ok: boolean; content: string };

/** What a turn came to. `text` is all of its text events put together. */
export interface TurnResult {
  text: string;
  usage: Usage;
  /** Which model answered, as it calls itself. */
  model: string;
  /** What the history gets instead of the messages of the draft. */
  messages?: readonly ModelMessage[];
  /** What the runner wants to find again in the next turn of the conversation; plain JSON. */
  state?: unknown;
}

/** A turn to run. */
export interface TurnInput {
  conversationId: string;
  turnId: string;
  /** As the caller wrote it; may be empty. */
  userMessage: string;
  /** Its messages so far; the runner adds what the model and the tools answer. */
  draft: TurnDraft;
  /** What the last turn returned as `state`. */
  state: unknown;
  signal: AbortSignal;
}

/** What runs the turns of a conversation. `ChatTurns` is the plain one; an agent that works differently brings its own. */
export interface TurnRunner {
  /** What answers, as `describe` tells it. */
  readonly modelName: string;
  run(input: TurnInput): AsyncGenerator<TurnEvent, TurnResult, void>;
}

export interface ChatTurnsOptions {
  model: ChatModel;
  /** Most model calls of one turn. @default 16 */
  maxSteps?: number;
}

/** The turns of a chat agent: one model, and the tools that it may call. */
export class ChatTurns implements TurnRunner {
  readonly #model: ChatModel;
  readonly #maxSteps: number;

  constructor(options: ChatTurnsOptions) {
    this.#model = options.model;
    this.#maxSteps = options.maxSteps ?? 16;
  }

  get modelName(): string {
    return this.#model.name;
  }

  /** @throws {TURN_STEP_LIMIT} when the model still calls tools in its last allowed answer; and what the model throws */
  async *run(input: TurnInput): AsyncGenerator<TurnEvent, TurnResult, void> {
    const { draft, signal } = input;
    const usage = noUsage();
    let text = '';
    for (let step = 1; ; step += 1) {
      signal.throwIfAborted();
      if (step > this.#maxSteps) {
        throw new FabricError('TURN_STEP_LIMIT', `The turn called the model ${this.#maxSteps} times.`);
      }
      const messages = draft.request();
      yield { type: 'model_called', step, model: this.#model.name, messages };

      let content = '';
      let finish: FinishReason = 'stop';
      let model = this.#model.name;
      let spent: Usage | undefined;
      for await (const chunk of this.#model.stream({ messages }, { signal })) {
        model = chunk.model ?? model;
        spent = chunk.usage ?? spent;
        const choice = chunk.choices[0];
        if (choice?.finish_reason) finish = choice.finish_reason;
        const piece = choice?.delta.content;
        if (!piece) continue;
        content += piece;
        yield { type: 'text', text: piece };
      }
      text += content;
      if (spent) addUsage(usage, spent);
      const message: AssistantMessage = { role: 'assistant', content };
      draft.assistant(message);
      yield { type: 'model_replied', step, model, message, finish, ...(spent ? { usage: spent } : {}) };
      return { text, usage, model };
    }
  }
}

export const noUsage = (): Usage => ({ prompt_tokens: 0, completion_tokens: 0, total_tokens: 0 });

/** Adds `more` to `sum`. */
export function addUsage(sum: Usage, more: Usage): void {
  sum.prompt_tokens += more.prompt_tokens;
  sum.completion_tokens += more.completion_tokens;
  sum.total_tokens += more.total_tokens;
  if (more.cached_tokens !== undefined) sum.cached_tokens = (sum.cached_tokens ?? 0) + more.cached_tokens;
}
