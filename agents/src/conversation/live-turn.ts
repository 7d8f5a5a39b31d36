// One turn while somebody may be interested in it: its events so far, how it ended, and everybody who follows it. A caller
// that comes late gets what it missed first; a caller that leaves changes nothing.
import type { FabricError } from '@fame-fabric/shared';
import type { ConversationEvent, TurnOutcome } from './conversation.ts';
import type { RecordedTurn } from './journal.ts';

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

export class LiveTurn {
  readonly id: string;
  readonly userMessage: string;
  readonly deadline: number;
  readonly recorded: RecordedTurn | undefined;
  /** Callers that follow it now. */
  listeners = 0;
  /** Whether it ended here only: in the journal it is open, and somebody else goes on with it. */
  isLeft = false;
  /** Settles with how the turn ended; never rejects. */
  readonly outcome: Promise<TurnOutcome>;
  readonly #abort = new AbortController();
  readonly #events: ConversationEvent[];
  #settle: (outcome: TurnOutcome) => void = () => {};
  #ended: TurnOutcome | undefined;
  #wakeAll: (() => void) | undefined;
  #changed: Promise<void> | undefined;

  constructor(options: LiveTurnOptions) {
    this.id = options.id;
    this.userMessage = options.userMessage;
    this.deadline = options.deadline;
    this.recorded = options.recorded;
    this.#events = [...(options.events ?? [])];
    this.#ended = options.ended;
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
    return this.#ended;
  }

  abort(reason: FabricError): void {
    if (!this.#ended) this.#abort.abort(reason);
  }

  /** Shows an event to everybody who follows. */
  publish(event: ConversationEvent): void {
    if (this.#ended) return;
    this.#events.push(event);
    this.#wakeAll?.();
  }

  /** Ends the turn, once; `last` is its last event. */
  end(outcome: TurnOutcome, last: ConversationEvent): void {
    if (this.#ended) return;
    this.publish(last);
    this.#ended = outcome;
    this.#settle(outcome);
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
        if (this.#ended || signal?.aborted) return;
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
