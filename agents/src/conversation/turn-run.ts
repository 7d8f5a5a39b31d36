// Carries one turn from its start to its end: drives the runner, writes each event to the journal before anybody sees its
// effect, shows it, keeps the budget, and settles the outcome. What it cannot write did not happen: then the turn is left
// open in the journal, and whoever reads the conversation next goes on with it.
import { hash } from 'node:crypto';
import { type Clock, FabricError, isFabricError, type Logger, newId } from '@fame-fabric/shared';
import { addUsage, noUsage } from '../model/usage.ts';
import type { FailedTurnRule, TurnDraft } from '../turn/history.ts';
import type { TurnEvent, TurnResult, TurnRunner } from '../turn/turn.ts';
import { CONVERSATION_LIMITS, type ConversationEvent, faultOf, type TurnOutcome } from './conversation.ts';
import { addSpending, type Entry, type Spending } from './journal.ts';
import type { LiveTurn } from './live-turn.ts';
import type { Conversation } from './loaded-conversation.ts';
import { type ConversationBudget, noSpending } from './spending.ts';

/** Text is written at least this often while it streams. */
const TEXT_MS = 50;
const TEXT_CHARS = 1_024;
/** Text that may be on its way to the store before the model has to wait. */
const MAX_UNWRITTEN_CHARS = 32_768;
/** The resume at which a turn that never got further is given up: a step asks its model three times at the most. */
const MAX_RESUMES = 3;

export interface TurnRunDeps {
  runner: TurnRunner;
  budget: ConversationBudget;
  clock: Clock;
  log: Logger;
}
export interface TurnRunOptions {
  turnTimeoutMs: number;
  graceMs: number;
  failedTurns: FailedTurnRule;
  /** Whether nothing of the conversation waits behind this turn. */
  isLast(): boolean;
}

/** The reason to stop a turn here without ending it: it stays open in the journal. */
export class LeaveTurn extends FabricError {}

export class TurnRun {
  readonly #deps: TurnRunDeps;
  readonly #options: TurnRunOptions;
  readonly #conversation: Conversation;
  readonly #turn: LiveTurn;
  readonly #draft: TurnDraft;
  /** Text of the turn, what of it stands in the journal, and what of it belongs to whole answers. */
  #text: string;
  #written: number;
  #whole: number;
  #unwritten = 0;
  #lastWriteAt = 0;
  #flushTimer: { stop(): void } | undefined;
  readonly #usage = noUsage();
  readonly #spent: Spending = noSpending();
  #reserved: Spending | undefined;
  readonly #started = new Set<string>();
  #isOver = false;

  constructor(deps: TurnRunDeps, conversation: Conversation, turn: LiveTurn, options: TurnRunOptions) {
    this.#deps = deps;
    this.#options = options;
    this.#conversation = conversation;
    this.#turn = turn;
    this.#draft = conversation.history.begin(turn.userMessage);
    this.#text = turn.recorded?.text ?? '';
    this.#written = this.#text.length;
    this.#whole = this.#text.length;
    for (const step of turn.recorded?.steps ?? []) {
      const usage = step.usage ?? noUsage();
      addUsage(this.#usage, usage);
      addSpending(this.#spent, deps.budget.spent(step.model, usage));
      for (const id of step.started) this.#started.add(id);
    }
  }

  /** Never rejects. */
  async run(): Promise<void> {
    const { clock } = this.#deps;
    const turn = this.#turn;
    const timeout = (): void =>
      turn.abort(
        new FabricError('TURN_TIMEOUT', `The turn ran longer than ${this.#options.turnTimeoutMs} ms.`),
      );
    const deadline = clock.after(Math.max(0, turn.deadline - clock.now()), timeout);
    try {
      this.#chargeLost();
      if (turn.deadline <= clock.now()) timeout();
      turn.signal.throwIfAborted();
      await this.#resume();
      const result = await this.#orAborted(this.#drive());
      await this.#complete(result);
    } catch (caught) {
      this.#isOver = true;
      await this.#fail(this.#errorOf(caught));
    } finally {
      this.#isOver = true;
      this.#flushTimer?.stop();
      deadline.stop();
    }
  }

  // What an earlier process had set aside for a call that never came back is spent, whatever becomes of the turn now.
  #chargeLost(): void {
    const { recorded } = this.#turn;
    if (!recorded) return;
    addSpending(this.#conversation.totals.spent, recorded.unsettled);
    addSpending(this.#spent, recorded.lost);
  }

  async #resume(): Promise<void> {
    const { recorded } = this.#turn;
    if (!recorded) return;
    const attempt = recorded.fruitlessResumes + 1;
    const { totals, journal } = this.#conversation;
    if (attempt >= MAX_RESUMES) {
      throw new FabricError(
        'TURN_CRASH_LOOP',
        `The turn was interrupted ${MAX_RESUMES} times without getting further, and is given up.`,
      );
    }
    const keep = this.#text.length;
    const entry: Entry = { kind: 'turn_resumed', turnId: this.#turn.id, body: { attempt, keep } };
    const seq = await journal.append([entry], { totals: { ...totals } });
    this.#turn.publish({ type: 'restart', seq, turn_id: this.#turn.id, keep });
    this.#deps.log.info('turn resumed', {
      conversationId: this.#conversation.id,
      turnId: this.#turn.id,
      attempt,
      steps: recorded.steps.length,
    });
  }

  async #drive(): Promise<TurnResult> {
    const { id: conversationId, runnerState, options } = this.#conversation;
    const { id: turnId, userMessage, signal, recorded } = this.#turn;
    const events = this.#deps.runner.run({
      conversationId,
      turnId,
      userMessage,
      draft: this.#draft,
      ...(recorded ? { recorded: recorded.steps } : {}),
      state: runnerState,
      payload: options.payload ?? {},
      signal,
    });
    let isDone = false;
    try {
      for (;;) {
        const next = await events.next();
        if (this.#isOver || signal.reason instanceof LeaveTurn) throw signal.reason;
        if (next.done) {
          isDone = true;
          return next.value;
        }
        // No await where none is needed: most events are text, and most text is not written by itself.
        const pending = this.#take(next.value);
        if (pending) await pending;
      }
    } finally {
      // The runner is told that nobody waits for it; it may be one that does not listen, so it is not waited for.
      if (!isDone) events.return(undefined as never).catch(() => undefined);
    }
  }

  #take(event: TurnEvent): Promise<unknown> | undefined {
    switch (event.type) {
      case 'text':
        return this.#takeText(event.text);
      case 'model_called':
        return this.#called(event);
      case 'model_replied':
        return this.#replied(event);
      case 'tool_started': {
        const { callId: id, name } = event;
        const args = event.args ? { args: event.args } : {};
        this.#started.add(id);
        return this.#record({ kind: 'tool_started', body: { call_id: id, name, ...args } }, (seq) => ({
          type: 'tool_call',
          seq,
          turn_id: this.#turn.id,
          id,
          name,
          ...args,
        }));
      }
      case 'tool_finished': {
        const { callId: id, name, ok, content } = event;
        return this.#record({ kind: 'tool_finished', body: { call_id: id, name, ok, content } }, (seq) => ({
          type: 'tool_result',
          seq,
          turn_id: this.#turn.id,
          id,
          name,
          ok,
        }));
      }
    }
  }

  #called(event: TurnEvent & { type: 'model_called' }): Promise<unknown> {
    const { model, step, messages } = event;
    const { totals } = this.#conversation;
    const reserved = this.#deps.budget.reserve(model, messages, this.#spent, totals.spent);
    this.#reserved = reserved;
    const digest = hash('sha256', JSON.stringify(messages));
    const body = { step, model, messages: messages.length, digest, reserved };
    return this.#record({ kind: 'model_called', body });
  }

  // An answer without calls is written together with the end of the turn, which follows at once.
  #replied(event: TurnEvent & { type: 'model_replied' }): Promise<unknown> | undefined {
    const { model, step, message, finish, usage } = event;
    const { totals } = this.#conversation;
    const spent = usage ? this.#deps.budget.spent(model, usage) : (this.#reserved ?? noSpending());
    this.#reserved = undefined;
    addSpending(this.#spent, spent);
    addSpending(totals.spent, spent);
    if (usage) {
      addUsage(this.#usage, usage);
      addUsage(totals.usage, usage);
    }
    const written = this.#record({
      kind: 'model_replied',
      body: { step, model, message, finish, usage: usage ?? null },
    });
    this.#whole = this.#text.length;
    if (message.tool_calls?.length) return written;
    written.catch(() => undefined);
    return undefined;
  }

  #takeText(text: string): Promise<unknown> | undefined {
    this.#text += text;
    const waiting = this.#text.length - this.#written;
    const now = this.#deps.clock.now();
    if (waiting >= TEXT_CHARS || now - this.#lastWriteAt >= TEXT_MS) {
      const written = this.#record();
      if (this.#unwritten > MAX_UNWRITTEN_CHARS) return written;
      // A failure stops the journal, and so the next thing that is awaited.
      written.catch(() => undefined);
    } else {
      this.#flushTimer ??= this.#deps.clock.after(TEXT_MS - (now - this.#lastWriteAt), () => {
        this.#flushTimer = undefined;
        if (!this.#isOver) this.#record().catch(() => undefined);
      });
    }
    return undefined;
  }

  /** Writes the text that waits and then `entry`, in one append; shows both once they are written. */
  async #record(
    entry?: { kind: Entry['kind']; body: Entry['body'] },
    show?: (seq: number) => ConversationEvent,
  ): Promise<void> {
    const { journal, totals } = this.#conversation;
    const turnId = this.#turn.id;
    const entries: Entry[] = [];
    const from = this.#written;
    for (let offset = from; offset < this.#text.length; ) {
      const text = cut(this.#text, offset);
      entries.push({ kind: 'text', turnId, body: { text, offset } });
      offset += text.length;
    }
    const texts = entries.length;
    this.#written = this.#text.length;
    const size = this.#text.length - from;
    if (entry) entries.push({ ...entry, turnId } as Entry);
    if (entries.length === 0) return;
    if (texts > 0) {
      this.#lastWriteAt = this.#deps.clock.now();
      this.#flushTimer?.stop();
      this.#flushTimer = undefined;
    }
    this.#unwritten += size;
    const hasCost = entry?.kind === 'model_replied';
    const seq = await journal.append(entries, hasCost ? { totals: { ...totals } } : {});
    this.#unwritten -= size;
    for (const [i, { body }] of entries.slice(0, texts).entries()) {
      this.#turn.publish({
        type: 'text',
        seq: seq + i,
        turn_id: turnId,
        text: (body as { text: string }).text,
      });
    }
    if (show) this.#turn.publish(show(seq + texts));
  }

  async #complete(result: TurnResult): Promise<void> {
    const { usage, model, messages, state, taskState } = result;
    this.#isOver = true;
    // What was said is what was streamed; a runner that only returns its text has it said here.
    if (result.text.startsWith(this.#text)) this.#text = result.text;
    const text = this.#text;
    this.#draft.commit(messages);
    const outcome: TurnOutcome = { state: 'completed', text, usage, model };
    if (state !== undefined) this.#conversation.runnerState = state;
    await this.#settle(
      outcome,
      (end) => ({
        kind: 'turn_completed',
        turnId: this.#turn.id,
        body: { ...end, text, whole_chars: text.length, usage, model, ...(messages ? { messages } : {}) },
      }),
      true,
      taskState ?? 'working',
    );
  }

  async #fail(error: FabricError): Promise<void> {
    if (error instanceof LeaveTurn || this.#conversation.journal.failure !== undefined) {
      this.#leave(error);
      return;
    }
    this.#chargeBroken();
    this.#recall();
    const partial = this.#text.slice(this.#whole);
    const inHistory = this.#draft.interrupt(partial, this.#started, this.#options.failedTurns);
    const state = error.code === 'TURN_CANCELLED' ? 'cancelled' : 'failed';
    const fault = faultOf(error);
    const usage = this.#usage;
    const text = this.#text;
    try {
      await this.#settle(
        { state, error: fault, text, usage },
        (end) => ({
          kind: state === 'cancelled' ? 'turn_cancelled' : 'turn_failed',
          turnId: this.#turn.id,
          body: { ...end, text, whole_chars: this.#whole, usage, error: fault },
        }),
        inHistory,
      );
    } catch (caught) {
      this.#leave(isFabricError(caught) ? caught : error);
    }
  }

  // A turn that ends before its runner has taken up what was done in an earlier process: the next turn must know of it.
  #recall(): void {
    if (this.#draft.messages.length > 1) return;
    for (const { message, finished } of this.#turn.recorded?.steps ?? []) {
      this.#draft.assistant(message);
      for (const [callId, { content }] of finished) this.#draft.tool(callId, content);
    }
  }

  // A call that broke counts as one; if it had begun to answer, it was most likely billed.
  #chargeBroken(): void {
    const reserved = this.#reserved;
    if (!reserved) return;
    this.#reserved = undefined;
    const spent = this.#text.length > this.#whole ? reserved : { calls: 1, tokens: 0, usd: 0 };
    addSpending(this.#spent, spent);
    addSpending(this.#conversation.totals.spent, spent);
  }

  async #settle(
    outcome: TurnOutcome,
    entryOf: (end: { in_history: boolean; state?: unknown }) => Entry,
    inHistory: boolean,
    taskState?: 'working' | 'input-required' | 'completed',
  ): Promise<void> {
    const { runnerState, totals, journal } = this.#conversation;
    // Text that waits is written with the end; it is part of the turn whatever became of it.
    const unwritten = this.#record();
    const entry = entryOf({
      in_history: inHistory,
      ...(runnerState === undefined ? {} : { state: runnerState }),
    });
    const seq = journal.append([entry], {
      totals: { ...totals },
      release: this.#options.isLast(),
      ...(taskState ? { state: taskState } : {}),
    });
    // Both are looked at together, so that neither is left alone with its error.
    const [, at] = await Promise.all([unwritten, seq]);
    if (taskState === 'completed') this.#conversation.isCompleted = true;
    this.#turn.end(outcome, lastEvent(outcome, at, this.#turn.id));
  }

  // The callers here are told to ask again; the turn itself is not over.
  #leave(reason: FabricError): void {
    // Of several appends that failed together, the first one says why.
    const { failure } = this.#conversation.journal;
    const error = isFabricError(failure) ? failure : reason;
    this.#turn.isLeft = true;
    const outcome: TurnOutcome = {
      state: 'failed',
      error: faultOf(error),
      text: this.#text,
      usage: this.#usage,
    };
    this.#turn.end(outcome, lastEvent(outcome, this.#conversation.journal.lastSeq + 1, this.#turn.id));
  }

  // A runner that does not listen to its signal gets a little time after an abort, then the turn goes on without it.
  #orAborted<T>(work: Promise<T>): Promise<T> {
    const { signal } = this.#turn;
    const { clock } = this.#deps;
    return new Promise((resolve, reject) => {
      let grace: { stop(): void } | undefined;
      const onAbort = (): void => {
        const wait = signal.reason instanceof LeaveTurn ? 0 : this.#options.graceMs;
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
      conversationId: this.#conversation.id,
      turnId: this.#turn.id,
      error: caught,
    });
    return new FabricError('INTERNAL', `The turn failed; the log of the agent names it ${logId}.`);
  }
}

export function lastEvent(outcome: TurnOutcome, seq: number, turnId: string): ConversationEvent {
  if (outcome.state === 'completed') {
    const { text, usage, model } = outcome;
    return { type: 'done', seq, turn_id: turnId, text, usage, model };
  }
  const { code, message, retryable } = outcome.error;
  return { type: 'error', seq, turn_id: turnId, code, message, retryable, text: outcome.text };
}

// A piece of text that fits one event and does not end inside a surrogate pair.
function cut(text: string, from: number): string {
  let to = Math.min(from + CONVERSATION_LIMITS.maxTextEventChars, text.length);
  if (to < text.length && (text.charCodeAt(to - 1) & 0xfc00) === 0xd800) to -= 1;
  return text.slice(from, to);
}
