// A turn in memory: its events so far, its outcome, and its followers. A late follower first receives the events that it missed.
// A follower that leaves does not affect the turn.
import { FabricError } from '@fame-fabric/shared';
import { ChangeSignal, onAbort } from '@fame-fabric/shared/internal';
import { cursorAt, fenceOf, NO_ACQUISITION } from '../store/cursor.ts';
import type { JournalEvent } from '../store/store.ts';
import type { ToolResult, TurnOptions } from '../turn/turn-options.ts';
import { Approvals } from './approvals.ts';
import type { ConversationEvent, TurnOutcome } from './conversation.ts';
import { lastEvent, viewOf } from './journal.ts';
import type { RecordedTurn } from './recorded-turn.ts';

/** Reason to stop a turn in this process without ending it: the turn stays open in the journal. */
export class TurnReleased extends FabricError {}

type State =
  | { readonly kind: 'open' }
  | { readonly kind: 'ended' | 'released'; readonly outcome: TurnOutcome };

/** An event, and the row of the journal that it is in. The pieces of a text are joined, so a slow follower gets them as one. */
interface Item {
  readonly row: number;
  event: ConversationEvent;
  /** The end of a text that no follower has read, and the cursor before it. Slicing the whole text would copy it for each piece. */
  unread: { readonly after: number; text: string } | undefined;
}

export class LiveTurn {
  readonly id: string;
  readonly conversationId: string;
  readonly userMessage: string;
  readonly options: TurnOptions;
  /** Results of the calls that the turn before handed to the caller. */
  readonly toolResults: readonly ToolResult[];
  /** Monotonic time at which the turn was accepted, in ms. */
  readonly acceptedAt: number;
  /** The same as wall time, as the journal has it, in ms since the epoch. */
  readonly date: number;
  /** Monotonic time at which the turn times out, in ms. The journal has it as wall time, for a later process. */
  deadline: number;
  /** Questions to people, and their answers. */
  readonly approvals: Approvals;
  /** True once it has run, in this process or in an earlier one. */
  hasBegun: boolean;
  /** True while it waits for a person and none of its calls runs. */
  isIdle = false;
  /** Record of an earlier process. */
  readonly recorded: RecordedTurn | undefined;
  /** Number of callers that follow the turn now. */
  listeners = 0;
  /** Never rejects. */
  readonly outcome: Promise<TurnOutcome>;
  readonly #abort = new AbortController();
  /** The latest acquisition of the conversation that this process knows. */
  readonly #epoch: number;
  readonly #items: Item[] = [];
  /** Notified of each event and of the end. */
  readonly #change = new ChangeSignal();
  /** True until the end of this turn of the event loop, once followers were notified of text. */
  #isGathering = false;
  #hasGathered = false;
  readonly #settle: (outcome: TurnOutcome) => void;
  #state: State = { kind: 'open' };

  constructor(of: {
    id: string;
    conversationId: string;
    userMessage: string;
    options?: TurnOptions | undefined;
    toolResults?: readonly ToolResult[] | undefined;
    acceptedAt: number;
    date: number;
    deadline: number;
    epoch: number;
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
    this.conversationId = of.conversationId;
    this.userMessage = of.userMessage;
    this.options = of.options ?? {};
    this.toolResults = of.toolResults ?? [];
    this.acceptedAt = of.acceptedAt;
    this.date = of.date;
    this.deadline = of.deadline;
    this.#epoch = of.epoch;
    this.recorded = of.recorded;
    this.approvals = of.approvals ?? new Approvals();
    this.hasBegun = of.hasBegun ?? false;
    const { promise, resolve } = Promise.withResolvers<TurnOutcome>();
    this.outcome = promise;
    this.#settle = resolve;
    for (const event of of.events ?? []) this.receive(event);
    if (of.ended) this.end(of.ended);
  }

  /** Rough size of its input in memory, in characters. */
  get inputChars(): number {
    let chars = this.userMessage.length;
    for (const { content } of this.toolResults) chars += content.length;
    if (this.options.tools || this.options.response_format) chars += JSON.stringify(this.options).length;
    return chars;
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

  /** Receives an event of the turn from the feed of its conversation. */
  receive(event: JournalEvent): void {
    if (this.#state.kind !== 'open') return;
    const view = viewOf(event);
    if (!view) return;
    const last = this.#items.at(-1);
    if (view.type === 'text' && last?.event.type === 'text' && last.row === event.seq) {
      if (last.unread) last.unread.text += view.text;
      else last.unread = { after: last.event.seq, text: view.text };
      last.event = { ...view, text: last.event.text + view.text };
    } else {
      this.#items.push({ row: event.seq, event: view, unread: undefined });
    }
    if (view.type === 'text') this.#notifyOfText();
    else this.#change.notify();
  }

  /** Ends the turn, once. Its last event was received. */
  end(outcome: TurnOutcome): void {
    this.#close({ kind: 'ended', outcome });
  }

  /** Ends the turn for its callers in this process only; in the journal it stays open, for another process. */
  release(outcome: TurnOutcome): void {
    this.#close({ kind: 'released', outcome });
  }

  #close(state: Exclude<State, { kind: 'open' }>): void {
    if (this.#state.kind !== 'open') return;
    this.#state = state;
    this.#change.notify();
    this.#settle(state.outcome);
  }

  /**
   * Iterates over the events after the cursor `after`, past and future, up to the last one or the abort of `signal`. Leaving does not
   * affect the turn. A cursor of an acquisition that the store never had, such as one from before the store was restored from a
   * backup, starts the turn over.
   */
  async *follow(after = 0, signal?: AbortSignal): AsyncGenerator<ConversationEvent, void, void> {
    let cursor = this.#startAfter(after);
    if (cursor === undefined) {
      yield { type: 'restart', seq: 0, turn_id: this.id, keep: 0 };
      cursor = 0;
    }
    const stopListening = onAbort(signal, () => this.#change.notify());
    try {
      for (let next = 0; ; ) {
        const item = this.#items[next];
        if (item && item.event.seq > cursor) {
          const rest = restAfter(item, cursor);
          cursor = item.event.seq;
          item.unread = undefined;
          yield rest;
        } else if (next < this.#items.length - 1) next += 1;
        else if (this.#state.kind !== 'open' || signal?.aborted) break;
        else {
          await this.#change.next();
        }
      }
    } finally {
      stopListening();
    }
    // The turn continues in another process, so the position of the reader stays as it is.
    if (this.#state.kind === 'released') yield lastEvent(this.#state.outcome, cursor, this.id);
  }

  /** Returns the cursor of a position. A seq of an earlier version becomes that of its row. */
  #startAfter(after: number): number | undefined {
    if (fenceOf(after) > this.#epoch) return undefined;
    if (fenceOf(after) > 0) return after;
    return this.#items.findLast(({ row }) => row <= after)?.event.seq ?? cursorAt(NO_ACQUISITION, after);
  }

  // Followers get the first text in a turn of the event loop at once, and the others in it together, as one event.
  #notifyOfText(): void {
    if (!this.#change.isAwaited) return;
    if (this.#isGathering) {
      this.#hasGathered = true;
      return;
    }
    this.#change.notify();
    this.#isGathering = true;
    setImmediate(() => {
      this.#isGathering = false;
      if (this.#hasGathered) this.#change.notify();
      this.#hasGathered = false;
    });
  }
}

/** Returns an event without the text up to `cursor`. */
function restAfter({ event, unread }: Item, cursor: number): ConversationEvent {
  if (event.type === 'text' && unread?.after === cursor) return { ...event, text: unread.text };
  const missing = event.seq - cursor;
  if (event.type !== 'text' || fenceOf(cursor) === 0 || missing >= event.text.length) return event;
  return { ...event, text: event.text.slice(-missing) };
}
