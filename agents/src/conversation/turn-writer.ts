// Writes the events of one turn to the journal of its conversation and publishes them to followers once they are durable. Batches
// streamed text. `turn/journaled-model.ts`, `turn/journaled-tools.ts` and `turn/turn-text.ts` are the runner's side of it.
import { hash } from 'node:crypto';
import type { Clock, Timer } from '@fame-fabric/shared';
import type { Reply } from '../model/ask-model.ts';
import type { ModelMessage, Usage } from '../model/model.ts';
import type { EventBody } from '../store/store.ts';
import type { CallResult } from '../tools/make-call.ts';
import type { ModelJournal } from '../turn/journaled-model.ts';
import type { CallEntry, ToolJournal } from '../turn/journaled-tools.ts';
import type { Question } from '../turn/steps.ts';
import type { TextPiece, TurnText } from '../turn/turn-text.ts';
import { CONVERSATION_LIMITS, type ConversationEvent } from './conversation.ts';
import type { Entry } from './journal.ts';
import { type LiveTurn, TurnReleased } from './live-turn.ts';
import type { Conversation } from './loaded-conversation.ts';
import type { TurnAccount } from './turn-account.ts';

/** Longest wait of streamed text for its write, in ms. */
const TEXT_MS = 50;
/** Unwritten characters that cause a write at once. */
/** Unwritten characters that cause a write at once. */
const TEXT_CHARS = 1_024;
/** Characters in writes that are not durable yet, beyond which the model has to wait. */
const MAX_UNDURABLE_CHARS = 32_768;

type Body<K extends Entry['kind']> = Extract<Entry, { kind: K }>['body'];

export interface WriterDeps {
  conversation: Conversation;
  turn: LiveTurn;
  text: TurnText;
  account: TurnAccount;
  clock: Clock;
}

export class TurnWriter implements ModelJournal, ToolJournal {
  readonly #deps: WriterDeps;
  readonly #turnId: string;
  /** Characters that were handed to the store and are not durable yet. */
  #undurable = 0;
  #lastWriteAt = Number.NEGATIVE_INFINITY;
  #flushTimer: Timer | undefined;
  readonly startedCalls: Set<string>;
  /** The model that was asked last; `null` if none was. */
  model: string | null;
  /** From the acceptance of the turn to its first text or call of a model, in ms. */
  firstTokenMs: number | undefined;
  /** True from the first token of the turn until its reply is recorded. */
  #isFirstToken = false;
  /** Set once the turn has ended. Later entries of a runner that ignores its signal are refused. */
  #closed: { reason: unknown } | undefined;

  constructor(deps: WriterDeps) {
    this.#deps = deps;
    this.#turnId = deps.turn.id;
    const { recorded } = deps.turn;
    this.startedCalls = new Set(recorded?.startedCalls);
    this.model = recorded?.replies.at(-1)?.model ?? null;
    this.firstTokenMs = recorded?.firstTokenMs;
  }

  /** Charges a model call that failed, if one was in flight. */
  chargeFailedCall(): void {
    const { account, text } = this.#deps;
    account.chargeFailedCall({ hasAnswer: text.length > text.replyEnd });
  }

  /** Refuses further entries of the runner. */
  close(reason: unknown): void {
    this.#closed ??= { reason };
    this.#flushTimer?.stop();
  }

  /** Writes a `turn_resumed` entry after the death of an earlier process. */
  async resumed(attempt: number): Promise<void> {
    const { conversation, text } = this.#deps;
    const keep = text.length;
    await this.#write({ kind: 'turn_resumed', body: { attempt, keep } }, this.#restart(keep), {
      ...conversation.totals,
    });
  }

  recordDropped({ fromStep, keep }: { fromStep: number; keep: number }): Promise<void> {
    this.#checkOpen();
    const body = { attempt: 0, keep, from_step: fromStep };
    return this.#write({ kind: 'turn_resumed', body }, this.#restart(keep));
  }

  modelCalled(call: {
    step: number;
    model: string;
    messages: readonly ModelMessage[];
    question: Question;
  }): Promise<void> {
    this.#checkOpen();
    const { step, model, messages, question } = call;
    const { account, conversation } = this.#deps;
    // A runner may ask again after a model call that failed.
    this.chargeFailedCall();
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
    };
    return this.#write({ kind: 'model_called', body }, undefined, { ...conversation.totals });
  }

  modelReplied(replied: {
    step: number;
    model: string;
    usage: Usage | undefined;
    reply: Reply;
  }): Promise<void> {
    this.#checkOpen();
    const { step, model, usage, reply } = replied;
    const { account, conversation, text } = this.#deps;
    const cost = account.chargeAnswered(model, usage);
    const { message, finish, trailing } = reply;
    const body: Body<'model_replied'> = {
      step,
      model,
      message,
      finish,
      usage: usage ?? null,
      cost,
      ...(this.#isFirstToken ? { first_token_ms: this.firstTokenMs } : {}),
      ...(trailing ? { trailing: Object.fromEntries(trailing) } : {}),
    };
    const written = this.#write({ kind: 'model_replied', body }, undefined, { ...conversation.totals });
    text.endReply();
    this.#isFirstToken = false;
    return written;
  }

  tokenReceived(): void {
    if (this.firstTokenMs !== undefined) return;
    const { clock, turn } = this.#deps;
    this.firstTokenMs = Math.round(clock.monotonic() - turn.acceptedAt);
    this.#isFirstToken = true;
  }

  toolStarted(call: CallEntry, args: Readonly<Record<string, unknown>> | undefined): Promise<void> {
    this.#checkOpen();
    this.startedCalls.add(call.callId);
    const shown = args ? { args } : {};
    const { callId: id, name } = call;
    return this.#write({ kind: 'tool_started', body: { ...bodyOf(call), ...shown } }, (seq) => ({
      type: 'tool_call',
      seq,
      turn_id: this.#turnId,
      id,
      name,
      ...shown,
    }));
  }

  toolFinished(call: CallEntry, { ok, content }: CallResult): Promise<void> {
    this.#checkOpen();
    const { callId: id, name } = call;
    return this.#write({ kind: 'tool_finished', body: { ...bodyOf(call), ok, content } }, (seq) => ({
      type: 'tool_result',
      seq,
      turn_id: this.#turnId,
      id,
      name,
      ok,
    }));
  }

  /** Schedules the write of added text. Returns a promise only if the store is so far behind that the model must wait. */
  textAdded(): Promise<void> | undefined {
    this.#checkOpen();
    const now = this.#deps.clock.monotonic();
    if (this.#deps.text.unwrittenChars >= TEXT_CHARS || now - this.#lastWriteAt >= TEXT_MS) {
      const written = this.#write();
      // A failure stops the journal, and with it the next entry that is awaited. A caller may await this promise late or not at all.
      written.catch(() => undefined);
      if (this.#undurable > MAX_UNDURABLE_CHARS) return written;
    } else {
      this.#flushTimer ??= this.#deps.clock.after(TEXT_MS - (now - this.#lastWriteAt), () => {
        this.#flushTimer = undefined;
        if (!this.#closed) this.#write().catch(() => undefined);
      });
    }
    return undefined;
  }

  /** Writes the pending text. It belongs to the turn, even if the turn has failed. */
  flush(): Promise<void> {
    return this.#write();
  }

  /** Writes the pending text and `entry` in one append, and publishes both once they are durable. */
  async #write(
    entry?: { [K in Entry['kind']]: { kind: K; body: Body<K> } }[Entry['kind']],
    eventAt?: (seq: number) => ConversationEvent,
    totals?: EventBody,
  ): Promise<void> {
    const { conversation, turn, text, clock } = this.#deps;
    const turnId = this.#turnId;
    const pieces = text.takeUnwritten(CONVERSATION_LIMITS.maxTextEventChars);
    const entries: Entry[] = pieces.map((piece) => ({ kind: 'text', turnId, body: textBody(piece) }));
    if (entry) entries.push({ ...entry, turnId } as Entry);
    if (entries.length === 0) return;
    let chars = 0;
    for (const piece of pieces) chars += piece.text.length;
    if (chars > 0) {
      this.#lastWriteAt = clock.monotonic();
      this.#flushTimer?.stop();
      this.#flushTimer = undefined;
    }
    this.#undurable += chars;
    const seq = await conversation.journal.append(entries, { totals });
    this.#undurable -= chars;
    for (const [i, piece] of pieces.entries()) {
      turn.publish({ type: 'text', seq: seq + i, turn_id: turnId, text: piece.text });
    }
    if (eventAt) turn.publish(eventAt(seq + pieces.length));
  }

  #restart(keep: number): (seq: number) => ConversationEvent {
    return (seq) => ({ type: 'restart', seq, turn_id: this.#turnId, keep });
  }

  #checkOpen(): void {
    if (this.#closed) throw this.#closed.reason;
    // Another process continues the turn, so no entry of this one may reach the journal.
    const { signal } = this.#deps.turn;
    if (signal.reason instanceof TurnReleased) throw signal.reason;
  }
}

const bodyOf = ({ step, index, callId, name }: CallEntry) => ({ call_id: callId, name, step, index });

const textBody = ({ text, offset, source }: TextPiece): Body<'text'> =>
  source.from === 'tool'
    ? { text, offset, from: source.from, step: source.step, index: source.index }
    : { text, offset, from: source.from };
