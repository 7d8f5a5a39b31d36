// Asks models through the journal of a turn. A recorded reply comes back without a request, a budget check or a reservation.
// A new request is recorded before it is sent, and its reply before the runner receives it. If a question differs from the recorded
// one, the rest of the record is dropped and the turn continues with live requests.
// Servers check the history of a request too. A conversation whose last turn was refused asks again with less of its history if the
// next request is refused as well, so that one bad answer cannot end it.
import { type FabricError, isFabricError, type Logger } from '@fame-fabric/shared';
import { type AskModel, type AskModelOptions, askModel, type Reply } from '../model/ask-model.ts';
import type {
  ChatModel,
  FinishReason,
  ModelMessage,
  ModelRequest,
  ModelWait,
  Usage,
} from '../model/model.ts';
import { parseCall } from '../model/stream/parse-arguments.ts';
import { userTextKey } from '../model/stream/user-text.ts';
import {
  type ModelCallObservation,
  NO_OBSERVATION,
  type TurnObservation,
} from '../telemetry/turn-observer.ts';
import { checkAnswer } from './check-answer.ts';
import type { TurnDraft } from './history.ts';
import { callId, type Question, questionOf, type RecordedStep, type Steps } from './steps.ts';
import type { RunnerActions } from './turn.ts';
import type { TurnText } from './turn-text.ts';

/** Journal of the model calls of a turn. Each method resolves when its entry is durable. */
export interface ModelJournal {
  /** Also reserves the cost of the call. @throws {BUDGET_EXCEEDED} */
  modelCalled(call: {
    step: number;
    model: string;
    messages: readonly ModelMessage[];
    question: Question;
    /** Turns that the request leaves out, in the form of `History.leaveOut`. */
    leftOut?: readonly number[] | undefined;
  }): Promise<unknown>;
  modelReplied(reply: {
    step: number;
    model: string;
    usage: Usage | undefined;
    reply: Reply;
  }): Promise<unknown>;
  /** Called at the first text and the first call of every reply, when it arrives. */
  tokenReceived(): void;
  /** Drops the record from `fromStep` on, and the text after `keep` characters. */
  recordDropped(drop: { fromStep: number; keep: number }): Promise<unknown>;
}

/** Receives the progress of model calls, which is not recorded. */
export interface ModelProgress {
  reasoning(text: string): void;
  waiting(wait: ModelWait): void;
}

export interface JournaledModelDeps {
  steps: Steps;
  journal: ModelJournal;
  draft: TurnDraft;
  text: TurnText;
  emitText: RunnerActions['emitText'];
  log: Logger;
  /** @default none */
  observation?: TurnObservation | undefined;
  /** @default the progress is dropped */
  progress?: ModelProgress | undefined;
  /** True if a refused request may be sent again with less history: the model refused the previous turn too. @default false */
  mayReduce?: boolean | undefined;
}

/** Text that tells the user that the model no longer sees some turns. */
export const LEFT_OUT_NOTICE =
  '(The model server refused this conversation as it was. The model no longer sees some of the earlier turns.)';

export class JournaledModel {
  readonly #deps: JournaledModelDeps;
  /** The history and the message of the user, as they stand in each request of the turn. */
  readonly #window: readonly ModelMessage[];
  /** Replaces `#window` in all requests, once a server has refused it. */
  #reduced: readonly ModelMessage[] | undefined;
  #lastFinish: FinishReason | undefined;

  constructor(deps: JournaledModelDeps) {
    this.#deps = deps;
    this.#window = withoutSystem(deps.draft.request());
  }

  /** The reason why the last reply finished; `undefined` before the first. */
  get lastFinish(): FinishReason | undefined {
    return this.#lastFinish;
  }

  readonly ask: AskModel = async (model, request, options = {}) => {
    const { steps, journal, draft } = this.#deps;
    options.signal?.throwIfAborted();
    const question = questionOf(options.scope, request.messages);
    await this.#checkRecord(question);
    const recorded = steps.advance();
    if (recorded) return this.#replay(recorded, options);

    let reply: Reply;
    const replied = Promise.withResolvers<void>();
    steps.awaitReply(replied.promise);
    try {
      options.check?.();
      reply = await this.#answerOf(model, this.#withReduced(request), { options, question });
      draft.assistant(reply.message);
      this.#lastFinish = reply.finish;
      const written = journal.modelReplied({
        step: steps.number,
        model: request.model ?? model.name,
        usage: reply.usage,
        reply,
      });
      // A reply without calls is written together with the end of the turn, which follows at once.
      if (reply.message.tool_calls?.length) await written;
      else written.catch(() => {});
      replied.resolve();
    } catch (error) {
      steps.retreat();
      replied.reject(error);
      throw error;
    }
    checkAnswer(reply);
    return reply;
  };

  /** Asks the model. If it refuses, asks again with less history where that may help. */
  async #answerOf(model: ChatModel, request: ModelRequest, asked: Asked): Promise<Reply> {
    try {
      return await this.#request(model, request, asked);
    } catch (error) {
      if (!this.#deps.mayReduce || this.#lastFinish !== undefined || !isFabricError(error, 'MODEL_REFUSED'))
        throw error;
      return this.#askWithLess(model, request, asked, error);
    }
  }

  /** @throws {MODEL_REFUSED} `refusal`, if no request with less history is accepted */
  async #askWithLess(
    model: ChatModel,
    request: ModelRequest,
    asked: Asked,
    refusal: FabricError,
  ): Promise<Reply> {
    const { draft, emitText, log } = this.#deps;
    for (const { messages, leftOut } of draft.reducedRequests()) {
      const window = withoutSystem(messages);
      const reduced = replacePart(request.messages, this.#window, window);
      if (!reduced) break;
      try {
        const reply = await this.#request(model, { ...request, messages: reduced }, { ...asked, leftOut });
        this.#reduced = window;
        draft.leaveOut(leftOut);
        log.warn('the model server refused the history; turns are left out from now on', {
          turns: leftOut.length,
          reason: refusal.message,
        });
        await emitText(`\n\n${LEFT_OUT_NOTICE}`, { from: 'runner' });
        return reply;
      } catch (error) {
        if (!isFabricError(error, 'MODEL_REFUSED')) throw error;
      }
    }
    throw refusal;
  }

  #withReduced(request: ModelRequest): ModelRequest {
    if (!this.#reduced) return request;
    const messages = replacePart(request.messages, this.#window, this.#reduced);
    return messages ? { ...request, messages } : request;
  }

  async #request(
    model: ChatModel,
    request: ModelRequest,
    { options, question, leftOut }: Asked,
  ): Promise<Reply> {
    const { steps, journal, progress, observation = NO_OBSERVATION } = this.#deps;
    const step = steps.number;
    const { messages } = request;
    await journal.modelCalled({ step, model: request.model ?? model.name, messages, question, leftOut });
    options.signal?.throwIfAborted();
    const observed = observation.modelCalled(step, model, request);
    const onToken = (): void => {
      journal.tokenReceived();
      observed.firstToken();
    };
    try {
      const reply = await observed.run(() =>
        askModel(model, request, {
          ...notifyOnce(options, onToken),
          ...withProgress(options, progress, observed),
          check: undefined,
          maxTextChars: this.#deps.text.room,
          callId: (index) => callId(steps.turnId, step, index),
        }),
      );
      observed.replied(reply);
      return reply;
    } catch (error) {
      observed.failed(error);
      throw error;
    }
  }

  /** Call it when the runner has finished. Drops recorded steps that the runner did not reach. */
  finish(): Promise<void> {
    return this.#checkRecord(undefined);
  }

  #replay({ message, finish, usage, trailing, calls }: RecordedStep, options: AskModelOptions): Reply {
    const { draft, text } = this.#deps;
    text.confirm();
    this.#lastFinish = finish;
    draft.assistant(message);
    checkAnswer({ message, finish });
    for (const [id, { result }] of calls) if (result) draft.tool(id, result.content);
    for (const [index, call] of (message.tool_calls ?? []).entries()) {
      options.onCall?.(parseCall(call, index, userTextKey(options, call.function.name), finish));
    }
    return { message, finish, ...(usage ? { usage } : {}), ...(trailing ? { trailing } : {}) };
  }

  async #checkRecord(question: Question | undefined): Promise<void> {
    const { steps, journal, text, emitText, log } = this.#deps;
    const reason = steps.divergence(question);
    if (reason === undefined) return;
    const fromStep = steps.number + 1;
    const keep = steps.isReplaying ? (steps.current?.textEnd ?? 0) : text.length;
    log.warn('turn diverges from its record; the rest of the record is dropped', {
      fromStep,
      reason,
      // Their effects remain, but the model will not see their results.
      startedCalls: steps.remaining.flatMap(startedCallsOf),
    });
    steps.drop();
    const skipped = text.restart(keep);
    await journal.recordDropped({ fromStep, keep });
    for (const one of skipped) await emitText(one.text, one.source);
  }
}

/** A question of the runner. */
interface Asked {
  readonly options: AskModelOptions;
  readonly question: Question;
  readonly leftOut?: readonly number[] | undefined;
}

const withoutSystem = (messages: readonly ModelMessage[]): readonly ModelMessage[] =>
  messages[0]?.role === 'system' ? messages.slice(1) : messages;

/** Replaces `part` with `by`. Returns undefined if the messages do not contain it. */
function replacePart(
  messages: readonly ModelMessage[],
  part: readonly ModelMessage[],
  by: readonly ModelMessage[],
): readonly ModelMessage[] | undefined {
  const from = part.length > 0 ? messages.indexOf(part[0]!) : -1;
  if (from < 0 || !part.every((message, i) => messages[from + i] === message)) return undefined;
  return [...messages.slice(0, from), ...by, ...messages.slice(from + part.length)];
}

/** Calls `onToken` at the first text or call of a reply. */
function notifyOnce(options: AskModelOptions, onToken: () => void): AskModelOptions {
  const { onText, onCall } = options;
  let hasToken = false;
  const notify = (): void => {
    if (hasToken) return;
    hasToken = true;
    onToken();
  };
  return {
    ...options,
    onText(text) {
      notify();
      return onText?.(text);
    },
    onCall(call) {
      notify();
      onCall?.(call);
    },
  };
}

/** Passes the reasoning and the waits of a model call to `progress`, and the waits to its observer. */
const withProgress = (
  { onReasoning, onWait }: AskModelOptions,
  progress: ModelProgress | undefined,
  observed: ModelCallObservation,
) =>
  ({
    onReasoning(text) {
      progress?.reasoning(text);
      onReasoning?.(text);
    },
    onWait(wait) {
      progress?.waiting(wait);
      observed.waiting(wait);
      onWait?.(wait);
    },
  }) satisfies AskModelOptions;

/** Names of the functions whose calls were started in a recorded step. */
const startedCallsOf = ({ message, calls }: RecordedStep): string[] =>
  (message.tool_calls ?? []).filter(({ id }) => calls.has(id)).map((call) => call.function.name);
