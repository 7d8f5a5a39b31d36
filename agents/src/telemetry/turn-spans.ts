// Spans of turns: `invoke_agent` for a turn, and below it `chat` for each request to a model and `execute_tool` for each run of a tool.
// Attributes have names, sizes, counts and stable codes. The texts of a conversation are added only if the operator asks for them.
import { systemClock } from '@fame-fabric/shared';
import {
  ATTRIBUTE,
  type Attributes,
  errorTypeOf,
  OPERATION,
  type TraceSpan,
  type Tracing,
} from '@fame-fabric/shared/internal';
import type { Reply } from '../model/ask-model.ts';
import type { ChatModel, ModelMessage, ModelRequest } from '../model/model.ts';
import type {
  ModelCallObservation,
  ObservedCall,
  ObservedOutcome,
  ObservedTurn,
  RecordedTrace,
  ToolCallObservation,
  TurnObservation,
  TurnObserver,
} from './turn-observer.ts';

export interface TurnSpansOptions {
  /** True if spans have the texts of conversations, and the arguments and results of tools. */
  readonly hasContent: boolean;
}

/** Observes turns as spans of `tracing`. */
export class TurnSpans implements TurnObserver {
  readonly #tracing: Tracing;
  readonly #options: TurnSpansOptions;

  constructor(tracing: Tracing, options: TurnSpansOptions) {
    this.#tracing = tracing;
    this.#options = options;
  }

  accepted(turn: ObservedTurn): TurnObservation {
    return new TurnSpan(this.#tracing, turn, this.#options);
  }

  journalWritten(): void {}
}

class TurnSpan implements TurnObservation {
  readonly trace: RecordedTrace;
  readonly #tracing: Tracing;
  readonly #span: TraceSpan;
  readonly #common: Attributes;
  readonly #options: TurnSpansOptions;

  constructor(tracing: Tracing, turn: ObservedTurn, options: TurnSpansOptions) {
    const { agent, conversation, id, isResumed, recordedTrace } = turn;
    this.#tracing = tracing;
    this.#options = options;
    this.#common = { [ATTRIBUTE.agentName]: agent, [ATTRIBUTE.conversation]: conversation };
    this.#span = tracing.start(`${OPERATION.invokeAgent} ${agent}`, {
      // The call that brought a resumed turn is gone. Its caller waits in the trace in which the turn began.
      ...(isResumed ? { parent: recordedTrace?.caller ?? 'none' } : {}),
      links: isResumed && recordedTrace ? [recordedTrace.turn] : [],
      attributes: {
        [ATTRIBUTE.operation]: OPERATION.invokeAgent,
        ...this.#common,
        [ATTRIBUTE.turn]: id,
        [ATTRIBUTE.isResumed]: isResumed,
        [ATTRIBUTE.traceId]: turn.traceId,
      },
    });
    const caller = isResumed ? recordedTrace?.caller : tracing.caller();
    this.trace = { turn: this.#span.traceparent, ...(caller === undefined ? {} : { caller }) };
  }

  run<T>(work: () => T): T {
    return this.#span.run(work);
  }

  started(): void {}

  modelCalled(step: number, model: ChatModel, request: ModelRequest): ModelCallObservation {
    return new ModelSpan(this.#tracing, { step, model, request, common: this.#common }, this.#options);
  }

  toolStarted(call: ObservedCall, args: unknown): ToolCallObservation {
    return new ToolSpan(this.#tracing, { call, args, common: this.#common }, this.#options);
  }

  ended(outcome: ObservedOutcome, isReleased: boolean): void {
    const { usage, cost, model, error } = outcome;
    this.#span.set({
      [ATTRIBUTE.responseModel]: model ?? undefined,
      [ATTRIBUTE.inputTokens]: usage.prompt_tokens,
      [ATTRIBUTE.outputTokens]: usage.completion_tokens,
      ...(cost === 'unknown' ? {} : { [ATTRIBUTE.cost]: cost.amount, [ATTRIBUTE.currency]: cost.currency }),
    });
    this.#span.end(isReleased ? 'TURN_RELEASED' : error && errorTypeOf(error));
  }
}

class ModelSpan implements ModelCallObservation {
  readonly #span: TraceSpan;
  readonly #hasContent: boolean;
  readonly #startedAt = systemClock.monotonic();
  #retries = 0;

  constructor(
    tracing: Tracing,
    of: { step: number; model: ChatModel; request: ModelRequest; common: Attributes },
    { hasContent }: TurnSpansOptions,
  ) {
    const { step, model, request, common } = of;
    this.#hasContent = hasContent;
    const name = request.model ?? model.name;
    this.#span = tracing.start(`${OPERATION.chat} ${name}`, {
      kind: 'client',
      attributes: {
        [ATTRIBUTE.operation]: OPERATION.chat,
        [ATTRIBUTE.provider]: model.provider ?? '_OTHER',
        ...common,
        [ATTRIBUTE.requestModel]: name,
        [ATTRIBUTE.maxTokens]: request.max_tokens,
        [ATTRIBUTE.temperature]: request.temperature,
        [ATTRIBUTE.topP]: request.top_p,
        [ATTRIBUTE.seed]: request.seed,
        [ATTRIBUTE.frequencyPenalty]: request.frequency_penalty,
        [ATTRIBUTE.presencePenalty]: request.presence_penalty,
        [ATTRIBUTE.stream]: true,
        [ATTRIBUTE.step]: step,
      },
    });
    if (hasContent && this.#span.isRecording) this.#span.set(contentOf(request.messages));
  }

  run<T>(work: () => T): T {
    return this.#span.run(work);
  }

  firstToken(): void {
    const seconds = (systemClock.monotonic() - this.#startedAt) / 1_000;
    this.#span.set({ [ATTRIBUTE.timeToFirstChunk]: seconds });
  }

  waiting(): void {
    this.#retries += 1;
  }

  replied({ message, finish, usage }: Reply): void {
    this.#span.set({
      [ATTRIBUTE.finishReasons]: [finish],
      [ATTRIBUTE.inputTokens]: usage?.prompt_tokens,
      [ATTRIBUTE.cachedTokens]: usage?.cached_tokens,
      [ATTRIBUTE.outputTokens]: usage?.completion_tokens,
      [ATTRIBUTE.retries]: this.#retries,
      ...(this.#hasContent && this.#span.isRecording
        ? { [ATTRIBUTE.outputMessages]: JSON.stringify([{ ...messageOf(message), finish_reason: finish }]) }
        : {}),
    });
    this.#span.end();
  }

  failed(error: unknown): void {
    this.#span.set({ [ATTRIBUTE.retries]: this.#retries });
    this.#span.end(errorTypeOf(error));
  }
}

class ToolSpan implements ToolCallObservation {
  readonly #span: TraceSpan;
  readonly #hasContent: boolean;

  constructor(
    tracing: Tracing,
    { call, args, common }: { call: ObservedCall; args: unknown; common: Attributes },
    { hasContent }: TurnSpansOptions,
  ) {
    this.#hasContent = hasContent;
    this.#span = tracing.start(`${OPERATION.executeTool} ${call.name}`, {
      attributes: {
        [ATTRIBUTE.operation]: OPERATION.executeTool,
        ...common,
        [ATTRIBUTE.toolName]: call.name,
        [ATTRIBUTE.toolCallId]: call.callId,
        [ATTRIBUTE.toolType]: 'function',
        [ATTRIBUTE.step]: call.step,
      },
    });
    if (hasContent && this.#span.isRecording && args !== undefined)
      this.#span.set({ [ATTRIBUTE.toolArguments]: JSON.stringify(args) });
  }

  run<T>(work: () => T): T {
    return this.#span.run(work);
  }

  finished({ ok, content }: { readonly ok: boolean; readonly content: string }): void {
    if (this.#hasContent && this.#span.isRecording) this.#span.set({ [ATTRIBUTE.toolResult]: content });
    this.#span.end(ok ? undefined : 'TOOL_FAILED');
  }

  failed(error: unknown): void {
    this.#span.end(errorTypeOf(error));
  }
}

/** The messages of a request in the form of the conventions. */
function contentOf(messages: readonly ModelMessage[]): Attributes {
  const system = messages.filter(({ role }) => role === 'system');
  const others = messages.filter(({ role }) => role !== 'system');
  return {
    [ATTRIBUTE.systemInstructions]:
      system.length > 0
        ? JSON.stringify(system.map(({ content }) => ({ type: 'text', content })))
        : undefined,
    [ATTRIBUTE.inputMessages]: JSON.stringify(others.map(messageOf)),
  };
}

function messageOf(message: ModelMessage): { role: string; parts: readonly unknown[] } {
  if (message.role === 'tool') {
    const { tool_call_id: id, content: response } = message;
    return { role: 'tool', parts: [{ type: 'tool_call_response', id, response }] };
  }
  const calls = message.role === 'assistant' ? (message.tool_calls ?? []) : [];
  return {
    role: message.role,
    parts: [
      ...(message.content ? [{ type: 'text', content: message.content }] : []),
      ...calls.map(({ id, function: { name, arguments: args } }) => ({
        type: 'tool_call',
        id,
        name,
        arguments: args,
      })),
    ],
  };
}
