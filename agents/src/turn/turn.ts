// THE PATH of a turn: ask the model, hand its text on while it arrives, run the tools it calls, ask again, until it answers
// without a call. The rounds are jobs of a commander, their branches its handlers; one async generator tells what happens
// in events, and not streaming means collecting them. It keeps nothing: what the events mean for the record and for the
// callers is the business of `turn-run.ts` and `conversation-host.ts`.
import { FabricError, type Logger, silentLog } from '@fame-fabric/shared';
import { CONVERSATION_LIMITS } from '../conversation/conversation.ts';
import type { RecordedStep } from '../conversation/journal.ts';
import type {
  AssistantMessage,
  ChatModel,
  FinishReason,
  ModelMessage,
  ModelRequest,
  ToolCall,
  Usage,
} from '../model/model.ts';
import { type ParsedToolCall, parseArguments } from '../model/stream/parse-arguments.ts';
import { splitToolStream, type ToolStream } from '../model/stream/split-tool-stream.ts';
import { addUsage, noUsage } from '../model/usage.ts';
import { outcomeContent, type ToolOutcome } from '../tools/tool-outcome.ts';
import { ToolSet } from '../tools/tool-set.ts';
import { Commander } from '../workflow/commander.ts';
import { defineHandler, defineJob } from '../workflow/define.ts';
import { abortedCall, type TurnDraft } from './history.ts';
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
  | { type: 'tool_started'; callId: string; name: string; args?: Readonly<Record<string, unknown>> }
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
  readonly #setup: ChatSetup;

  constructor(options: ChatTurnsOptions) {
    const tools = options.tools ?? new ToolSet();
    this.#setup = {
      model: options.model,
      tools,
      request: {
        max_tokens: options.maxAnswerTokens ?? 4_096,
        ...(tools.size > 0 ? { tools: tools.specs() } : {}),
      },
      maxSteps: options.maxSteps ?? 16,
      log: options.log ?? silentLog,
    };
  }

  get modelName(): string {
    return this.#setup.model.name;
  }

  /**
   * @throws {TURN_STEP_LIMIT} when the model still calls tools in its last allowed answer
   * @throws {BUFFER_OVERFLOW} when the text of the turn grows too long; and what the model throws
   */
  run(input: TurnInput): AsyncGenerator<TurnEvent, TurnResult, void> {
    const commander = new Commander({ signal: input.signal, logger: this.#setup.log });
    const begin = (): void => {
      running = commander.run(round(turn), { autoExit: true }).then(
        () => turn.relay.end(turn.result),
        (error: unknown) => turn.relay.fail(error),
      );
    };
    const onLeave = (): Promise<void> => {
      commander.requestExit();
      return running;
    };
    let running: Promise<void> = Promise.resolve();
    const turn = new ChatTurn(this.#setup, input, new TurnRelay<TurnResult>(begin, onLeave));
    return turn.relay;
  }
}

interface ChatSetup {
  readonly model: ChatModel;
  readonly tools: ToolSet;
  /** What every request has beside its messages. */
  readonly request: Omit<ModelRequest, 'messages'>;
  readonly maxSteps: number;
  readonly log: Logger;
}

// ---- the flow: a round is over when both of its branches are, and the turn when its first round is

/** Asks the model once, or takes the answer that was recorded, and puts the next round if tools were called. */
const round = defineJob('round', (_, turn: ChatTurn) => answer(turn));

const answer = defineHandler('answer', async (self, turn: ChatTurn) => {
  const step = turn.nextStep();
  const recorded = turn.input.recorded?.[step - 1];
  let message: AssistantMessage;
  if (recorded) {
    message = turn.recall(recorded);
    await self.fork({ tools: openCalls(turn, recorded) });
  } else {
    const asked = await turn.ask(step, self.signal);
    message = (await self.fork({ text: userText(turn, asked), tools: toolCalls(turn, asked) })).text;
  }
  if (message.tool_calls?.length) self.putJob(round(turn));
});

/** The text goes out while it arrives; the answer stands when it is whole. */
const userText = defineHandler('user_text', (self, turn: ChatTurn, asked: Asked) =>
  turn.hear(asked, self.signal),
);

/** Tools run when their answer is written down, each result is told when it is there. */
const toolCalls = defineHandler('tool_calls', (self, turn: ChatTurn, asked: Asked) =>
  turn.act(asked.stream.toolCalls, self.signal, asked.isWritten.promise),
);

/** Calls of a recorded answer that were not finished before the crash. */
const openCalls = defineHandler('open_calls', async (self, turn: ChatTurn, step: RecordedStep) => {
  const calls = await turn.callsToMake(step);
  return turn.act(calls, self.signal, undefined);
});

/** A model call that is on its way. */
interface Asked {
  readonly step: number;
  readonly stream: ToolStream;
  /** Settles when the answer is whole and taken by the consumer, or broken. */
  readonly isWritten: PromiseWithResolvers<void>;
}

/** One turn on its way: what its rounds share, and what each part of a round does. */
class ChatTurn {
  readonly input: TurnInput;
  readonly relay: TurnRelay<TurnResult>;
  readonly #setup: ChatSetup;
  readonly #usage = noUsage();
  #text = '';
  #step = 0;

  constructor(setup: ChatSetup, input: TurnInput, relay: TurnRelay<TurnResult>) {
    this.#setup = setup;
    this.input = input;
    this.relay = relay;
  }

  get result(): TurnResult {
    return { text: this.#text, usage: this.#usage, model: this.#setup.model.name };
  }

  nextStep(): number {
    this.#step += 1;
    const { maxSteps } = this.#setup;
    if (this.#step <= maxSteps) return this.#step;
    throw new FabricError('TURN_STEP_LIMIT', `The turn called the model ${maxSteps} times without an end.`);
  }

  async ask(step: number, signal: AbortSignal): Promise<Asked> {
    const { model, request, log } = this.#setup;
    const messages = this.input.draft.request();
    await this.relay.event({ type: 'model_called', step, model: model.name, messages });
    signal.throwIfAborted();
    const stream = splitToolStream(model.stream({ ...request, messages }, { signal }), {
      signal,
      maxContentChars: CONVERSATION_LIMITS.maxTurnChars,
      onWarning: ({ message }) =>
        log.warn('the model server broke the protocol', { model: model.name, message }),
    });
    const isWritten = Promise.withResolvers<void>();
    // Only tools wait for it; without any, nobody minds that the answer broke.
    isWritten.promise.catch(() => {});
    return { step, stream, isWritten };
  }

  async hear({ step, stream, isWritten }: Asked, signal: AbortSignal): Promise<AssistantMessage> {
    // The other branch broke: nobody needs the rest of the answer.
    const stop = (): void => void stream.cancel(signal.reason);
    signal.addEventListener('abort', stop, { once: true });
    try {
      let isFirst = true;
      for await (const { text } of stream.toUser) {
        this.#say(text, isFirst);
        isFirst = false;
      }
      const { message, finish, usage } = await stream.done;
      if (usage) addUsage(this.#usage, usage);
      this.input.draft.assistant(message);
      const model = this.#setup.model.name;
      const told = { type: 'model_replied' as const, step, model, message, finish };
      await this.relay.event(usage ? { ...told, usage } : told);
      isWritten.resolve();
      return message;
    } catch (error) {
      isWritten.reject(error);
      throw error;
    } finally {
      signal.removeEventListener('abort', stop);
    }
  }

  /** Runs calls. One that is not eager starts after the answer it belongs to, and after its start is written down. */
  act(
    calls: AsyncIterable<ParsedToolCall> | readonly ParsedToolCall[],
    signal: AbortSignal,
    isWritten: Promise<void> | undefined,
  ): Promise<ToolOutcome[]> {
    const { draft, conversationId } = this.input;
    const { tools } = this.#setup;
    return tools.executeAll(calls, {
      signal,
      conversationId,
      emit: (text) => this.#say(text, false),
      onStart: async (call) => {
        if (!tools.get(call.name)?.eager) await isWritten;
        await this.relay.event(toolStarted(call));
      },
      onOutcome: async (outcome) => {
        await isWritten;
        const { callId, name, ok } = outcome;
        const content = outcomeContent(outcome);
        draft.tool(callId, content);
        await this.relay.event({ type: 'tool_finished', callId, name, ok, content });
      },
    });
  }

  /** Takes an answer that was given before a crash, with the results that are known. */
  recall({ message, text, usage, finished }: RecordedStep): AssistantMessage {
    this.#text += text;
    if (usage) addUsage(this.#usage, usage);
    this.input.draft.assistant(message);
    for (const [callId, { content }] of finished) this.input.draft.tool(callId, content);
    return message;
  }

  /** The calls of a recorded answer that have to be made; the model is told of those that must not be made again. */
  async callsToMake({ message, started, finished }: RecordedStep): Promise<ParsedToolCall[]> {
    const calls: ParsedToolCall[] = [];
    for (const [index, call] of (message.tool_calls ?? []).entries()) {
      const { id: callId } = call;
      const { name } = call.function;
      if (finished.has(callId)) continue;
      if (started.has(callId) && this.#setup.tools.get(name)?.idempotent === false) {
        const { content } = abortedCall(
          callId,
          'it was interrupted, and whether it had an effect is not known',
        );
        this.input.draft.tool(callId, content);
        await this.relay.event({ type: 'tool_finished', callId, name, ok: false, content });
      } else calls.push(parseCall(call, index));
    }
    return calls;
  }

  // Texts of different rounds stand on lines of their own.
  #say(text: string, isFirst: boolean): void {
    const piece = isFirst && this.#text !== '' && !this.#text.endsWith('\n') ? `\n${text}` : text;
    this.#text += piece;
    const { maxTurnChars } = CONVERSATION_LIMITS;
    if (this.#text.length > maxTurnChars) {
      throw new FabricError(
        'BUFFER_OVERFLOW',
        `The text of the turn is longer than ${maxTurnChars} characters`,
      );
    }
    this.relay.text(piece);
  }
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

/** Says that a call starts, with its arguments unless they are long. */
export function toolStarted(call: ParsedToolCall): TurnEvent {
  const told = { type: 'tool_started' as const, callId: call.id, name: call.name };
  const isShort = call.rawArguments.length <= CONVERSATION_LIMITS.maxToolArgsChars;
  return call.ok && isShort ? { ...told, args: call.args } : told;
}
