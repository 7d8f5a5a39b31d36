// One turn while callers may be interested in it: its events so far, its outcome, and the callers that follow it. A caller that
// comes late gets the events it missed first; a caller that leaves changes nothing.
import { FabricError } from '@fame-fabric/shared';
import { Broadcast } from '@fame-fabric/shared/internal';
import type { ConversationEvent, TurnOutcome } from './conversation.ts';
import type { RecordedTurn } from './recorded-turn.ts';

/** The reason to stop a turn in this process without ending it: it stays open in the journal. */
export class TurnReleased extends FabricError {}

type State =
  | { readonly kind: 'open' }
  | { readonly kind: 'ended' | 'released'; readonly outcome: TurnOutcome };

export class LiveTurn {
  readonly id: string;
  readonly userMessage: string;
  /** When it times out, in ms since the epoch. */
  readonly deadline: number;
  /** Its steps in an earlier process. */
  readonly recorded: RecordedTurn | undefined;
  /** Callers that follow it now. */
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
    deadline: number;
    recorded?: RecordedTurn | undefined;
    /** Its events so far. */
    events?: readonly ConversationEvent[];
    /** Its outcome, if it has ended. */
    ended?: TurnOutcome | undefined;
  }) {
    this.id = of.id;
    this.userMessage = of.userMessage;
    this.deadline = of.deadline;
    this.recorded = of.recorded;
    this.#events = new Broadcast(of.events);
    const { promise, resolve } = Promise.withResolvers<TurnOutcome>();
    this.outcome = promise;
    this.#settle = resolve;
    if (of.ended) this.#close({ kind: 'ended', outcome: of.ended });
  }

  /** Aborts when the turn is cancelled, ran too long or is released; the reason is a FabricError. */
  get signal(): AbortSignal {
    return this.#abort.signal;
  }

  /** Its outcome for the callers of this process, once it has one. */
  get outcomeHere(): TurnOutcome | undefined {
    return this.#state.kind === 'open' ? undefined : this.#state.outcome;
  }

  /** True if the turn stays open in the journal, for another process to go on with. */
  get isReleased(): boolean {
    return this.#state.kind === 'released';
  }

  abort(reason: FabricError): void {
    if (this.#state.kind === 'open') this.#abort.abort(reason);
  }

  /** Shows an event to all followers. */
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
   * Iterates over the events behind `after`, past and future, up to the last one or the abort of `signal`. Leaving does not
   * affect the turn.
   */
  follow(after = 0, signal?: AbortSignal): AsyncGenerator<ConversationEvent, void, void> {
    const { items } = this.#events;
    const from = items.findIndex(({ seq }) => seq > after);
    return this.#events.follow({ from: from < 0 ? items.length : from, signal });
  }
}
