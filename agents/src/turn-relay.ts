// Brings the events of branches that run at once into the one order in which a turn tells them. An event is taken when the
// consumer of the turn asks for the one after it; that is how a branch waits until what it is about to do is written down.
import type { TurnEvent } from './turn.ts';

interface Entry {
  event: TurnEvent;
  taken: ((isTaken: boolean) => void) | undefined;
}

export class TurnRelay {
  #entries: Entry[] = [];
  #lastText: { type: 'text'; text: string } | undefined;
  #wake: (() => void) | undefined;
  #state: 'open' | 'ended' | 'left' = 'open';
  #error: unknown;
  #hasError = false;
  #isOver = false;

  /** Adds text. What the consumer has not taken yet becomes one piece, so a slow consumer costs no memory but the text. */
  text(text: string): void {
    if (this.#state !== 'open') return;
    if (this.#lastText) {
      this.#lastText.text += text;
      return;
    }
    this.#lastText = { type: 'text', text };
    this.#entries.push({ event: this.#lastText, taken: undefined });
    this.#wake?.();
  }

  /** Adds an event and resolves once it was taken. @throws when the consumer has left, because it never will be */
  async event(event: TurnEvent): Promise<void> {
    if (this.#state !== 'open') throw new Error('Nobody follows this turn any more');
    this.#lastText = undefined;
    const isTaken = await new Promise<boolean>((taken) => {
      this.#entries.push({ event, taken });
      this.#wake?.();
    });
    if (!isTaken) throw new Error('Nobody follows this turn any more');
  }

  /** Whether the branches have ended. */
  get isOver(): boolean {
    return this.#isOver;
  }

  /** No more events come; with an error, the consumer gets it after the last one. */
  end(): void {
    this.#isOver = true;
    if (this.#state === 'open') this.#state = 'ended';
    this.#wake?.();
  }
  fail(error: unknown): void {
    this.#error = error;
    this.#hasError = true;
    this.end();
  }

  /** The events, for the one consumer. */
  async *events(): AsyncGenerator<TurnEvent, void, void> {
    let at = 0;
    try {
      for (;;) {
        while (at < this.#entries.length) {
          const entry = this.#entries[at]!;
          at += 1;
          if (entry.event === this.#lastText) this.#lastText = undefined;
          yield entry.event;
          entry.taken?.(true);
          entry.taken = undefined;
        }
        this.#entries = [];
        at = 0;
        if (this.#hasError) throw this.#error;
        if (this.#state === 'ended') return;
        await new Promise<void>((resolve) => {
          this.#wake = resolve;
        });
        this.#wake = undefined;
      }
    } finally {
      this.#state = 'left';
      for (const entry of this.#entries) entry.taken?.(false);
    }
  }
}
