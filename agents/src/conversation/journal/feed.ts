// The feed of a loaded conversation: its events for followers in this process, in the order of the journal. Text is shown at once
// and becomes durable later. Every other event is shown once it is durable, and the events after it wait until then.
import type { JournalEvent } from '../../store/store.ts';

/** Receives the events of a feed. A text may come in several pieces; the cursor of each is that of its end. */
export interface FeedListener {
  event(event: JournalEvent): void;
  /** Called when the process can no longer write the conversation, or has evicted it from memory. */
  closed?(): void;
}

export class Feed {
  readonly #listeners = new Set<FeedListener>();
  /** Events that are not durable, in order. The first `#shown` are texts that followers have. */
  #tail: JournalEvent[] = [];
  #shown = 0;
  #state: 'open' | 'closed' = 'open';

  /**
   * Adds a listener. It receives the shown texts that are not durable yet, then every event that follows. Earlier events are in the
   * store. Returns the function that removes it.
   */
  subscribe(listener: FeedListener): () => void {
    for (const text of this.#tail.slice(0, this.#shown)) listener.event(copyOf(text));
    if (this.#state === 'open') this.#listeners.add(listener);
    else listener.closed?.();
    return () => this.#listeners.delete(listener);
  }

  /** Adds an event that is not durable. A text may still grow. */
  add(event: JournalEvent): void {
    if (this.#state === 'closed') return;
    this.#tail.push(event);
    this.#showTexts();
  }

  /** Shows a piece that was added to the last event, a text, if that one is shown. */
  extended(piece: JournalEvent): void {
    if (this.#state === 'open' && this.#shown === this.#tail.length) this.#publish(piece);
  }

  /** Marks the first `count` events as durable. */
  durable(count: number): void {
    if (this.#state === 'closed') return;
    for (const event of this.#tail.slice(this.#shown, count)) this.#publish(event);
    this.#tail = this.#tail.slice(count);
    this.#shown = Math.max(0, this.#shown - count);
    this.#showTexts();
  }

  /** Ends the feed. Events that are not durable are dropped, apart from texts that followers have. */
  close(): void {
    if (this.#state === 'closed') return;
    this.#state = 'closed';
    this.#tail = [];
    this.#shown = 0;
    for (const listener of this.#listeners) listener.closed?.();
    this.#listeners.clear();
  }

  #showTexts(): void {
    for (let next = this.#tail[this.#shown]; next?.kind === 'text'; next = this.#tail[this.#shown]) {
      this.#shown += 1;
      this.#publish(copyOf(next));
    }
  }

  #publish(event: JournalEvent): void {
    for (const listener of this.#listeners) listener.event(event);
  }
}

// The writer extends the body of a text in place.
const copyOf = (text: JournalEvent): JournalEvent => ({ ...text, body: { ...text.body } });
