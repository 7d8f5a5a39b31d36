// Writes the events of one turn to the journal of its conversation. `turn/journaled-model.ts`, `turn/journaled-tools.ts` and
// `turn/turn-text.ts` are the runner's side of it.
import { hash } from 'node:crypto';
import type { Clock } from '@fame-fabric/shared';
import type { Reply } from '../model/ask-model.ts';
import type { ModelMessage, Usage } from '../model/model.ts';
import type { EventBody, StoredState } from '../store/store.ts';
import type { CallResult } from '../tools/make-call.ts';
import type { ApprovalRequest } from '../turn/approval.ts';
import type { ModelJournal } from '../turn/journaled-model.ts';
import type { CallEntry, ToolJournal } from '../turn/journaled-tools.ts';
import type { Question } from '../turn/steps.ts';
import type { TextSource } from '../turn/turn.ts';
import type { TurnText } from '../turn/turn-text.ts';
import { BusyTime } from './busy-time.ts';
import type { Entry } from './journal/journal.ts';
import { type LiveTurn, TurnReleased } from './live-turn.ts';
import type { Conversation } from './loaded-conversation.ts';
import type { TurnQuota } from './quotas.ts';
import type { TurnAccount } from './turn-account.ts';

interface ModelCall {
  step: number;
  model: string;
  messages: readonly ModelMessage[];
  question: Question;
  leftOut?: readonly number[] | undefined;
}

type Body<K extends Entry['kind']> = Extract<Entry, { kind: K }>['body'];

export interface WriterDeps {
  conversation: Conversation;
  turn: LiveTurn;
  text: TurnText;
  account: TurnAccount;
  /** @default the principal has no limits */
  quota?: TurnQuota | undefined;
  clock: Clock;
}

export class TurnWriter implements ModelJournal, ToolJournal {
  readonly #deps: WriterDeps;
  readonly #turnId: string;
  readonly startedCalls: Set<string>;
  /** The model that was asked last; `null` if none was. */
  model: string | null;
  /** Time from the acceptance of the turn to its first text or call of a model, in ms. */
  firstTokenMs: number | undefined;
  /** True from the first token of the turn until its reply is recorded. */
  #isFirstToken = false;
  /** True once this process has asked a model. */
  #hasCalled = false;
  /** Figures of the model call in flight. */
  #call: { sentAt: number; writeMs: number; tokenMs?: number } | undefined;
  readonly #writing: BusyTime;
  /** Set once the turn has ended. Later entries of a runner that ignores its signal are refused. */
  #closed: { reason: unknown } | undefined;

  constructor(deps: WriterDeps) {
    this.#deps = deps;
    this.#turnId = deps.turn.id;
    const { recorded } = deps.turn;
    this.startedCalls = new Set(recorded?.startedCalls);
    this.model = recorded?.replies.at(-1)?.model ?? null;
    this.firstTokenMs = recorded?.firstTokenMs;
    this.#writing = new BusyTime(deps.clock);
  }

  /** Time during which at least one entry was not durable yet, in ms. Text does not count: the turn does not wait for it. */
  get journalMs(): number {
    return Math.round(this.#writing.totalMs);
  }

  /** Charges a model call that failed, if one was in flight. */
  chargeFailedCall(): void {
    const { account, quota, text } = this.#deps;
    const hasAnswer = text.length > text.replyEnd;
    account.chargeFailedCall({ hasAnswer });
    // If the store fails, the reservation stays until the end of its period.
    quota?.settleFailed({ hasAnswer }).catch(() => {});
  }

  /** Refuses further entries of the runner. */
  close(reason: unknown): void {
    this.#closed ??= { reason };
  }

  /** Writes a `turn_resumed` entry after the death of an earlier process. */
  async resumed(attempt: number): Promise<void> {
    const { conversation, text } = this.#deps;
    const keep = text.length;
    await this.#write({ kind: 'turn_resumed', body: { attempt, keep } }, { ...conversation.totals });
  }

  recordDropped({ fromStep, keep }: { fromStep: number; keep: number }): Promise<unknown> {
    this.#checkOpen();
    this.#deps.turn.approvals.drop(fromStep);
    const body = { attempt: 0, keep, from_step: fromStep };
    return this.#write({ kind: 'turn_resumed', body });
  }

  modelCalled(call: ModelCall): Promise<unknown> {
    this.#checkOpen();
    // A runner may ask again after a model call that failed.
    this.chargeFailedCall();
    const { quota } = this.#deps;
    return quota ? this.#callWithin(quota, call) : this.#recordCall(call);
  }

  async #callWithin(quota: TurnQuota, call: ModelCall): Promise<unknown> {
    await quota.reserve(call.model, call.messages);
    try {
      this.#checkOpen();
      return await this.#recordCall(call);
    } catch (error) {
      await quota.settleFailed({ hasAnswer: false });
      throw error;
    }
  }

  /** @throws {BUDGET_EXCEEDED} */
  #recordCall({ step, model, messages, question, leftOut }: ModelCall): Promise<unknown> {
    const { account, clock, conversation, turn } = this.#deps;
    const reserved = account.reserve(model, messages);
    this.model = model;
    const body: Body<'model_called'> = {
      step,
      model,
      messages: messages.length,
      digest: hash('sha256', JSON.stringify(messages)),
      ...(question.scope === '' ? {} : { scope: question.scope }),
      turn_digest: question.digest,
      reserved,
      ...(leftOut ? { left_out: leftOut } : {}),
      ...(this.#hasCalled || turn.waitedMs === undefined ? {} : { waited_ms: turn.waitedMs }),
    };
    this.#hasCalled = true;
    this.#call = undefined;
    const from = clock.monotonic();
    const written = this.#write({ kind: 'model_called', body }, { ...conversation.totals });
    const onWritten = (): void => {
      const sentAt = clock.monotonic();
      this.#call = { sentAt, writeMs: Math.round(sentAt - from) };
    };
    written.then(onWritten, () => {}); // the caller receives the failure
    return written;
  }

  modelReplied(replied: {
    step: number;
    model: string;
    usage: Usage | undefined;
    reply: Reply;
  }): Promise<unknown> {
    this.#checkOpen();
    const { step, model, usage, reply } = replied;
    const { account, conversation, quota, text } = this.#deps;
    const cost = account.chargeAnswered(model, usage);
    // If the store fails, the reservation stays until the end of its period.
    quota?.settle(model, usage).catch(() => {});
    const { message, finish, trailing } = reply;
    const body: Body<'model_replied'> = {
      step,
      model,
      message,
      finish,
      usage: usage ?? null,
      cost,
      ...(this.#isFirstToken ? { first_token_ms: this.firstTokenMs } : {}),
      ...(this.#call ? { token_ms: this.#call.tokenMs, journal_ms: this.#call.writeMs } : {}),
      ...(trailing ? { trailing: Object.fromEntries(trailing) } : {}),
    };
    const written = this.#write({ kind: 'model_replied', body }, { ...conversation.totals });
    text.endReply();
    this.#isFirstToken = false;
    return written;
  }

  tokenReceived(): void {
    const { clock, turn } = this.#deps;
    const now = clock.monotonic();
    if (this.#call) this.#call.tokenMs ??= Math.round(now - this.#call.sentAt);
    if (this.firstTokenMs !== undefined) return;
    this.firstTokenMs = Math.round(now - turn.acceptedAt);
    this.#isFirstToken = true;
  }

  toolStarted(call: CallEntry, args: Readonly<Record<string, unknown>> | undefined): Promise<unknown> {
    this.#checkOpen();
    this.startedCalls.add(call.callId);
    return this.#write({ kind: 'tool_started', body: { ...bodyOf(call), ...(args ? { args } : {}) } });
  }

  toolFinished(call: CallEntry, { ok, content }: CallResult): Promise<unknown> {
    this.#checkOpen();
    return this.#write({ kind: 'tool_finished', body: { ...bodyOf(call), ok, content } });
  }

  approvalRequested({ id, kind, name, args, step, index }: ApprovalRequest): Promise<unknown> {
    this.#checkOpen();
    this.#deps.turn.approvals.add({ id, kind, name, args, step, index });
    const body = { call_id: id, name, kind, ...(args ? { args } : {}), step, index };
    return this.#write({ kind: 'approval_requested', body }, undefined, 'input-required');
  }

  /** Emits text of the runner. Returns a promise only if the store is so far behind that the model must wait. */
  emitText(text: string, source: TextSource): Promise<void> | undefined {
    this.#checkOpen();
    const { conversation, text: turnText } = this.#deps;
    let written: Promise<void> | undefined;
    for (const piece of turnText.add(text, source)) {
      written = conversation.journal.addText(this.#turnId, piece) ?? written;
    }
    return written;
  }

  #write(
    entry: { [K in Entry['kind']]: { kind: K; body: Body<K> } }[Entry['kind']],
    totals?: EventBody,
    state?: StoredState,
  ): Promise<unknown> {
    const { journal } = this.#deps.conversation;
    return this.#writing.during(
      journal.append([{ ...entry, turnId: this.#turnId } as Entry], { totals, state }),
    );
  }

  #checkOpen(): void {
    if (this.#closed) throw this.#closed.reason;
    // Another process continues the turn, so no entry of this one may reach the journal.
    const { signal } = this.#deps.turn;
    if (signal.reason instanceof TurnReleased) throw signal.reason;
  }
}

const bodyOf = ({ step, index, callId, name }: CallEntry) => ({ call_id: callId, name, step, index });
