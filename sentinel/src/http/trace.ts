// The trace tap: metadata of envelopes, never their payloads, for its listeners. Without a listener the path checks one
// boolean. Entries are delivered in batches from a bounded ring; entries that do not fit are counted as missed.

export interface TraceEntry {
  /** Milliseconds since the epoch. */
  t: number;
  dir: 'forward' | 'refuse' | 'control';
  /** Frame type. */
  type: string;
  /** Path of the sender. */
  from: string;
  /** Address that it was sent to; empty for link-local frames. */
  to: string;
  /** Path of the receiver. */
  via?: string | undefined;
  corrId?: string | undefined;
  id?: string | undefined;
  bytes: number;
  code?: string | undefined;
}

const RING = 1_024;
const BATCH_MS = 50;

export type TraceListener = (entries: readonly TraceEntry[], missed: number) => void;

export class TraceTap {
  readonly #listeners = new Set<TraceListener>();
  #isActive = false;
  #ring: TraceEntry[] = [];
  #missed = 0;
  #timer: NodeJS.Timeout | undefined;

  /** True while there is a listener; check it before building an entry. */
  get isActive(): boolean {
    return this.#isActive;
  }

  /** Adds a listener; returns a function that removes it. */
  listen(listener: TraceListener): () => void {
    this.#listeners.add(listener);
    this.#isActive = true;
    return () => {
      this.#listeners.delete(listener);
      if (this.#listeners.size > 0) return;
      this.#isActive = false;
      this.#ring = [];
      clearTimeout(this.#timer);
      this.#timer = undefined;
    };
  }

  add(entry: TraceEntry): void {
    if (this.#ring.length >= RING) {
      this.#missed++;
      return;
    }
    this.#ring.push(entry);
    this.#timer ??= setTimeout(() => this.#flush(), BATCH_MS).unref();
  }

  #flush(): void {
    this.#timer = undefined;
    const entries = this.#ring;
    const missed = this.#missed;
    this.#ring = [];
    this.#missed = 0;
    for (const listener of this.#listeners) listener(entries, missed);
  }
}
