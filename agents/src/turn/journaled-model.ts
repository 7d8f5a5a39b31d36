// Asks models through the journal of a turn. A recorded reply comes back without a request, a budget check or a reservation.
// A new request is recorded before it is sent, and its reply before the runner receives it. If a question differs from the recorded
// one, the rest of the record is dropped and the turn continues with live requests.
import type { Logger } from '@fame-fabric/shared';
import { type AskModel, type AskModelOptions, askModel, type Reply } from '../model/ask-model.ts';
import type { FinishReason, ModelMessage, Usage } from '../model/model.ts';
import { parseCall } from '../model/stream/parse-arguments.ts';
import type { TurnDraft } from './history.ts';
import { callId, type Question, questionOf, type RecordedStep, type Steps } from './steps.ts';
import type { RunnerActions } from './turn.ts';
import type { TurnText } from './turn-text.ts';

/** Where the model calls of a turn are recorded. Each method resolves when its entry is durable. */
export interface ModelJournal {
  /** Also reserves the cost of the call. @throws {BUDGET_EXCEEDED} */
  modelCalled(call: {
    step: number;
    model: string;
    messages: readonly ModelMessage[];
    question: Question;
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

export interface JournaledModelDeps {
  steps: Steps;
  journal: ModelJournal;
  draft: TurnDraft;
  text: TurnText;
  emitText: RunnerActions['emitText'];
  log: Logger;
}

export class JournaledModel {
  readonly #deps: JournaledModelDeps;
  #lastFinish: FinishReason | undefined;

  constructor(deps: JournaledModelDeps) {
    this.#deps = deps;
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

    const step = steps.number;
    const replied = Promise.withResolvers<void>();
    steps.awaitReply(replied.promise);
    try {
      options.check?.();
      const name = request.model ?? model.name;
      await journal.modelCalled({ step, model: name, messages: request.messages, question });
      options.signal?.throwIfAborted();
      const reply = await askModel(model, request, {
        ...notifyOnce(options, () => journal.tokenReceived()),
        check: undefined,
        callId: (index) => callId(steps.turnId, step, index),
      });
      draft.assistant(reply.message);
      this.#lastFinish = reply.finish;
      const written = journal.modelReplied({ step, model: name, usage: reply.usage, reply });
      // A reply without calls is written together with the end of the turn, which follows at once.
      if (reply.message.tool_calls?.length) await written;
      else written.catch(() => {});
      replied.resolve();
      return reply;
    } catch (error) {
      steps.retreat();
      replied.reject(error);
      throw error;
    }
  };

  /** Call it when the runner has finished. Drops recorded steps that the runner did not reach. */
  finish(): Promise<void> {
    return this.#checkRecord(undefined);
  }

  #replay({ message, finish, usage, trailing, calls }: RecordedStep, options: AskModelOptions): Reply {
    const { draft, text } = this.#deps;
    text.confirm();
    this.#lastFinish = finish;
    draft.assistant(message);
    for (const [id, { result }] of calls) if (result) draft.tool(id, result.content);
    for (const [index, call] of (message.tool_calls ?? []).entries()) {
      options.onCall?.(parseCall(call, index, options.toUserKey));
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

/** Names of the functions whose calls were started in a recorded step. */
const startedCallsOf = ({ message, calls }: RecordedStep): string[] =>
  (message.tool_calls ?? []).filter(({ id }) => calls.has(id)).map((call) => call.function.name);
