// Writes what happens in one turn to the journal of its conversation, and shows it to followers once it is durable. Batches
// streamed text, and keeps the account of what model calls cost. The runner's side of it is `turn/journaled-model.ts`,
// `turn/journaled-tools.ts` and `turn/turn-text.ts`.
import { hash } from 'node:crypto';
import type { Clock, Timer } from '@fame-fabric/shared';
import type { Reply } from '../model/ask-model.ts';
import type { ModelMessage, Usage } from '../model/model.ts';
import { addUsage, noUsage } from '../model/usage.ts';
import type { EventBody } from '../store/store.ts';
import type { CallResult } from '../tools/make-call.ts';
import type { ModelJournal } from '../turn/journaled-model.ts';
import type { CallEntry, ToolJournal } from '../turn/journaled-tools.ts';
import type { Question } from '../turn/steps.ts';
import type { TextPiece, TurnText } from '../turn/turn-text.ts';
import { CONVERSATION_LIMITS, type ConversationEvent } from './conversation.ts';
import type { Entry } from './journal.ts';
import { type LiveTurn, TurnHandedOff } from './live-turn.ts';
import type { Conversation } from './loaded-conversation.ts';
import { addSpending, type ConversationBudget, noSpending, type Spending } from './spending.ts';

/** Text is written at least this often while it streams. */
const TEXT_MS = 50;
const TEXT_CHARS = 1_024;
/** Text on its way to the store beyond which the model has to wait. */
const MAX_UNDURABLE_CHARS = 32_768;

type Body<K extends Entry['kind']> = Extract<Entry, { kind: K }>['body'];

export interface WriterDeps {
  conversation: Conversation;
  turn: LiveTurn;
  text: TurnText;
  budget: ConversationBudget;
  clock: Clock;
}

export class TurnWriter implements ModelJournal, ToolJournal {
  readonly #deps: WriterDeps;
  readonly #turnId: string;
  /** Characters that were handed to the store and are not durable yet. */
  #undurable = 0;
  #lastWriteAt = 0;
  #flushTimer: Timer | undefined;
  readonly usage = noUsage();
  readonly #spent: Spending = noSpending();
  /** Set while a model call is in flight. */
  #reserved: Spending | undefined;
  readonly startedCalls: Set<string>;
  /** Set once the turn has ended: a runner that goes on changes nothing. */
  #closed: { reason: unknown } | undefined;

  constructor(deps: WriterDeps) {
    this.#deps = deps;
    this.#turnId = deps.turn.id;
    const { recorded } = deps.turn;
    this.startedCalls = new Set(recorded?.startedCalls);
    for (const { model, usage, reserved } of recorded?.replies ?? []) {
      if (usage) addUsage(this.usage, usage);
      addSpending(this.#spent, usage ? deps.budget.spent(model, usage) : reserved);
    }
  }

  /** Charges what an earlier process reserved for calls that never came back: they may well have been billed. */
  chargeLost(): void {
    const { recorded } = this.#deps.turn;
    if (!recorded) return;
    addSpending(this.#deps.conversation.totals.spent, recorded.unsettled);
    addSpending(this.#spent, recorded.lost);
  }

  /** Charges a call that broke. It counts as one call; if it had begun to answer, it was most likely billed. */
  chargeBroken(): void {
    const reserved = this.#reserved;
    if (!reserved) return;
    this.#reserved = undefined;
    const { text, conversation } = this.#deps;
    const spent = text.length > text.whole ? reserved : { calls: 1, tokens: 0, usd: 0 };
    addSpending(this.#spent, spent);
    addSpending(conversation.totals.spent, spent);
  }

  /** Refuses further entries of the runner. */
  close(reason: unknown): void {
    this.#closed ??= { reason };
    this.#flushTimer?.stop();
  }

  /** Writes a `turn_resumed` entry for an earlier process that died. */
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
    const { budget, conversation } = this.#deps;
    // A runner may ask again after a model call that failed.
    this.chargeBroken();
    const reserved = budget.reserve(model, messages, this.#spent, conversation.totals.spent);
    this.#reserved = reserved;
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
    const { budget, conversation, text } = this.#deps;
    const { totals } = conversation;
    const spent = usage ? budget.spent(model, usage) : (this.#reserved ?? noSpending());
    this.#reserved = undefined;
    addSpending(this.#spent, spent);
    addSpending(totals.spent, spent);
    if (usage) {
      addUsage(this.usage, usage);
      addUsage(totals.usage, usage);
    }
    const { message, finish, trailing } = reply;
    const body: Body<'model_replied'> = {
      step,
      model,
      message,
      finish,
      usage: usage ?? null,
      ...(trailing ? { trailing: Object.fromEntries(trailing) } : {}),
    };
    const written = this.#write({ kind: 'model_replied', body }, undefined, { ...totals });
    text.whole = text.length;
    return written;
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

  /** Call it when text was added. Returns a promise only when the store is so far behind that the model must wait. */
  textAdded(): Promise<void> | undefined {
    this.#checkOpen();
    const now = this.#deps.clock.now();
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

  /** Writes the text that waits; it is part of the turn whatever became of it. */
  flush(): Promise<void> {
    return this.#write();
  }

  /** Writes the text that waits and then `entry`, in one append; shows both once they are durable. */
  async #write(
    entry?: { [K in Entry['kind']]: { kind: K; body: Body<K> } }[Entry['kind']],
    show?: (seq: number) => ConversationEvent,
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
      this.#lastWriteAt = clock.now();
      this.#flushTimer?.stop();
      this.#flushTimer = undefined;
    }
    this.#undurable += chars;
    const seq = await conversation.journal.append(entries, { totals });
    this.#undurable -= chars;
    for (const [i, piece] of pieces.entries()) {
      turn.publish({ type: 'text', seq: seq + i, turn_id: turnId, text: piece.text });
    }
    if (show) turn.publish(show(seq + pieces.length));
  }

  #restart(keep: number): (seq: number) => ConversationEvent {
    return (seq) => ({ type: 'restart', seq, turn_id: this.#turnId, keep });
  }

  #checkOpen(): void {
    if (this.#closed) throw this.#closed.reason;
    // Another process goes on with the turn: an outcome of this one must not reach the journal.
    const { signal } = this.#deps.turn;
    if (signal.reason instanceof TurnHandedOff) throw signal.reason;
  }
}

const bodyOf = ({ step, index, callId, name }: CallEntry) => ({ call_id: callId, name, step, index });

const textBody = ({ text, offset, source }: TextPiece): Body<'text'> =>
  source.from === 'tool'
    ? { text, offset, from: source.from, step: source.step, index: source.index }
    : { text, offset, from: source.from };
