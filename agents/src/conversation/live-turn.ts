// A turn in memory: its events so far, its outcome, and its followers. A late follower first receives the events that it missed.
// A follower that leaves does not affect the turn.

import { type Clock, FabricError, type Timer } from '@fame-fabric/shared';
import type { SpendingLimits } from '@fame-fabric/shared/internal';
import { Broadcast, type TakeItem } from '@fame-fabric/shared/internal';
import { fenceOf } from '../store/cursor.ts';
import type { JournalEvent } from '../store/store.ts';
import { NO_OBSERVATION, type RecordedTrace, type TurnObservation } from '../telemetry/turn-observer.ts';
import type { ToolResult, TurnOptions } from '../turn/turn-options.ts';
import { Approvals } from './approval/approvals.ts';
import type { ConversationEvent, TurnOutcome } from './conversation.ts';
import { lastEvent, turnEvent } from './journal/journal.ts';
import type { RecordedTurn } from './journal/recorded-turn.ts';
import { TextPace } from './text-pace.ts';
import { type ProgressEvent, type ProgressKind, TurnProgress } from './turn-progress.ts';

/** Reason to stop a turn in this process without ending it: the turn stays open in the journal. */
export class TurnReleased extends FabricError {}

type State =
  | { readonly kind: 'open' }
  | { readonly kind: 'ended' | 'released'; readonly outcome: TurnOutcome };

/** A text that is not published yet. */
interface FreshText {
  readonly row: number;
  event: Extract<ConversationEvent, { type: 'text' }>;
}

export class LiveTurn {
  readonly id: string;
  readonly conversationId: string;
  /** Id of the call that streams the turn since an earlier process accepted it. */
  readonly streamCallId: string | undefined;
  readonly userMessage: string;
  /** Id of the principal that called. @default the owner of the conversation */
  readonly principal: string | undefined;
  /** Limits of the principal, as its sentinel stated them to this process. */
  readonly limits: SpendingLimits | undefined;
  readonly options: TurnOptions;
  /** Trace id and remaining hops of the call that brought it. */
  readonly traceId: string | undefined;
  readonly ttl: number | undefined;
  /** Results of the calls that the previous turn handed to the caller. */
  readonly toolResults: readonly ToolResult[];
  /** Rough size of its input in memory, in characters. */
  readonly inputChars: number;
  /** Monotonic time at which the turn was accepted, in ms. */
  readonly acceptedAt: number;
  /** The same time as recorded in the journal: wall time, in ms since the epoch. */
  readonly date: number;
  /** Monotonic time at which the turn times out, in ms. The journal has it as wall time, for a later process. */
  deadline: number;
  /** Questions to people, and their answers. */
  readonly approvals: Approvals;
  /** True once it has run, in this process or in an earlier one. */
  hasBegun: boolean;
  /** From its acceptance to its start, in ms; `undefined` before it starts, and if another process started it. */
  waitedMs: number | undefined;
  /** True while it waits for a person and none of its calls runs. */
  isIdle = false;
  /** Record of an earlier process. */
  readonly recorded: RecordedTurn | undefined;
  /** Number of callers that follow the turn now. */
  listeners = 0;
  /** Never rejects. */
  readonly outcome: Promise<TurnOutcome>;
  /** Receives the events of the turn. @default nothing does */
  observation: TurnObservation = NO_OBSERVATION;
  /** Trace context of the process that accepted the turn, if an earlier one did. */
  readonly recordedTrace: RecordedTrace | undefined;
  /** Reasoning and waits, for the callers that ask for them. */
  readonly progress: TurnProgress;
  readonly #abort = new AbortController();
  /** The latest acquisition of the conversation that this process knows. */
  readonly #epoch: number;
  readonly #events = new Broadcast<ConversationEvent>();
  /** The row of the journal of each event. */
  readonly #rows: number[] = [];
  readonly #clock: Clock;
  readonly #pace: TextPace;
  /** Monotonic time from which a text is published at once, in ms. */
  #gatherUntil = Number.NEGATIVE_INFINITY;
  #gatherTimer: Timer | undefined;
  #fresh: FreshText | undefined;
  readonly #settle: (outcome: TurnOutcome) => void;
  #state: State = { kind: 'open' };

  constructor(of: {
    id: string;
    clock: Clock;
    conversationId: string;
    streamCallId?: string | undefined;
    userMessage: string;
    principal?: string | undefined;
    limits?: SpendingLimits | undefined;
    options?: TurnOptions | undefined;
    toolResults?: readonly ToolResult[] | undefined;
    acceptedAt: number;
    date: number;
    deadline: number;
    traceId?: string | undefined;
    ttl?: number | undefined;
    epoch: number;
    recordedTrace?: RecordedTrace | undefined;
    recorded?: RecordedTurn | undefined;
    approvals?: Approvals | undefined;
    /** @default false */
    hasBegun?: boolean | undefined;
    /** Its events so far. */
    events?: readonly JournalEvent[];
    /** Its outcome, if it has ended. */
    ended?: TurnOutcome | undefined;
  }) {
    this.id = of.id;
    this.#clock = of.clock;
    this.#pace = TextPace.of(of.clock);
    this.progress = new TurnProgress(of.id);
    this.conversationId = of.conversationId;
    this.streamCallId = of.streamCallId;
    this.userMessage = of.userMessage;
    this.principal = of.principal;
    this.limits = of.limits;
    this.options = of.options ?? {};
    this.toolResults = of.toolResults ?? [];
    this.inputChars = charsOfInput(of.userMessage, this.options, this.toolResults);
    this.acceptedAt = of.acceptedAt;
    this.date = of.date;
    this.deadline = of.deadline;
    this.traceId = of.traceId;
    this.ttl = of.ttl;
    this.#epoch = of.epoch;
    this.recorded = of.recorded;
    this.recordedTrace = of.recordedTrace;
    this.approvals = of.approvals ?? new Approvals();
    this.hasBegun = of.hasBegun ?? false;
    const { promise, resolve } = Promise.withResolvers<TurnOutcome>();
    this.outcome = promise;
    this.#settle = resolve;
    for (const event of of.events ?? []) {
      const shown = turnEvent(event);
      if (!shown) continue;
      this.progress.position = shown.seq;
      this.#publish(event.seq, shown);
    }
    if (of.ended) this.end(of.ended);
  }

  /** Aborts when the turn is cancelled, times out or is released. The reason is a FabricError. */
  get signal(): AbortSignal {
    return this.#abort.signal;
  }

  /** Outcome for the callers of this process, once there is one. */
  get outcomeHere(): TurnOutcome | undefined {
    return this.#state.kind === 'open' ? undefined : this.#state.outcome;
  }

  /** True if the turn stays open in the journal, for another process to continue. */
  get isReleased(): boolean {
    return this.#state.kind === 'released';
  }

  abort(reason: FabricError): void {
    if (this.#state.kind === 'open') this.#abort.abort(reason);
  }

  /** Number of its events in memory. */
  get size(): number {
    return this.#rows.length;
  }

  /** Receives an event of the turn from the feed of its conversation. */
  receive(event: JournalEvent): void {
    if (this.#state.kind !== 'open') return;
    const shown = turnEvent(event);
    if (shown) this.progress.position = shown.seq;
    if (shown?.type === 'text') this.#addText(event.seq, shown);
    else if (shown) {
      this.#publishText();
      this.#publish(event.seq, shown);
    }
  }

  /**
   * Publishes a text at once, and the texts that follow within the gap of `TextPace` together. An event is the same for all followers,
   * because a link of version 0.1.0 that requests a stream again skips as many events as it has received.
   */
  #addText(row: number, event: FreshText['event']): void {
    const now = this.#pace.received();
    if (this.#fresh?.row === row) {
      this.#fresh.event = { ...event, text: this.#fresh.event.text + event.text };
      return;
    }
    this.#publishText();
    if (now >= this.#gatherUntil) {
      this.#gatherUntil = now + this.#pace.gapMs;
      this.#publish(row, event);
      return;
    }
    this.#fresh = { row, event };
    this.#gatherTimer = this.#clock.after(this.#gatherUntil - now, () => this.#publishText());
  }

  #publishText(): void {
    const fresh = this.#fresh;
    if (!fresh) return;
    this.#gatherTimer?.stop();
    this.#fresh = undefined;
    this.#gatherUntil = this.#clock.monotonic() + this.#pace.gapMs;
    this.#publish(fresh.row, fresh.event);
  }

  #publish(row: number, event: ConversationEvent): void {
    this.#rows.push(row);
    this.#events.publish(event);
  }

  /** Ends the turn, once. Call it after the last event of the turn was received. */
  end(outcome: TurnOutcome): void {
    if (this.#state.kind !== 'open') return;
    this.#state = { kind: 'ended', outcome };
    this.#close(outcome);
  }

  /** Ends the turn for its callers in this process only. It stays open in the journal, for another process. */
  release(outcome: TurnOutcome): void {
    if (this.#state.kind !== 'open') return;
    this.#publishText();
    const position = this.#events.items.at(-1)?.seq ?? 0;
    // A follower reads the state when it receives the last event.
    this.#state = { kind: 'released', outcome };
    this.#publish(0, lastEvent(outcome, position, this.id));
    this.#close(outcome);
  }

  #close(outcome: TurnOutcome): void {
    this.#gatherTimer?.stop();
    this.progress.end();
    this.#events.end();
    this.observation.ended(outcome, this.isReleased);
    this.#settle(outcome);
  }

  /**
   * Iterates over the events after the cursor `after`, past and future, up to the last one or the abort of `signal`. Leaving does not
   * affect the turn. A cursor of an acquisition that the store never had, such as one from before the store was restored from a
   * backup, starts the turn over. The progress that `include` names comes between the events.
   */
  follow(after?: number, signal?: AbortSignal): AsyncGenerator<ConversationEvent, void, void>;
  follow(
    after: number,
    signal: AbortSignal | undefined,
    include: readonly ProgressKind[],
  ): AsyncGenerator<ConversationEvent | ProgressEvent, void, void>;
  follow(
    after = 0,
    signal?: AbortSignal,
    include: readonly ProgressKind[] = [],
  ): AsyncGenerator<ConversationEvent | ProgressEvent, void, void> {
    if (include.length === 0) return this.#follow(after, signal);
    return this.progress.between((left) => this.#follow(after, left), { include, after, signal });
  }

  /**
   * As `follow` without progress, but hands each event to `take` in the step in which it is published. The next event waits for a
   * promise that `take` returns.
   */
  async deliver(after: number, take: TakeItem<ConversationEvent>, signal: AbortSignal): Promise<void> {
    const { first, from } = this.#startAfter(after);
    if (first) await take(first);
    await this.#events.deliver(take, { from, signal });
  }

  #follow(after: number, signal: AbortSignal | undefined): AsyncGenerator<ConversationEvent, void, void> {
    const { first, from } = this.#startAfter(after);
    const events = this.#events.follow({ from, signal });
    return first ? startingWith(first, events) : events;
  }

  /** Returns the index of the next event for a reader at the cursor `after`, and an event that the reader gets before it. */
  #startAfter(after: number): { readonly first?: ConversationEvent; readonly from: number } {
    if (fenceOf(after) > this.#epoch) {
      return { first: { type: 'restart', seq: 0, turn_id: this.id, keep: 0 }, from: 0 };
    }
    const from = this.#indexAfter(after);
    const next = this.#events.items[from];
    if (next?.type !== 'text' || fenceOf(after) === 0) return { from };
    const missing = next.seq - after;
    if (missing >= next.text.length) return { from };
    return { first: { ...next, text: next.text.slice(-missing) }, from: from + 1 };
  }

  /** Returns the index of the first event after the cursor `after`, or after a seq of an earlier version. */
  #indexAfter(after: number): number {
    const { items } = this.#events;
    const index =
      fenceOf(after) > 0
        ? items.findIndex(({ seq }) => seq > after)
        : this.#rows.findIndex((row) => row > after);
    if (index >= 0) return index;
    // The last event of a released turn is for every follower.
    return this.isReleased ? items.length - 1 : items.length;
  }
}

function charsOfInput(message: string, options: TurnOptions, results: readonly ToolResult[]): number {
  let chars = message.length;
  for (const { content } of results) chars += content.length;
  if (options.tools || options.response_format) chars += JSON.stringify(options).length;
  return chars;
}

async function* startingWith<T>(
  first: T,
  rest: AsyncGenerator<T, void, void>,
): AsyncGenerator<T, void, void> {
  try {
    yield first;
    yield* rest;
  } finally {
    await rest.return();
  }
}
