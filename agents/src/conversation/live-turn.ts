// One turn while somebody may be interested in it: its events so far, how it ended, and everybody who follows it. A caller
// that comes late gets what it missed first; a caller that leaves changes nothing.
import { FabricError } from '@fame-fabric/shared';
import type { ConversationEvent, TurnOutcome } from './conversation.ts';
import type { RecordedTurn } from './recorded-turn.ts';

export interface LiveTurnOptions {
  id: string;
  userMessage: string;
  /** When it times out, in ms since the epoch. */
  deadline: number;
  /** What it did before this process had it. */
  recorded?: RecordedTurn;
  /** Its events so far. */
  events?: readonly ConversationEvent[];
  /** How it ended, if it has. */
  ended?: TurnOutcome;
}

/** The reason to stop a turn in this process without ending it: it stays open in the journal. */
export class TurnHandedOff extends FabricError {}

type State =
  | { readonly kind: 'open' }
  | { readonly kind: 'ended' | 'handed off'; readonly outcome: TurnOutcome };

export class LiveTurn {
  readonly id: string;
  readonly userMessage: string;
  readonly deadline: number;
  readonly recorded: RecordedTurn | undefined;
  /** Callers that follow it now. */
  listeners = 0;
  /** Settles with how the turn ended; never rejects. */
  readonly outcome: Promise<TurnOutcome>;
  readonly #abort = new AbortController();
  readonly #events: ConversationEvent[];
  #settle: (outcome: TurnOutcome) => void = () => {};
  #state: State;
  #wakeAll: (() => void) | undefined;
  #changed: Promise<void> | undefined;

  constructor(options: LiveTurnOptions) {
    this.id = options.id;
    this.userMessage = options.userMessage;
    this.deadline = options.deadline;
    this.recorded = options.recorded;
    this.#events = [...(options.events ?? [])];
    this.#state = options.ended ? { kind: 'ended', outcome: options.ended } : { kind: 'open' };
    this.outcome = options.ended
      ? Promise.resolve(options.ended)
      : new Promise((resolve) => {
          this.#settle = resolve;
        });
  }

  /** Aborts when the turn is cancelled, ran too long or has to be left; the reason is a FabricError. */
  get signal(): AbortSignal {
    return this.#abort.signal;
  }

  get ended(): TurnOutcome | undefined {
    return this.#state.kind === 'open' ? undefined : this.#state.outcome;
  }

  /** True if the turn stays open in the journal, for another process to go on with. */
  get isHandedOff(): boolean {
    return this.#state.kind === 'handed off';
  }

  abort(reason: FabricError): void {
    if (this.#state.kind === 'open') this.#abort.abort(reason);
  }

  /** Shows an event to everybody who follows. */
  publish(event: ConversationEvent): void {
    if (this.#state.kind !== 'open') return;
    this.#events.push(event);
    this.#wakeAll?.();
  }

  /** Ends the turn, once; `last` is its last event. */
  end(outcome: TurnOutcome, last: ConversationEvent): void {
    this.#close({ kind: 'ended', outcome }, last);
  }

  /** Ends the turn for its callers in this process only; in the journal it stays open, for another process. */
  handOff(outcome: TurnOutcome, last: ConversationEvent): void {
    this.#close({ kind: 'handed off', outcome }, last);
  }

  #close(state: Exclude<State, { kind: 'open' }>, last: ConversationEvent): void {
    if (this.#state.kind !== 'open') return;
    this.publish(last);
    this.#state = state;
    this.#settle(state.outcome);
    this.#wakeAll?.();
  }

  /**
   * The events after `after`, those so far and those to come, up to the last one or the abort of `signal`. Leaving does
   * not touch the turn.
   */
  async *follow(after = 0, signal?: AbortSignal): AsyncGenerator<ConversationEvent, void, void> {
    const wake = (): void => this.#wakeAll?.();
    signal?.addEventListener('abort', wake, { once: true });
    try {
      let next = 0;
      while ((this.#events[next]?.seq ?? Number.POSITIVE_INFINITY) <= after) next += 1;
      for (;;) {
        while (next < this.#events.length) yield this.#events[next++]!;
        if (this.#state.kind !== 'open' || signal?.aborted) return;
        await this.#nextChange();
      }
    } finally {
      signal?.removeEventListener('abort', wake);
    }
  }

  // One promise for all who wait, made anew only when somebody waits.
  #nextChange(): Promise<void> {
    this.#changed ??= new Promise((resolve) => {
      this.#wakeAll = () => {
        this.#wakeAll = undefined;
        this.#changed = undefined;
        resolve();
      };
    });
    return this.#changed;
  }
}
