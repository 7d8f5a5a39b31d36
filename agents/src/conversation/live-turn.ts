// A turn in memory: its events so far, its outcome, and its followers. A late follower first receives the events that it missed.
// A follower that leaves does not affect the turn.
import { FabricError } from '@fame-fabric/shared';
import { Broadcast } from '@fame-fabric/shared/internal';
import type { ToolResult, TurnOptions } from '../turn/turn-options.ts';
import type { ConversationEvent, TurnOutcome } from './conversation.ts';
import type { RecordedTurn } from './recorded-turn.ts';

/** Reason to stop a turn in this process without ending it: the turn stays open in the journal. */
export class TurnReleased extends FabricError {}

type State =
  | { readonly kind: 'open' }
  | { readonly kind: 'ended' | 'released'; readonly outcome: TurnOutcome };

export class LiveTurn {
  readonly id: string;
  readonly userMessage: string;
  readonly options: TurnOptions;
  /** Results of the calls that the turn before handed to the caller. */
  readonly toolResults: readonly ToolResult[];
  /** Monotonic time at which the turn was accepted, in ms. */
  readonly acceptedAt: number;
  /** Monotonic time at which the turn times out, in ms. The journal has it as wall time, for a later process. */
  readonly deadline: number;
  /** Record of an earlier process. */
  readonly recorded: RecordedTurn | undefined;
  /** Number of callers that follow the turn now. */
  listeners = 0;
  /** Never rejects. */
  readonly outcome: Promise<TurnOutcome>;
  readonly #abort = new AbortController();
  readonly #events: Broadcast<ConversationEvent>;
  readonly #settle: (outcome: TurnOutcome) => void;
  #state: State = { kind: 'open' };

  constructor(of: {
    id: string;
    userMessage: string;
    options?: TurnOptions | undefined;
    toolResults?: readonly ToolResult[] | undefined;
    acceptedAt: number;
    deadline: number;
    recorded?: RecordedTurn | undefined;
    /** Its events so far. */
    events?: readonly ConversationEvent[];
    /** Its outcome, if it has ended. */
    ended?: TurnOutcome | undefined;
  }) {
    this.id = of.id;
    this.userMessage = of.userMessage;
    this.options = of.options ?? {};
    this.toolResults = of.toolResults ?? [];
    this.acceptedAt = of.acceptedAt;
    this.deadline = of.deadline;
    this.recorded = of.recorded;
    this.#events = new Broadcast(of.events);
    const { promise, resolve } = Promise.withResolvers<TurnOutcome>();
    this.outcome = promise;
    this.#settle = resolve;
    if (of.ended) this.#close({ kind: 'ended', outcome: of.ended });
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

  /** Publishes an event to all followers. */
  publish(event: ConversationEvent): void {
    this.#events.publish(event);
  }

  /** Ends the turn, once; `last` is its last event. */
  end(outcome: TurnOutcome, last: ConversationEvent): void {
    this.#close({ kind: 'ended', outcome }, last);
  }

  /** Ends the turn for its callers in this process only; in the journal it stays open, for another process. */
  release(outcome: TurnOutcome, last: ConversationEvent): void {
    this.#close({ kind: 'released', outcome }, last);
  }

  #close(state: Exclude<State, { kind: 'open' }>, last?: ConversationEvent): void {
    if (this.#state.kind !== 'open') return;
    if (last) this.#events.publish(last);
    this.#events.end();
    this.#state = state;
    this.#settle(state.outcome);
  }

  /**
   * Iterates over the events after `after`, past and future, up to the last one or the abort of `signal`. Leaving does not
   * affect the turn.
   */
  follow(after = 0, signal?: AbortSignal): AsyncGenerator<ConversationEvent, void, void> {
    const { items } = this.#events;
    const from = items.findIndex(({ seq }) => seq > after);
    return this.#events.follow({ from: from < 0 ? items.length : from, signal });
  }
}
