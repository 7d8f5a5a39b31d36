// Brings the events of branches that run at once into the one order in which a turn tells them. It is the generator that the
// consumer of a turn holds, written out by hand: an event of text costs one promise on its way, and nested generators would
// cost several. An event is taken when the consumer asks for the one after it; that is how a branch waits until what it is
// about to do is written down.
import type { TurnEvent } from './turn.ts';

interface Entry {
  readonly event: TurnEvent;
  readonly taken: ((isTaken: boolean) => void) | undefined;
}
interface Waiter<R> {
  resolve(step: IteratorResult<TurnEvent, R>): void;
  reject(error: unknown): void;
}
type End<R> = { result: R } | { error: unknown };

/** `R` is what the branches come to. */
export class TurnRelay<R = void> implements AsyncGenerator<TurnEvent, R, void> {
  #entries: Entry[] = [];
  #head = 0;
  /** The text at the end of the line, which the next text joins. */
  #lastText: { type: 'text'; text: string } | undefined;
  /** The event that the consumer works on now. */
  #given: Entry | undefined;
  #waiter: Waiter<R> | undefined;
  #end: End<R> | undefined;
  #isLeft = false;
  #begin: (() => void) | undefined;
  readonly #onLeave: (() => Promise<unknown>) | undefined;

  /** `begin` runs with the first `next()`; `onLeave` ends the branches when the consumer leaves before the end. */
  constructor(begin?: () => void, onLeave?: () => Promise<unknown>) {
    this.#begin = begin;
    this.#onLeave = onLeave;
  }

  /** Whether the branches have ended. */
  get isOver(): boolean {
    return this.#end !== undefined;
  }

  /** The events, for the one consumer. */
  events(): this {
    return this;
  }

  /** Adds text. What the consumer has not taken yet becomes one piece, so a slow consumer costs no memory but the text. */
  text(text: string): void {
    if (this.#isLeft || this.#end) return;
    if (this.#lastText) {
      this.#lastText.text += text;
      return;
    }
    const event = { type: 'text' as const, text };
    if (this.#give({ event, taken: undefined })) return;
    this.#lastText = event;
    this.#entries.push({ event, taken: undefined });
  }

  /** Adds an event and resolves once it was taken. @throws when the consumer has left, because it never will be */
  async event(event: TurnEvent): Promise<void> {
    if (this.#isLeft || this.#end) throw nobody();
    const isTaken = await new Promise<boolean>((taken) => {
      const entry = { event, taken };
      if (this.#give(entry)) return;
      this.#lastText = undefined;
      this.#entries.push(entry);
    });
    if (!isTaken) throw nobody();
  }

  /** No more events come: the consumer gets what waits, then the result. */
  end(result: R): void {
    this.#over({ result });
  }

  /** No more events come: the consumer gets what waits, then the error. */
  fail(error: unknown): void {
    this.#over({ error });
  }

  #over(end: End<R>): void {
    if (this.#end || this.#isLeft) return;
    this.#end = end;
    const waiter = this.#waiter;
    if (!waiter) return;
    this.#waiter = undefined;
    if ('error' in end) waiter.reject(end.error);
    else waiter.resolve({ done: true, value: end.result });
  }

  next(): Promise<IteratorResult<TurnEvent, R>> {
    this.#begin?.();
    this.#begin = undefined;
    this.#given?.taken?.(true);
    this.#given = undefined;
    if (this.#head < this.#entries.length) {
      const entry = this.#entries[this.#head]!;
      this.#head += 1;
      if (this.#head === this.#entries.length) {
        this.#entries = [];
        this.#head = 0;
      }
      if (entry.event === this.#lastText) this.#lastText = undefined;
      this.#given = entry;
      return Promise.resolve({ done: false, value: entry.event });
    }
    if (this.#isLeft) return Promise.resolve(LEFT);
    if (this.#end) {
      const end = this.#end;
      this.#isLeft = true;
      if ('error' in end) return Promise.reject(end.error);
      return Promise.resolve({ done: true, value: end.result });
    }
    return new Promise((resolve, reject) => {
      this.#waiter = { resolve, reject };
    });
  }

  async return(): Promise<IteratorResult<TurnEvent, R>> {
    await this.#leave();
    return LEFT;
  }

  async throw(error: unknown): Promise<IteratorResult<TurnEvent, R>> {
    await this.#leave();
    throw error;
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#leave();
  }

  async #leave(): Promise<void> {
    if (this.#isLeft) return;
    this.#isLeft = true;
    this.#begin = undefined;
    const waiting = [this.#given, ...this.#entries.slice(this.#head)];
    this.#entries = [];
    this.#head = 0;
    this.#given = undefined;
    for (const entry of waiting) entry?.taken?.(false);
    this.#waiter?.resolve(LEFT);
    this.#waiter = undefined;
    if (!this.#end) await this.#onLeave?.();
  }

  /** Hands the entry to a consumer that waits for it. */
  #give(entry: Entry): boolean {
    const waiter = this.#waiter;
    if (!waiter) return false;
    this.#waiter = undefined;
    this.#given = entry;
    waiter.resolve({ done: false, value: entry.event });
    return true;
  }
}

const LEFT: IteratorResult<TurnEvent, never> = { done: true, value: undefined as never };
const nobody = (): Error => new Error('Nobody follows this turn any more');
