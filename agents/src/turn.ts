// THE PATH of a turn: ask the model, hand its text on while it arrives, run the tools it calls, ask again, until it answers
// without a call. One async generator tells it in events; not streaming means collecting them. It keeps nothing: what the
// events mean for the record and for the callers is the business of `turn-run.ts` and `conversation-host.ts`.
import { FabricError, type Logger, silentLog } from '@fame-fabric/shared';
import { CONVERSATION_LIMITS } from './conversation.ts';
import type { RecordedStep } from './conversation-journal.ts';
import { abortedCall, type TurnDraft } from './history.ts';
import type {
  AssistantMessage,
  ChatModel,
  FinishReason,
  ModelMessage,
  ModelRequest,
  ToolCall,
  Usage,
} from './model.ts';
import { type ParsedToolCall, parseArguments } from './stream/parse-arguments.ts';
import { splitToolStream } from './stream/split-tool-stream.ts';
import { outcomeContent, type ToolOutcome } from './tools/tool-outcome.ts';
import { type ExecuteOptions, ToolSet } from './tools/tool-set.ts';
import { TurnRelay } from './turn-relay.ts';

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

/** What a turn came to. */
export interface TurnResult {
  /** All of its text events put together, those of recorded steps included. */
  text: string;
  usage: Usage;
  /** Which model answered. */
  model: string;
  /** What the history gets instead of the messages of the draft. */
  messages?: readonly ModelMessage[];
  /** What the runner wants to find again in the next turn of the conversation; plain JSON. */
  state?: unknown;
  /** What the conversation is to its task from now on. @default 'working' */
  taskState?: 'working' | 'input-required' | 'completed';
}

/** A turn to run. */
export interface TurnInput {
  conversationId: string;
  turnId: string;
  /** As the caller wrote it; may be empty. */
  userMessage: string;
  /** Its messages so far; the runner adds what the model and the tools answer. */
  draft: TurnDraft;
  /** What was done before a crash. It is used as it is: none of it is asked or run again. */
  recorded?: readonly RecordedStep[];
  /** What the last turn returned as `state`. */
  state: unknown;
  /** What the conversation was started with, beyond the settings that all have. */
  payload: Readonly<Record<string, unknown>>;
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
  tools?: ToolSet;
  /** Most model calls of one turn. @default 16 */
  maxSteps?: number;
  /** Most tokens of one answer of the model. @default 4_096 */
  maxAnswerTokens?: number;
  log?: Logger;
}

/** The turns of a chat agent: one model, and the tools that it may call. */
export class ChatTurns implements TurnRunner {
  readonly #model: ChatModel;
  readonly #tools: ToolSet;
  readonly #request: Omit<ModelRequest, 'messages'>;
  readonly #maxSteps: number;
  readonly #log: Logger;

  constructor(options: ChatTurnsOptions) {
    this.#model = options.model;
    this.#tools = options.tools ?? new ToolSet();
    this.#maxSteps = options.maxSteps ?? 16;
    this.#log = options.log ?? silentLog;
    this.#request = {
      max_tokens: options.maxAnswerTokens ?? 4_096,
      ...(this.#tools.size > 0 ? { tools: this.#tools.specs() } : {}),
    };
  }

  get modelName(): string {
    return this.#model.name;
  }

  /**
   * @throws {TURN_STEP_LIMIT} when the model still calls tools in its last allowed answer
   * @throws {BUFFER_OVERFLOW} when the text of the turn grows too long; and what the model throws
   */
  async *run(input: TurnInput): AsyncGenerator<TurnEvent, TurnResult, void> {
    const turn = { input, text: '', usage: noUsage() };
    for (let step = 1; step <= this.#maxSteps; step += 1) {
      input.signal.throwIfAborted();
      const recorded = input.recorded?.[step - 1];
      const message = recorded ? yield* this.#redo(turn, recorded) : yield* this.#ask(turn, step);
      if (!message.tool_calls?.length) {
        return { text: turn.text, usage: turn.usage, model: this.#model.name };
      }
    }
    throw new FabricError(
      'TURN_STEP_LIMIT',
      `The turn called the model ${this.#maxSteps} times without an end.`,
    );
  }

  /** One round: the model answers, and what it calls runs. The turn goes on after the last of text, answer and tools. */
  async *#ask(turn: Turn, step: number): AsyncGenerator<TurnEvent, AssistantMessage, void> {
    const { draft, signal: outer } = turn.input;
    const messages = draft.request();
    const model = this.#model.name;
    yield { type: 'model_called', step, model, messages };

    const relay = new TurnRelay();
    const failed = new AbortController();
    const signal = AbortSignal.any([outer, failed.signal]);
    const stream = splitToolStream(this.#model.stream({ ...this.#request, messages }, { signal }), {
      signal,
      maxContentChars: CONVERSATION_LIMITS.maxTurnChars,
      onWarning: ({ message }) => this.#log.warn('the model server broke the protocol', { model, message }),
    });
    const isWritten = Promise.withResolvers<void>();
    isWritten.promise.catch(() => {});
    let answer: AssistantMessage | undefined;

    const hear = async (): Promise<void> => {
      let isFirst = true;
      for await (const piece of stream.toUser) {
        say(turn, relay, piece.text, isFirst);
        isFirst = false;
      }
      const { message, finish, usage } = await stream.done;
      if (usage) addUsage(turn.usage, usage);
      answer = message;
      draft.assistant(message);
      await relay.event({ type: 'model_replied', step, model, message, finish, ...(usage ? { usage } : {}) });
      isWritten.resolve();
    };
    const act = (): Promise<ToolOutcome[]> =>
      this.#tools.executeAll(stream.toolCalls, this.#execution(turn, relay, signal, isWritten.promise));

    const branch = <T>(work: Promise<T>): Promise<T> =>
      work.catch((error: unknown) => {
        isWritten.reject(error);
        failed.abort(error);
        throw error;
      });
    const both = Promise.allSettled([branch(hear()), branch(act())]).then((settled) => {
      // The error that came first is the one that ended the round; the other is its echo.
      const first = settled.find((one) => one.status === 'rejected');
      if (first) relay.fail(failed.signal.reason ?? first.reason);
      else relay.end();
    });
    try {
      yield* relay.events();
    } finally {
      if (!relay.isOver) failed.abort(new FabricError('ABORTED', 'The turn was left'));
      await both;
    }
    return answer!;
  }

  /** A round that was made before a crash: its answer stands, only calls that never finished are made now. */
  async *#redo(turn: Turn, step: RecordedStep): AsyncGenerator<TurnEvent, AssistantMessage, void> {
    const { draft, signal } = turn.input;
    const { message, text, usage, started, finished } = step;
    turn.text += text;
    if (usage) addUsage(turn.usage, usage);
    draft.assistant(message);
    const open: ParsedToolCall[] = [];
    for (const [index, call] of (message.tool_calls ?? []).entries()) {
      const done = finished.get(call.id);
      if (done) draft.tool(call.id, done.content);
      else if (started.has(call.id) && this.#tools.get(call.function.name)?.idempotent === false) {
        const { content } = abortedCall(
          call.id,
          'it was interrupted, and whether it had an effect is not known',
        );
        draft.tool(call.id, content);
        yield { type: 'tool_finished', callId: call.id, name: call.function.name, ok: false, content };
      } else open.push(parseCall(call, index));
    }
    if (open.length === 0) return message;
    const relay = new TurnRelay();
    const left = new AbortController();
    const work = this.#tools
      .executeAll(open, this.#execution(turn, relay, AbortSignal.any([signal, left.signal])))
      .then(
        () => relay.end(),
        (error: unknown) => relay.fail(error),
      );
    try {
      yield* relay.events();
    } finally {
      if (!relay.isOver) left.abort(new FabricError('ABORTED', 'The turn was left'));
      await work;
    }
    return message;
  }

  // A tool starts once its start is written down, and that is after the answer it belongs to; only one that is marked
  // `eager` may be ahead of the answer.
  #execution(turn: Turn, relay: TurnRelay, signal: AbortSignal, isWritten?: Promise<void>): ExecuteOptions {
    const { draft, conversationId } = turn.input;
    return {
      signal,
      conversationId,
      emit: (text) => say(turn, relay, text, false),
      onStart: async ({ id, name }) => {
        if (!this.#tools.get(name)?.eager) await isWritten;
        await relay.event({ type: 'tool_started', callId: id, name });
      },
      onOutcome: async (outcome) => {
        await isWritten;
        const { callId, name, ok } = outcome;
        const content = outcomeContent(outcome);
        draft.tool(callId, content);
        await relay.event({ type: 'tool_finished', callId, name, ok, content });
      },
    };
  }
}

/** What one run of a turn carries from round to round. */
interface Turn {
  readonly input: TurnInput;
  text: string;
  readonly usage: Usage;
}

// Texts of different rounds stand on lines of their own.
function say(turn: Turn, relay: TurnRelay, text: string, isFirst: boolean): void {
  const piece = isFirst && turn.text !== '' && !turn.text.endsWith('\n') ? `\n${text}` : text;
  turn.text += piece;
  if (turn.text.length > CONVERSATION_LIMITS.maxTurnChars) {
    throw new FabricError(
      'BUFFER_OVERFLOW',
      `The text of the turn is longer than ${CONVERSATION_LIMITS.maxTurnChars} characters`,
    );
  }
  relay.text(piece);
}

function parseCall(
  { id, function: { name, arguments: rawArguments } }: ToolCall,
  index: number,
): ParsedToolCall {
  const parsed = parseArguments(rawArguments);
  const common = { index, id, name, rawArguments };
  if (!parsed.ok) return { ok: false, ...common, error: parsed.error };
  delete parsed.args.to_user;
  return { ok: true, ...common, args: parsed.args };
}

export const noUsage = (): Usage => ({ prompt_tokens: 0, completion_tokens: 0, total_tokens: 0 });

/** Adds `more` to `sum`. */
export function addUsage(sum: Usage, more: Usage): void {
  sum.prompt_tokens += more.prompt_tokens;
  sum.completion_tokens += more.completion_tokens;
  sum.total_tokens += more.total_tokens;
  if (more.cached_tokens !== undefined) sum.cached_tokens = (sum.cached_tokens ?? 0) + more.cached_tokens;
}
