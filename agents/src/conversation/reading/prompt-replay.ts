// Rebuilds the messages of a model call from the journal. The runner runs once more with the record of the turn up to that call:
// replies and results come from the record, and the call itself ends the replay. Nothing is executed or written.
import { hash } from 'node:crypto';
import { FabricError, silentLog } from '@fame-fabric/shared';
import { untilAborted } from '@fame-fabric/shared/internal';
import { refusingLink } from '../../agent/scoped-link.ts';
import type { ModelMessage } from '../../model/model.ts';
import type { JournalEvent } from '../../store/store.ts';
import type { Approver } from '../../turn/approval.ts';
import { JournaledModel, type ModelJournal } from '../../turn/journaled-model.ts';
import { JournaledTools, type ToolJournal } from '../../turn/journaled-tools.ts';
import { MAX_ANSWER_BYTES, newestThatFit } from '../../turn/newest-that-fit.ts';
import { Steps } from '../../turn/steps.ts';
import type { TurnContext, TurnRunner } from '../../turn/turn.ts';
import { withModel } from '../../turn/turn-options.ts';
import { TurnText } from '../../turn/turn-text.ts';
import { acceptedOf, optionsOfStart, runnerStateOf } from '../journal/journal.ts';
import { recordedTurn } from '../journal/recorded-turn.ts';
import { historyOf } from '../loaded-conversation.ts';
import { stepsOf } from './turn-report.ts';

/** Messages of a model call, on the wire. */
export interface PromptReport {
  /** Null if the runner does not reach the call: the agent has changed since. */
  messages: readonly ModelMessage[] | null;
  /** SHA-256 of the messages as JSON, in hex, recorded when the model was called. */
  digest: string;
  /** True if the rebuilt messages have that digest. */
  verified: boolean;
  /** Number of messages that are left out after the system message, because the answer would not fit one envelope. */
  left_out?: number;
}

/** A turn in the journal, with the start and the history of its conversation. */
export interface JournaledTurn {
  readonly conversationId: string;
  readonly started: JournalEvent;
  /** The history when the turn called its first model. */
  readonly history: readonly (readonly JournalEvent[])[];
  /** All events of the turn. */
  readonly events: readonly JournalEvent[];
}

export interface ReplayOptions {
  runner: TurnRunner;
  maxWindowTokens: number | undefined;
  signal: AbortSignal;
}

/** Rebuilds the messages of one step. @throws {PARAMS_INVALID} with the number of steps if the turn has no such step */
export async function promptOf(
  turn: JournaledTurn,
  step: number,
  options: ReplayOptions,
): Promise<PromptReport> {
  const steps = stepsOf(turn.events);
  const asked = steps.find((one) => one.step === step);
  if (!asked) {
    const count = steps.length === 1 ? '1 step' : `${steps.length} steps`;
    throw new FabricError('PARAMS_INVALID', `step: The turn has ${count}, and no step ${step}.`, {
      details: { steps: steps.length },
    });
  }
  const { digest } = asked;
  const messages = await replay(turn, step, options);
  if (!messages) return { messages: null, digest, verified: false };
  const verified = hash('sha256', JSON.stringify(messages)) === digest;
  return { ...cut(messages), digest, verified };
}

/** Runs the runner until it asks at `step`. Resolves with the messages; `undefined` if it does not ask there. */
async function replay(
  { conversationId, started, history, events }: JournaledTurn,
  step: number,
  { runner, maxWindowTokens, signal }: ReplayOptions,
): Promise<readonly ModelMessage[] | undefined> {
  const stop = new AbortController();
  const recorded = recordedTurn(events);
  // The digest decides whether the replay is right, so questions are not compared on the way.
  const before = recorded.steps.slice(0, step - 1).map((one) => ({ ...one, question: undefined }));
  const { user_message: userMessage, options = {}, tool_results: results } = acceptedOf(events);
  const settings = optionsOfStart(started);
  const turnId = events[0]!.turnId!;
  const steps = new Steps(turnId, before);
  const text = new TurnText(steps, recorded.text.slice(0, before.at(-1)?.textEnd ?? 0));
  const past = historyOf(started, history, maxWindowTokens);
  past.leaveOut(recorded.leftOut);
  const draft = past.begin(userMessage, results, { options });
  const journal = new ReplayJournal(stop);
  const emitText: TurnContext['emitText'] = (more, source) => {
    stop.signal.throwIfAborted();
    text.add(more, source);
    return undefined;
  };
  const parts = { steps, journal, draft, emitText };
  const context: TurnContext = {
    conversationId,
    turnId,
    userMessage,
    messages: draft.request(),
    state: runnerStateOf(started, history),
    options: withModel(options, settings.model),
    acceptedAt: events[0]!.at,
    payload: settings.payload ?? {},
    signal: stop.signal,
    ask: new JournaledModel({ ...parts, text, log: silentLog }).ask,
    makeCall: new JournaledTools({ ...parts, approver: approverOf(journal) }).makeCall,
    emitText,
    assertLive: () => journal.refuse(),
    link: refusingLink(() => journal.end()),
    get text() {
      return text.value;
    },
  };
  try {
    // A runner that ends, or fails, has not asked.
    const ended = (async () => runner.run(context))().then(
      () => undefined,
      () => undefined,
    );
    return await untilAborted(Promise.race([journal.asked, ended]), signal);
  } finally {
    stop.abort(new ReplayEnded());
  }
}

/** Ends a replay. */
class ReplayEnded extends Error {
  override readonly name = 'ReplayEnded';
}

/** Takes the first request that is not in the record, and refuses every other entry. */
class ReplayJournal implements ModelJournal, ToolJournal {
  readonly #stop: AbortController;
  readonly #asked = Promise.withResolvers<readonly ModelMessage[]>();

  constructor(stop: AbortController) {
    this.#stop = stop;
  }

  /** The messages of the request. */
  get asked(): Promise<readonly ModelMessage[]> {
    return this.#asked.promise;
  }

  async modelCalled({ messages }: { messages: readonly ModelMessage[] }): Promise<never> {
    if (!this.#stop.signal.aborted) this.#asked.resolve(structuredClone(messages));
    return this.refuse();
  }

  modelReplied = async (): Promise<never> => this.refuse();
  tokenReceived = (): never => this.refuse();
  recordDropped = async (): Promise<never> => this.refuse();
  toolStarted = async (): Promise<never> => this.refuse();
  toolFinished = async (): Promise<never> => this.refuse();

  refuse(): never {
    throw this.end();
  }

  /** Stops the replay. Returns the error for its runner. */
  end(): ReplayEnded {
    const ended = new ReplayEnded();
    this.#stop.abort(ended);
    return ended;
  }
}

/** A call without a result ends the replay, so no person is asked to approve it. */
const approverOf = (journal: ReplayJournal): Approver => ({
  hasAsked: () => false,
  decide: async () => journal.refuse(),
  running: (work) => work(),
});

/** Leaves out the oldest messages after the system message, as far as needed. */
function cut(messages: readonly ModelMessage[]): Pick<PromptReport, 'messages' | 'left_out'> {
  const systemCount = messages.findIndex(({ role }) => role !== 'system');
  const head = systemCount < 0 ? messages : messages.slice(0, systemCount);
  const rest = messages.slice(head.length);
  const kept = newestThatFit(rest, MAX_ANSWER_BYTES - Buffer.byteLength(JSON.stringify(head)));
  const leftOut = rest.length - kept.length;
  return leftOut === 0 ? { messages } : { messages: [...head, ...kept], left_out: leftOut };
}
