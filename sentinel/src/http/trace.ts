// The trace tap: delivers metadata of envelopes, never their payloads, to its listeners. Without a listener the path checks
// one boolean. Entries are delivered in bounded batches; entries that do not fit into a batch are counted as missed.

import type { Clock, Timer } from '@fame-fabric/shared';

export interface TraceEntry {
  /** Wall time in ms since the epoch. */
  t: number;
  dir: 'forward' | 'refuse' | 'drop' | 'control';
  /** Frame type. */
  type: string;
  /** Path of the sender. */
  from: string;
  /** Destination address; empty for link-local frames without one. */
  to: string;
  /** Path of the receiver. */
  via?: string | undefined;
  corrId?: string | undefined;
  id?: string | undefined;
  bytes: number;
  code?: string | undefined;
}

const MAX_BATCH_ENTRIES = 1_024;
const BATCH_MS = 50;

export type TraceListener = (entries: readonly TraceEntry[], missed: number) => void;

export class TraceTap {
  readonly #clock: Clock;
  readonly #listeners = new Set<TraceListener>();
  #isActive = false;
  #batch: TraceEntry[] = [];
  #missed = 0;
  #timer: Timer | undefined;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

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
      this.#batch = [];
      this.#missed = 0;
      this.#timer?.stop();
      this.#timer = undefined;
    };
  }

  /** Stamps an entry and delivers it with the next batch. */
  add(entry: Omit<TraceEntry, 't'>): void {
    if (this.#batch.length >= MAX_BATCH_ENTRIES) {
      this.#missed++;
      return;
    }
    this.#batch.push({ t: this.#clock.now(), ...entry });
    this.#timer ??= this.#clock.after(BATCH_MS, () => this.#flush());
  }

  #flush(): void {
    this.#timer = undefined;
    const entries = this.#batch;
    const missed = this.#missed;
    this.#batch = [];
    this.#missed = 0;
    for (const listener of this.#listeners) listener(entries, missed);
  }
}
