// Runs one turn from start to end: gives the runner its context, enforces the deadline, and settles the outcome. If the outcome
// cannot be written, the turn stays open in the journal, and the next process that loads the conversation continues it.
import { type Clock, FabricError, isFabricError, type Logger, newId } from '@fame-fabric/shared';
import { timeText } from '@fame-fabric/shared/internal';
import { withLogFields } from '@fame-fabric/shared/node';
import type { Outbound } from '../agent/operation.ts';
import { ScopedLink } from '../agent/scoped-link.ts';
import type { ModelMessage } from '../model/model.ts';
import type { FailedTurnRule, TurnDraft } from '../turn/history.ts';
import { JournaledModel } from '../turn/journaled-model.ts';
import { JournaledTools } from '../turn/journaled-tools.ts';
import { checkOptions, NO_OPTIONS } from '../turn/option-bounds.ts';
import { Steps } from '../turn/steps.ts';
import type { TurnContext, TurnResult, TurnRunner } from '../turn/turn.ts';
import { finishOf, withModel } from '../turn/turn-options.ts';
import { TurnText } from '../turn/turn-text.ts';
import { TurnApprover } from './approval/approver.ts';
import { BudgetQuestions } from './approval/budget-questions.ts';
import { CONVERSATION_LIMITS, faultOf, type TurnFigures, type TurnOutcome } from './conversation.ts';
import type { Entry } from './journal/journal.ts';
import { addSteps } from './journal/recorded-turn.ts';
import { type LiveTurn, TurnReleased } from './live-turn.ts';
import type { Conversation } from './loaded-conversation.ts';
import type { PrincipalQuotas } from './quotas.ts';
import type { ConversationBudget } from './spending.ts';
import { TurnAccount } from './turn-account.ts';
import { TurnDeadline } from './turn-deadline.ts';
import { TurnWriter } from './turn-writer.ts';

/** Number of the resume without progress at which a turn fails. So a step asks its model three times at most. */
const MAX_RESUMES = 3;

export interface RunDeps {
  runner: TurnRunner;
  /** Link of the agent. */
  link: Outbound;
  budget: ConversationBudget;
  quotas: PrincipalQuotas;
  clock: Clock;
  log: Logger;
}
export interface RunOptions {
  turnTimeoutMs: number;
  graceMs: number;
  failedTurns: FailedTurnRule;
  /** True if no other turn of the conversation is open. */
  isLast(): boolean;
  /** Called when the turn waits for a person, with nothing else to do. */
  onIdle(): void;
  /** Called before an idle turn continues. Resolves when it may. */
  onBusy(): Promise<void>;
}

/** Fields of the last entry that all outcomes share. */
interface EndOfTurn {
  in_history: boolean;
  waited_ms?: number;
  journal_ms: number;
  lead?: readonly ModelMessage[];
  state?: unknown;
}

export class TurnRun {
  readonly #deps: RunDeps;
  readonly #options: RunOptions;
  readonly #conversation: Conversation;
  readonly #turn: LiveTurn;
  readonly #draft: TurnDraft;
  readonly #steps: Steps;
  readonly #text: TurnText;
  readonly #account: TurnAccount;
  readonly #writer: TurnWriter;
  readonly #deadline: TurnDeadline;
  readonly #approver: TurnApprover;

  constructor(deps: RunDeps, conversation: Conversation, turn: LiveTurn, options: RunOptions) {
    this.#deps = deps;
    this.#options = options;
    this.#conversation = conversation;
    this.#turn = turn;
    const { recorded } = turn;
    if (recorded) conversation.history.leaveOut(recorded.leftOut);
    this.#draft = conversation.history.begin(turn.userMessage, turn.toolResults, {
      options: turn.options,
    });
    this.#steps = new Steps(turn.id, recorded?.steps);
    this.#text = new TurnText(this.#steps, recorded?.text, CONVERSATION_LIMITS.maxTurnChars);
    const { budget, clock, quotas } = deps;
    this.#account = new TurnAccount(budget, conversation.totals, turn);
    const quota = quotas.ofTurn(turn.principal ?? conversation.principal, turn.limits);
    const text = this.#text;
    this.#writer = new TurnWriter({ conversation, turn, text, account: this.#account, quota, clock });
    this.#deadline = new TurnDeadline(turn, clock, options.turnTimeoutMs);
    this.#approver = new TurnApprover({
      turn,
      ask: (request) => this.#writer.approvalRequested(request),
      onIdle: () => {
        this.#deadline.stop();
        options.onIdle();
      },
      onBusy: async () => {
        await options.onBusy();
        this.#deadline.renew();
      },
    });
  }

  /** Never rejects. */
  run(): Promise<void> {
    return withLogFields(this.#ids, () => this.#run());
  }

  /** Fields of log lines. Loggers of other makers do not know those of `withLogFields`. */
  get #ids() {
    return { conversation_id: this.#conversation.publicId, turn_id: this.#turn.id };
  }

  async #run(): Promise<void> {
    const { clock } = this.#deps;
    const turn = this.#turn;
    turn.observation.started();
    const timeout = (): void =>
      turn.abort(
        new FabricError('TURN_TIMEOUT', `The turn ran longer than ${timeText(this.#options.turnTimeoutMs)}.`),
      );
    this.#deadline.start(timeout);
    try {
      await this.#extend();
      this.#account.chargeLostCalls();
      // First of all, because callers may have seen text that the journal does not have.
      await this.#resume();
      if (turn.deadline <= clock.monotonic()) timeout();
      turn.signal.throwIfAborted();
      if (this.#draft.fault) throw this.#draft.fault;
      const result = await this.#orAborted(turn.observation.run(() => this.#drive()));
      await this.#complete(result);
    } catch (caught) {
      this.#writer.close(caught);
      await this.#fail(this.#errorOf(caught));
    } finally {
      this.#deadline.stop();
      if (turn.approvals.size > 0) this.#conversation.askedUntil = clock.monotonic();
    }
  }

  /** Gives the turn its whole time limit if it waited behind a turn that asked a person. */
  async #extend(): Promise<void> {
    const turn = this.#turn;
    const { clock } = this.#deps;
    const { askedUntil, journal } = this.#conversation;
    const isFirstRun = !turn.hasBegun;
    turn.hasBegun = true;
    if (isFirstRun) turn.waitedMs = Math.round(clock.monotonic() - turn.acceptedAt);
    if (!isFirstRun || askedUntil <= turn.acceptedAt || turn.signal.aborted) return;
    this.#deadline.renew();
    await journal.append([{ kind: 'turn_extended', turnId: turn.id, body: {} }]);
  }

  async #resume(): Promise<void> {
    const { recorded, signal } = this.#turn;
    if (!recorded || signal.reason instanceof TurnReleased) return;
    const attempt = recorded.fruitlessResumes + 1;
    await this.#writer.resumed(attempt);
    if (attempt >= MAX_RESUMES) {
      throw new FabricError(
        'TURN_CRASH_LOOP',
        `The turn was interrupted ${MAX_RESUMES} times in a row without progress, so it is not resumed again. Look for crashes in the log of the agent.`,
      );
    }
    if (signal.aborted) return;
    this.#deps.log.info('turn resumed', {
      ...this.#ids,
      attempt,
      steps: recorded.steps.length,
    });
  }

  async #drive(): Promise<TurnResult> {
    const { id: conversationId, runnerState: state, options: settings } = this.#conversation;
    const { id: turnId, userMessage, signal } = this.#turn;
    const options = withModel(this.#turn.options, settings.model);
    const text = this.#text;
    const writer = this.#writer;
    const log = this.#deps.log.with(this.#ids);
    checkOptions(options, this.#deps.runner.accepts ?? NO_OPTIONS);
    const emitText: TurnContext['emitText'] = (more, source) => writer.emitText(more, source);
    const { observation } = this.#turn;
    const parts = { steps: this.#steps, journal: writer, draft: this.#draft, emitText, observation };
    const approver = this.#approver;
    const journal =
      settings.onBudget === 'ask' ? new BudgetQuestions({ journal: writer, approver, turnId }) : writer;
    const model = new JournaledModel({
      ...parts,
      journal,
      text,
      log,
      progress: this.#turn.progress,
      mayReduce: this.#conversation.wasRefused && this.#turn.options.truncation !== 'disabled',
    });
    const tools = new JournaledTools({ ...parts, approver });
    const result = await this.#deps.runner.run({
      conversationId,
      turnId,
      userMessage,
      messages: this.#draft.request(),
      state,
      options,
      acceptedAt: this.#turn.date,
      payload: settings.payload ?? {},
      signal,
      ask: model.ask,
      makeCall: tools.makeCall,
      emitText,
      assertLive() {},
      link: this.#link(),
      get text() {
        return text.value;
      },
    });
    await model.finish();
    const finish = result.finish ?? finishOf(model.lastFinish);
    return { ...result, finish: finish === 'stop' && text.isCut ? 'length' : finish };
  }

  #link(): Outbound {
    const { link, clock } = this.#deps;
    const turn = this.#turn;
    const { ttl, traceId, signal } = turn;
    return new ScopedLink(link, { ttl, traceId, signal, leftMs: () => turn.deadline - clock.monotonic() });
  }

  async #complete(result: TurnResult): Promise<void> {
    const { usage, model, finish = 'stop', toolCalls, ignored, state, taskState } = result;
    this.#writer.close(new Error('The turn has ended.'));
    const text = this.#text.value;
    const messages = result.messages ?? this.#messagesWithoutReply(text);
    const openCalls = toolCalls?.map(({ id }) => id);
    this.#draft.commit(messages, openCalls);
    this.#conversation.wasRefused = false;
    const figures = {
      ...this.#figures(),
      usage,
      model,
      finish,
      ...(toolCalls ? { tool_calls: toolCalls } : {}),
      ...(ignored === undefined ? {} : { ignored }),
    };
    const outcome: TurnOutcome = { state: 'completed', text, ...figures };
    if (state !== undefined) this.#conversation.runnerState = state;
    await this.#settle(
      outcome,
      (end) => ({
        kind: 'turn_completed',
        turnId: this.#turn.id,
        body: { ...end, text, whole_chars: text.length, ...figures, ...(messages ? { messages } : {}) },
      }),
      true,
      taskState ?? 'working',
    );
  }

  // A runner that asked no model has no reply for the history, only its text.
  #messagesWithoutReply(text: string): readonly ModelMessage[] | undefined {
    const { messages } = this.#draft;
    return messages.length > 1 || text === ''
      ? undefined
      : [...messages, { role: 'assistant', content: text }];
  }

  async #fail(error: FabricError): Promise<void> {
    if (error instanceof TurnReleased || this.#conversation.journal.failure !== undefined) {
      this.#release(error);
      return;
    }
    this.#writer.chargeFailedCall();
    // The history must have the recorded steps that the runner did not reach.
    addSteps(this.#draft, this.#steps.remaining);
    const { value: text, replyEnd } = this.#text;
    const figures = this.#figures();
    const { startedCalls } = this.#writer;
    const inHistory = this.#draft.interrupt(text.slice(replyEnd), startedCalls, this.#options.failedTurns);
    const state = error.code === 'TURN_CANCELLED' ? 'cancelled' : 'failed';
    const fault = faultOf(error);
    if (state === 'failed') this.#conversation.wasRefused = error.code === 'MODEL_REFUSED';
    try {
      await this.#settle(
        { state, error: fault, text, ...figures },
        (end) => ({
          kind: state === 'cancelled' ? 'turn_cancelled' : 'turn_failed',
          turnId: this.#turn.id,
          body: { ...end, text, whole_chars: replyEnd, ...figures, error: fault },
        }),
        inHistory,
        // The kept turn has used up the results that it brought, so the caller owes none.
        inHistory && this.#turn.toolResults.length > 0 ? 'working' : undefined,
      );
    } catch (caught) {
      this.#release(isFabricError(caught) ? caught : error);
    }
  }

  #figures(): TurnFigures {
    const { usage, cost } = this.#account;
    const { model, firstTokenMs } = this.#writer;
    const duration = this.#deps.clock.monotonic() - this.#turn.acceptedAt;
    return { usage, cost, model, first_token_ms: firstTokenMs ?? null, duration_ms: Math.round(duration) };
  }

  async #settle(
    outcome: TurnOutcome,
    entryOf: (end: EndOfTurn) => Entry,
    inHistory: boolean,
    taskState?: 'working' | 'input-required' | 'completed',
  ): Promise<void> {
    const { runnerState, totals, journal } = this.#conversation;
    const { waitedMs } = this.#turn;
    const entry = entryOf({
      in_history: inHistory,
      ...(waitedMs === undefined ? {} : { waited_ms: waitedMs }),
      journal_ms: this.#writer.journalMs,
      ...(inHistory && this.#draft.lead.length > 0 ? { lead: this.#draft.lead } : {}),
      ...(runnerState === undefined ? {} : { state: runnerState }),
    });
    await journal.append([entry], {
      totals: { ...totals },
      release: this.#options.isLast(),
      // A turn that ends early while it waits for a person leaves no question.
      state: taskState ?? (this.#turn.approvals.pending.length > 0 ? 'working' : undefined),
    });
    if (taskState === 'completed') this.#conversation.phase = 'ended';
    this.#turn.end(outcome);
  }

  // The callers in this process have to ask again. The turn itself continues elsewhere.
  #release(reason: FabricError): void {
    // When several appends fail together, the first failure is the cause of the others.
    const { failure } = this.#conversation.journal;
    const error = isFabricError(failure) ? failure : reason;
    const outcome: TurnOutcome = {
      state: 'failed',
      error: faultOf(error),
      text: this.#text.value,
      ...this.#figures(),
    };
    this.#turn.release(outcome);
  }

  // A runner that ignores its signal has `graceMs` after an abort. Then the turn ends without it.
  #orAborted<T>(work: Promise<T>): Promise<T> {
    const { signal } = this.#turn;
    const { clock } = this.#deps;
    return new Promise((resolve, reject) => {
      let grace: { stop(): void } | undefined;
      const onAbort = (): void => {
        const wait = signal.reason instanceof TurnReleased ? 0 : this.#options.graceMs;
        if (wait === 0) reject(signal.reason);
        else grace = clock.after(wait, () => reject(signal.reason));
      };
      const done = (): void => {
        grace?.stop();
        signal.removeEventListener('abort', onAbort);
      };
      work.then(resolve, reject).finally(done);
      if (signal.aborted) onAbort();
      else signal.addEventListener('abort', onAbort, { once: true });
    });
  }

  #errorOf(caught: unknown): FabricError {
    const { reason } = this.#turn.signal;
    if (this.#turn.signal.aborted && isFabricError(reason)) return reason;
    if (isFabricError(caught)) return caught;
    const logId = newId();
    this.#deps.log.error('turn failed', {
      logId,
      ...this.#ids,
      error: caught,
    });
    return new FabricError('INTERNAL', `The turn failed. See log id ${logId} in the log of the agent.`);
  }
}
