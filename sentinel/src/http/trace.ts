// The trace tap: metadata of envelopes, never their payloads, for whoever listens. While nobody does, the path asks one
// boolean. Listeners get what happened in batches from a bounded ring; what they do not take in time is counted as missed.

export interface TraceEntry {
  /** Milliseconds since the epoch. */
  t: number;
  dir: 'forward' | 'refuse' | 'control';
  /** Frame type. */
  type: string;
  /** Path of the sender's node. */
  from: string;
  /** Address it was sent to; empty for link-local frames. */
  to: string;
  /** Path of the node it went to. */
  via?: string;
  corrId?: string;
  id?: string;
  bytes: number;
  code?: string;
}

const RING = 1_024;
const BATCH_MS = 50;

export type TraceListener = (entries: readonly TraceEntry[], missed: number) => void;

export class TraceTap {
  /** Whether anybody listens; the path asks it before it builds an entry. */
  active = false;
  readonly #listeners = new Set<TraceListener>();
  #ring: TraceEntry[] = [];
  #missed = 0;
  #timer: NodeJS.Timeout | undefined;

  /** Starts to listen; call what comes back to stop. */
  listen(listener: TraceListener): () => void {
    this.#listeners.add(listener);
    this.active = true;
    return () => {
      this.#listeners.delete(listener);
      if (this.#listeners.size > 0) return;
      this.active = false;
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
